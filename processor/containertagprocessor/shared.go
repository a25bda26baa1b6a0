package containertagprocessor

import (
	"encoding/json"
	"fmt"
	"sync"

	"go.uber.org/zap"

	"github.com/tallymanhq/tallyman/internal/docker"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/glob"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/tags"
)

// shared is what the processors that one factory makes have in common. The
// Collector makes one processor per pipeline, all of one id with the same
// *Config: they share a tagger. Taggers with equal sources share a hub.
type shared struct {
	mu      sync.Mutex
	hubs    map[string]*hub
	taggers map[*Config]*sharedTagger
	warned  bool
	// engine is whom to ask where nobody says otherwise.
	engine string
}

// first is true for the first processor that asks the engine unfiltered.
func (s *shared) first() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.warned
	s.warned = true
	return !was
}

// sharedTagger is a tagger and who it belongs to.
type sharedTagger struct {
	tagger  *tagger
	hub     *hub
	hubKey  string
	holders int
}

func newShared() *shared {
	return &shared{hubs: map[string]*hub{}, taggers: map[*Config]*sharedTagger{}, engine: docker.DefaultEndpoint}
}

// acquire returns the tagger of a configuration. The first one starts it, and
// its sources if nobody has.
func (s *shared) acquire(cfg *Config, dockerEndpoint string, log *zap.Logger) (*sharedTagger, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.taggers[cfg]; t != nil {
		t.holders++
		return t, nil
	}
	h, key, err := s.hub(cfg, dockerEndpoint, log)
	if err != nil {
		return nil, err
	}
	t, err := newTagger(cfg, h.store)
	if err != nil {
		if h.holders == 0 {
			delete(s.hubs, key)
		}
		return nil, err
	}
	h.holders++
	h.start() // after the first tagger has subscribed
	shared := &sharedTagger{tagger: t, hub: h, hubKey: key, holders: 1}
	s.taggers[cfg] = shared
	return shared, nil
}

// release gives a tagger back; the last holder ends it, and its sources.
func (s *shared) release(cfg *Config) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.taggers[cfg]
	if t == nil {
		return
	}
	t.holders--
	if t.holders > 0 {
		return
	}
	delete(s.taggers, cfg)
	t.tagger.close()
	t.hub.holders--
	if t.hub.holders == 0 {
		delete(s.hubs, t.hubKey)
		t.hub.close()
	}
}

// hub finds the one with these sources, or makes it.
func (s *shared) hub(cfg *Config, dockerEndpoint string, log *zap.Logger) (*hub, string, error) {
	sources := cfg.Sources
	sources.Docker.Endpoint = dockerEndpoint
	sources.Recognition.Evidence = false // nobody is asked more for it
	compiler, err := tags.New(cfg.Options)
	if err != nil {
		return nil, "", err
	}
	// Sources keep what is asked for of the environment and nothing else.
	names := compiler.EnvNames()
	text, err := json.Marshal([]any{sources, names})
	if err != nil {
		return nil, "", fmt.Errorf("name the sources: %w", err)
	}
	if h := s.hubs[string(text)]; h != nil {
		return h, string(text), nil
	}
	keep, err := glob.CompileList(names)
	if err != nil {
		return nil, "", fmt.Errorf("env: %w", err)
	}
	h, err := newHub(sources, keep.Match, log)
	if err != nil {
		return nil, "", err
	}
	h.explicit = cfg.Docker.Endpoint != ""
	s.hubs[string(text)] = h
	return h, string(text), nil
}

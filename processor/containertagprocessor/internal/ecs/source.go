package ecs

import (
	"cmp"
	"context"
	"strings"
	"sync"
	"time"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/fetch"
)

// DefaultIntrospection is where the ECS agent of a host listens.
const DefaultIntrospection = "http://localhost:51678"

const (
	// sourceName is the configuration key.
	sourceName = "ecs"

	// defaultInterval is short against the life of a task and costs one small
	// request. Containers that send data sooner are asked for by Want.
	defaultInterval = 10 * time.Second
	// defaultGap keeps the wishes of many new containers from becoming as many
	// requests. It is also the wait while nothing answers.
	defaultGap = time.Second
	// defaultTimeout is for one request to a service on this host.
	defaultTimeout = time.Second

	// maxAnswer bounds an answer. The documented example of a container has
	// 1.3 KB, so this has room for some thousands.
	maxAnswer = 8 << 20

	// maxWanted bounds the ids that wait for the next answer. More than a host
	// starts in one Gap; who is not noted finds the container told all the same,
	// just not that it is absent.
	maxWanted = 1024
)

// Options says what to ask and how often.
type Options struct {
	// Introspection is the base URL of the ECS agent, DefaultIntrospection if
	// empty. A container that is not on the host's network reaches it at the
	// bridge's address. It is not asked on Fargate, which has none.
	Introspection string
	// MetadataURI is the value of ECS_CONTAINER_METADATA_URI_V4. Empty outside
	// of tasks.
	MetadataURI string
	// LaunchType is that of the tasks of this host. The introspection does not
	// tell it: it is "ec2" where the host is an EC2 instance, but ECS also runs
	// on own machines. Empty if unknown; the metadata endpoint's word wins.
	LaunchType string
	// Interval is the time between two rounds, 10 s if 0.
	Interval time.Duration
	// Gap is the least time between two rounds, 1 s if 0.
	Gap time.Duration
	// Timeout is for each request, 1 s if 0.
	Timeout time.Duration
}

// Source is the entity.Source of Amazon ECS.
type Source struct {
	options Options
	client  *fetch.Client
	// wake has room for one wish: more do not make the next round sooner.
	wake chan struct{}

	mu sync.Mutex
	// wanted are the ids that somebody waits for. Guarded by mu.
	wanted map[string]struct{}
}

// New returns a source. It asks nothing before Run.
func New(o Options) *Source {
	o.Introspection = strings.TrimRight(cmp.Or(o.Introspection, DefaultIntrospection), "/")
	o.MetadataURI = strings.TrimRight(o.MetadataURI, "/")
	o.LaunchType = strings.ToLower(o.LaunchType)
	o.Interval = cmp.Or(o.Interval, defaultInterval)
	o.Gap = cmp.Or(o.Gap, defaultGap)
	o.Timeout = cmp.Or(o.Timeout, defaultTimeout)
	return &Source{
		options: o,
		client:  fetch.New(o.Timeout, maxAnswer),
		wake:    make(chan struct{}, 1),
		wanted:  make(map[string]struct{}),
	}
}

// Name implements entity.Source.
func (s *Source) Name() string { return sourceName }

// Want implements entity.Source. ECS knows no pods, so a hint without an id is
// nothing to it.
func (s *Source) Want(id, _ string) {
	if id == "" {
		return
	}
	s.note(id)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run implements entity.Source.
func (s *Source) Run(ctx context.Context, sink entity.Sink) {
	rounds := newRounds(s, sink)
	for ctx.Err() == nil {
		began := time.Now()
		pause := s.options.Interval
		if !rounds.next(ctx) {
			pause = min(pause, s.options.Gap)
		}
		s.rest(ctx, began, pause)
	}
}

// rest waits until pause has passed since began, or until somebody wants
// something and Gap has passed.
func (s *Source) rest(ctx context.Context, began time.Time, pause time.Duration) {
	gap := time.NewTimer(time.Until(began.Add(s.options.Gap)))
	defer gap.Stop()
	select {
	case <-ctx.Done():
		return
	case <-gap.C:
	}
	end := time.NewTimer(time.Until(began.Add(pause)))
	defer end.Stop()
	select {
	case <-ctx.Done():
	case <-s.wake:
	case <-end.C:
	}
}

func (s *Source) note(ids ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		if len(s.wanted) < maxWanted {
			s.wanted[id] = struct{}{}
		}
	}
}

// take returns the noted ids and forgets them.
func (s *Source) take() map[string]struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.wanted
	s.wanted = make(map[string]struct{})
	return taken
}

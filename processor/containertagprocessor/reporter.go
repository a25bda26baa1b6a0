package containertagprocessor

import (
	"slices"
	"sync"

	"go.uber.org/zap"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
)

// reporter logs when sources come and go, and passes everything on.
type reporter struct {
	entity.Sink
	hub *hub

	mu    sync.Mutex
	state map[string]bool
}

// Up implements [entity.Sink].
func (r *reporter) Up(source string) {
	r.Sink.Up(source)
	was, known := r.change(source, true)
	if was || !r.tellsOfContainers(source) {
		return
	}
	r.hub.up.Add(1)
	if known {
		r.hub.log.Info("a source of tags answers again", zap.String("source", source))
	} else {
		r.hub.log.Info("a source of tags answers", zap.String("source", source))
	}
}

// Down implements [entity.Sink].
func (r *reporter) Down(source string, err error) {
	r.Sink.Down(source, err)
	was, known := r.change(source, false)
	if !was && known {
		return
	}
	if was && r.tellsOfContainers(source) {
		r.hub.up.Add(-1)
	}
	r.hub.logDown(source, was, err)
}

func (r *reporter) change(source string, up bool) (was, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	was, known = r.state[source]
	r.state[source] = up
	return was, known
}

func (r *reporter) tellsOfContainers(source string) bool {
	return slices.Contains(r.hub.ofContainers, source)
}

// logDown says that a source has gone away, or is not there. A host without the
// engine that is asked by default is nothing to warn of.
func (h *hub) logDown(source string, was bool, err error) {
	log := h.log.With(zap.String("source", source), zap.Error(err))
	switch {
	case was:
		log.Warn("a source of tags does not answer any more; data of new containers goes on without its tags")
	case source == sourceDocker && !h.explicit:
		log.Info("no Docker engine answers; it is asked for tags as soon as one does")
	default:
		log.Warn("a source of tags does not answer; it is tried again")
	}
}

package containertagprocessor

import (
	"cmp"
	"slices"
	"sync"

	"go.uber.org/zap"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
)

// reporter logs when sources come and go, and passes everything on.
type reporter struct {
	entity.Sink
	hub *hub

	mu      sync.Mutex
	reasons map[string]string // why each is down; "" if it is up
}

// Up implements [entity.Sink].
func (r *reporter) Up(source string) {
	r.Sink.Up(source)
	was, known := r.change(source, "")
	if was == "" && known {
		return
	}
	if r.tellsOfContainers(source) {
		r.hub.up.Add(1)
	} else if !known {
		return // what is read from files is there, or is complained of
	}
	text := "a source of tags answers"
	if known {
		text = "a source of tags answers again"
	}
	r.hub.log.Info(text, zap.String("source", source))
}

// Down implements [entity.Sink]. It is logged again when the reason is another.
func (r *reporter) Down(source string, err error) {
	r.Sink.Down(source, err)
	reason := "unknown"
	if err != nil {
		reason = cmp.Or(err.Error(), reason)
	}
	was, known := r.change(source, reason)
	up := known && was == ""
	if up && r.tellsOfContainers(source) {
		r.hub.up.Add(-1)
	}
	if !known || up || was != reason && !r.tellsOfContainers(source) {
		r.hub.logDown(source, up, err)
	}
}

// change notes why a source is down, "" if it is up, and returns what it was.
func (r *reporter) change(source, reason string) (was string, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	was, known = r.reasons[source]
	r.reasons[source] = reason
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

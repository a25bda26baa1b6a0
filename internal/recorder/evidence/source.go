package evidence

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/tallymanhq/tallyman/internal/recorder/capture"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/eventstore"
	"github.com/tallymanhq/tallyman/internal/recorder/metricstore"
)

const (
	// labelContainer is the label that the metric store makes of container.id.
	labelContainer = "container_id"
	// labelName is that of the metric's name.
	labelName = "__name__"
)

// Source is a store as captures use it.
type Source struct {
	pin   func(from, to time.Time) (release func())
	cut   func(ctx context.Context, r capture.CutRequest) (capture.CutResult, error)
	drops drops
	// oldest is when the oldest of what is kept was recorded.
	oldest func() time.Time
}

var _ capture.Store = (*Source)(nil)

// Metrics cuts blocks of metrics.
func Metrics(s *metricstore.Store) *Source {
	return &Source{
		pin: s.Pin,
		cut: func(ctx context.Context, r capture.CutRequest) (capture.CutResult, error) {
			return cutMetrics(ctx, s, r)
		},
		drops:  newDrops(func() map[string]uint64 { return s.Stats().Dropped }),
		oldest: func() time.Time { return s.Stats().Oldest },
	}
}

// Events cuts segments of events.
func Events(s *eventstore.Store) *Source {
	return &Source{
		pin: s.Pin,
		cut: func(ctx context.Context, r capture.CutRequest) (capture.CutResult, error) {
			return cutEvents(ctx, s, r)
		},
		drops:  newDrops(func() map[string]uint64 { return s.Stats().Dropped }),
		oldest: func() time.Time { return s.Stats().Oldest },
	}
}

// Note remembers how much the store has dropped by now. The owner calls it about
// once a minute: the drops of a capture are those since the last note before its
// window. It takes a millisecond at most.
func (s *Source) Note() { s.drops.note() }

// Pin implements [capture.Store].
func (s *Source) Pin(from, to time.Time) (release func()) {
	s.Note()
	return s.pin(from, to)
}

// Oldest implements [capture.Store].
func (s *Source) Oldest() time.Time { return s.oldest() }

// Cut implements [capture.Store].
func (s *Source) Cut(ctx context.Context, r capture.CutRequest) (capture.CutResult, error) {
	result, err := s.cut(ctx, r)
	if err != nil {
		return capture.CutResult{}, err
	}
	for reason, n := range s.drops.since(r.Window.From, r.Window.To) {
		result.Drops[reason] += n
	}
	return result, nil
}

func cutMetrics(ctx context.Context, s *metricstore.Store, r capture.CutRequest) (capture.CutResult, error) {
	keep := func(l labels.Labels) bool { return r.Keep(l.Get(labelContainer)) }
	stats, err := s.Cut(ctx, metricstore.Window(r.Window), keep, r.Dir)
	if err != nil {
		return capture.CutResult{}, err
	}
	result := capture.CutResult{Drops: map[string]uint64{}}
	if stats.Damaged > 0 {
		result.Drops["damaged series"] = uint64(stats.Damaged)
	}
	if stats.Samples == 0 {
		result.Gaps = []bundle.Gap{{Window: r.Window, Why: noSamples}}
		return result, nil
	}
	if result.Gaps, err = findGaps(ctx, r.Dir, r.Window); err != nil {
		return capture.CutResult{}, fmt.Errorf("look for gaps: %w", err)
	}
	return result, nil
}

func cutEvents(ctx context.Context, s *eventstore.Store, r capture.CutRequest) (capture.CutResult, error) {
	keep := func(e eventstore.Event) bool { return r.Keep(e.Container) }
	stats, err := s.Cut(ctx, eventstore.Window(r.Window), keep, r.Dir)
	if err != nil {
		return capture.CutResult{}, err
	}
	result := capture.CutResult{Drops: map[string]uint64{}}
	if stats.Damaged > 0 {
		result.Drops["damaged frames"] = stats.Damaged
	}
	// What is older has been deleted, or was before the recorder's time.
	if oldest := s.Stats().Oldest; oldest.Sub(r.Window.From) > shortestGap {
		to := r.Window.To
		if oldest.Before(to) {
			to = oldest.UTC()
		}
		result.Gaps = []bundle.Gap{{Window: bundle.Window{From: r.Window.From, To: to}, Why: "the recorder has no event that is so old"}}
	}
	return result, nil
}

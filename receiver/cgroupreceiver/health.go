package cgroupreceiver

import (
	"context"
	"maps"
	"slices"

	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/tallymanhq/tallyman/internal/cgroup"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/internal/hostview/sampler"
	"github.com/tallymanhq/tallyman/receiver/cgroupreceiver/internal/metadata"
)

// health reports what the receiver did not read or had to drop: as internal
// metrics, and as one log line per file that starts to give trouble.
type health struct {
	healthOf
	builder *metadata.TelemetryBuilder
	logger  *zap.Logger
	// troubled are the files that were logged. Only the scrape uses it.
	troubled map[string]bool
}

// healthOf is what is asked.
type healthOf struct {
	sampler *sampler.Sampler
	view    *hostview.View
	// leftOut counts resources that were not sent because they had not changed.
	leftOut func() uint64
}

func newHealth(set receiver.Settings, of healthOf) (*health, error) {
	builder, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, err
	}
	h := &health{healthOf: of, builder: builder, logger: set.Logger, troubled: map[string]bool{}}
	return h, h.register()
}

func (h *health) register() error {
	simple := func(f func(sampler.Stats) int64) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(f(h.sampler.Stats()))
			return nil
		}
	}
	b := h.builder
	for _, err := range []error{
		b.RegisterCgroupContainersCallback(simple(func(s sampler.Stats) int64 { return int64(s.Targets) })),
		b.RegisterCgroupVanishedCallback(simple(func(s sampler.Stats) int64 { return int64(s.Vanished) })),
		b.RegisterCgroupOpenFilesCallback(simple(func(s sampler.Stats) int64 { return s.Budget.Open })),
		b.RegisterCgroupUnkeptReadsCallback(simple(func(s sampler.Stats) int64 { return int64(s.Budget.Refused) })),
		b.RegisterCgroupUnchangedCallback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(h.leftOut()))
			return nil
		}),
		b.RegisterCgroupReadErrorsCallback(h.observeErrors),
		b.RegisterCgroupDroppedCallback(h.observeDrops),
		b.RegisterCgroupProcessTierCallback(h.observeTier),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

func (h *health) observeErrors(_ context.Context, o metric.Int64Observer) error {
	p := h.sampler.Stats().Problems
	observe := func(kind string, byFile map[string]uint64) {
		for file, n := range byFile {
			o.Observe(int64(n), metric.WithAttributes(attribute.String("file", file), attribute.String("error.type", kind)))
		}
	}
	observe("read", p.ReadErrors)
	observe("parse", p.ParseErrors)
	return nil
}

func (h *health) observeTier(_ context.Context, o metric.Int64Observer) error {
	tier, _ := h.view.Tier()
	o.Observe(1, metric.WithAttributes(attribute.String("tier", string(tier))))
	return nil
}

func (h *health) observeDrops(_ context.Context, o metric.Int64Observer) error {
	s, d := h.sampler.Stats(), h.view.Discovery()
	for _, drop := range []struct {
		reason string
		n      uint64
	}{
		{"event_queue_full", s.DroppedEvents},
		{"process_limit", s.DroppedProcesses},
		{"inner_cgroup_limit", s.DroppedSatellites},
		{"inotify_watch_limit", d.WatchFailures},
		{"inotify_overflow", d.Overflows},
	} {
		o.Observe(int64(drop.n), metric.WithAttributes(attribute.String("reason", drop.reason)))
	}
	if stream, ok := h.view.StreamStats(); ok {
		for what, n := range stream.Dropped {
			o.Observe(int64(n), metric.WithAttributes(attribute.String("reason", "process_stream_"+what)))
		}
	}
	return nil
}

// logProblems writes one line when a file gives trouble for the first time.
func (h *health) logProblems(p cgroup.Problems) {
	for _, byFile := range []map[string]uint64{p.ReadErrors, p.ParseErrors} {
		for _, file := range slices.Sorted(maps.Keys(byFile)) {
			if h.troubled[file] {
				continue
			}
			h.troubled[file] = true
			h.logger.Warn("a cgroup file cannot be read; its metrics are left out where that happens",
				zap.String("file", file), zap.Error(p.Last))
		}
	}
}

func (h *health) stop() { h.builder.Shutdown() }

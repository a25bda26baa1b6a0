package netnsreceiver

import (
	"context"
	"maps"
	"slices"

	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/tallymanhq/tallyman/internal/netns"
	"github.com/tallymanhq/tallyman/receiver/netnsreceiver/internal/metadata"
)

// health reports what the receiver did not read or had to drop: as internal
// metrics, and as one log line per file that starts to give trouble.
type health struct {
	builder *metadata.TelemetryBuilder
	tracker *netns.Tracker
	logger  *zap.Logger
	// leftOut counts what was not sent because it had not changed.
	leftOut func() uint64
	// troubled are the files that were logged. Only the scrape uses it.
	troubled map[string]bool
}

func newHealth(set receiver.Settings, t *netns.Tracker, leftOut func() uint64) (*health, error) {
	builder, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, err
	}
	h := &health{builder: builder, tracker: t, logger: set.Logger, leftOut: leftOut, troubled: map[string]bool{}}
	return h, h.register()
}

func (h *health) register() error {
	simple := func(f func(netns.Stats) int64) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(f(h.tracker.Stats()))
			return nil
		}
	}
	byReason := func(f func(netns.Stats) map[string]int64) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			for reason, n := range f(h.tracker.Stats()) {
				o.Observe(n, metric.WithAttributes(attribute.String("reason", reason)))
			}
			return nil
		}
	}
	b := h.builder
	for _, err := range []error{
		b.RegisterNetnsNamespacesCallback(simple(func(s netns.Stats) int64 { return int64(s.Namespaces) })),
		b.RegisterNetnsMembersCallback(simple(func(s netns.Stats) int64 { return int64(s.Members) })),
		b.RegisterNetnsVanishedCallback(simple(func(s netns.Stats) int64 { return int64(s.Vanished) })),
		b.RegisterNetnsUnchangedCallback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(h.leftOut()))
			return nil
		}),
		b.RegisterNetnsReadErrorsCallback(h.observeErrors),
		b.RegisterNetnsDroppedCallback(byReason(func(s netns.Stats) map[string]int64 {
			return map[string]int64{"member_limit": int64(s.DroppedMembers), "interface_limit": int64(s.DroppedInterfaces)}
		})),
		b.RegisterNetnsUnknownCallback(byReason(func(s netns.Stats) map[string]int64 {
			return map[string]int64{"no_process": int64(s.NoProcess), "permission": int64(s.NoPermission)}
		})),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

func (h *health) observeErrors(_ context.Context, o metric.Int64Observer) error {
	s := h.tracker.Stats()
	observe := func(kind string, byFile map[string]uint64) {
		for file, n := range byFile {
			o.Observe(int64(n), metric.WithAttributes(attribute.String("file", file), attribute.String("error.type", kind)))
		}
	}
	observe("read", s.ReadErrors)
	observe("parse", s.ParseErrors)
	return nil
}

// logProblems writes one line when a file gives trouble for the first time.
func (h *health) logProblems(s netns.Stats) {
	for _, byFile := range []map[string]uint64{s.ReadErrors, s.ParseErrors} {
		for _, file := range slices.Sorted(maps.Keys(byFile)) {
			if h.troubled[file] {
				continue
			}
			h.troubled[file] = true
			h.logger.Warn("a network file cannot be read; its metrics are left out where that happens",
				zap.String("file", file), zap.Error(s.Last))
		}
	}
}

func (h *health) stop() { h.builder.Shutdown() }

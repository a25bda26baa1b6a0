package containerstatusreceiver

import (
	"context"
	"errors"

	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tallymanhq/tallyman/internal/docker"
	"github.com/tallymanhq/tallyman/receiver/containerstatusreceiver/internal/metadata"
	"github.com/tallymanhq/tallyman/receiver/containerstatusreceiver/internal/roster"
)

// health tells of the connection and of what was dropped, as internal metrics.
type health struct {
	builder *metadata.TelemetryBuilder
	roster  *roster.Roster
	drops   *roster.Drops
	// watcher are the counters of what follows the engine.
	watcher func() docker.Stats
}

func newHealth(set receiver.Settings, r *roster.Roster, d *roster.Drops, watcher func() docker.Stats) (*health, error) {
	builder, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, err
	}
	h := &health{builder: builder, roster: r, drops: d, watcher: watcher}
	if err := h.register(); err != nil {
		builder.Shutdown()
		return nil, err
	}
	return h, nil
}

func (h *health) register() error {
	simple := func(f func(roster.Stats) int64) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(f(h.roster.Stats()))
			return nil
		}
	}
	b := h.builder
	return errors.Join(
		b.RegisterContainerStatusConnectedCallback(simple(func(s roster.Stats) int64 {
			if s.Connected {
				return 1
			}
			return 0
		})),
		b.RegisterContainerStatusContainersCallback(simple(func(s roster.Stats) int64 { return int64(s.Containers) })),
		b.RegisterContainerStatusReconnectsCallback(simple(func(s roster.Stats) int64 { return int64(s.Reconnects) })),
		b.RegisterContainerStatusEventsCallback(simple(func(s roster.Stats) int64 { return int64(s.Events) })),
		b.RegisterContainerStatusDroppedCallback(h.observeDrops),
		b.RegisterContainerStatusQuestionErrorsCallback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(h.watcher().Errors))
			return nil
		}),
	)
}

func (h *health) observeDrops(_ context.Context, o metric.Int64Observer) error {
	for _, drop := range []struct {
		reason string
		n      uint64
	}{
		{"queue_full", h.drops.Full.Load()},
		{"consumer_error", h.drops.Refused.Load()},
		{"shutdown", h.drops.Abandoned.Load()},
		{"malformed", h.watcher().Malformed},
	} {
		o.Observe(int64(drop.n), metric.WithAttributes(attribute.String("reason", drop.reason)))
	}
	return nil
}

func (h *health) stop() { h.builder.Shutdown() }

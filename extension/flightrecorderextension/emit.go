package flightrecorderextension

import (
	"context"

	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tallymanhq/tallyman/extension/flightrecorderextension/internal/metadata"
	"github.com/tallymanhq/tallyman/internal/recorder/keeper"
)

// health reports how the recorder does.
type health struct {
	builder *metadata.TelemetryBuilder
	keeper  *keeper.Keeper
}

func newHealth(set extension.Settings, k *keeper.Keeper) (*health, error) {
	builder, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, err
	}
	h := &health{builder: builder, keeper: k}
	if err := h.register(); err != nil {
		builder.Shutdown()
		return nil, err
	}
	return h, nil
}

func (h *health) register() error {
	simple := func(f func(keeper.Stats) int64) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(f(h.keeper.Stats()))
			return nil
		}
	}
	b := h.builder
	for _, err := range []error{
		b.RegisterFlightRecorderSamplesCallback(simple(func(s keeper.Stats) int64 { return int64(s.Samples) })),
		b.RegisterFlightRecorderEventsCallback(simple(func(s keeper.Stats) int64 { return int64(s.Events) })),
		b.RegisterFlightRecorderSeriesCallback(simple(func(s keeper.Stats) int64 { return int64(s.Series) })),
		b.RegisterFlightRecorderMemoryOnlyCallback(simple(func(s keeper.Stats) int64 {
			if s.MemoryOnly {
				return 1
			}
			return 0
		})),
		b.RegisterFlightRecorderLostCallback(h.observeLost),
		b.RegisterFlightRecorderDiskUsageCallback(h.observeParts),
		b.RegisterFlightRecorderCapturesCallback(h.observeCaptures),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

func (h *health) observeLost(_ context.Context, o metric.Int64Observer) error {
	for store, reasons := range h.keeper.Stats().Lost {
		for reason, n := range reasons {
			o.Observe(int64(n), metric.WithAttributes(attribute.String("store", store), attribute.String("reason", reason)))
		}
	}
	return nil
}

func (h *health) observeParts(_ context.Context, o metric.Int64Observer) error {
	for part, n := range h.keeper.Stats().Disk {
		o.Observe(int64(n), metric.WithAttributes(attribute.String("part", part)))
	}
	return nil
}

func (h *health) observeCaptures(_ context.Context, o metric.Int64Observer) error {
	for outcome, n := range h.keeper.Stats().Captures {
		o.Observe(int64(n), metric.WithAttributes(attribute.String("outcome", outcome)))
	}
	return nil
}

func (h *health) stop() {
	if h != nil {
		h.builder.Shutdown()
	}
}

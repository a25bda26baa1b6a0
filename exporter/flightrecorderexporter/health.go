package flightrecorderexporter

import (
	"context"
	"errors"

	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tallymanhq/tallyman/exporter/flightrecorderexporter/internal/metadata"
)

// health reports what waits and what was dropped. The instances of all signals and
// names share the metrics, so each says who it is.
type health struct{ builder *metadata.TelemetryBuilder }

func newHealth(set exporter.Settings, signal string, stats func() counts) (*health, error) {
	builder, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, err
	}
	who := []attribute.KeyValue{attribute.String("exporter", set.ID.String()), attribute.String("signal", signal)}
	mine := metric.WithAttributes(who...)
	reason := func(reason string) metric.ObserveOption {
		return metric.WithAttributes(append(who[:len(who):len(who)], attribute.String("reason", reason))...)
	}
	full, stopped := reason("queue_full"), reason("shutdown")
	err = errors.Join(
		builder.RegisterFlightRecorderQueueItemsCallback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(stats().waiting), mine)
			return nil
		}),
		builder.RegisterFlightRecorderTakenCallback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(stats().taken), mine)
			return nil
		}),
		builder.RegisterFlightRecorderDroppedCallback(func(_ context.Context, o metric.Int64Observer) error {
			now := stats()
			o.Observe(int64(now.full), full)
			o.Observe(int64(now.stopped), stopped)
			return nil
		}),
	)
	if err != nil {
		builder.Shutdown()
		return nil, err
	}
	return &health{builder}, nil
}

func (h *health) stop() {
	if h != nil {
		h.builder.Shutdown()
	}
}

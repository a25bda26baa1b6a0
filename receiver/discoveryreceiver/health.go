package discoveryreceiver

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tallymanhq/tallyman/receiver/discoveryreceiver/internal/metadata"
)

// health reports what is watched, runs and was left out, as internal metrics.
type health struct {
	builder *metadata.TelemetryBuilder
	d       *discovery
}

func newHealth(d *discovery) (*health, error) {
	builder, err := metadata.NewTelemetryBuilder(d.o.Settings.TelemetrySettings)
	if err != nil {
		return nil, err
	}
	h := &health{builder: builder, d: d}
	err = errors.Join(
		builder.RegisterDiscoveryContainersCallback(plainly(func() int64 { return int64(d.watch.Stats().Containers) })),
		builder.RegisterDiscoveryLooksCallback(plainly(func() int64 { return int64(d.watch.Stats().Looks) })),
		builder.RegisterDiscoveryReceiversCallback(plainly(func() int64 { return int64(d.runner.Stats().Running) })),
		builder.RegisterDiscoveryStartsCallback(byReason(func() map[string]uint64 { return d.journal.totals().starts })),
		builder.RegisterDiscoveryStopsCallback(byReason(func() map[string]uint64 { return d.journal.totals().stops })),
		builder.RegisterDiscoveryFailuresCallback(byReason(func() map[string]uint64 { return d.journal.totals().failures })),
		builder.RegisterDiscoveryDroppedCallback(byReason(h.dropped)),
	)
	if err != nil {
		builder.Shutdown()
		return nil, err
	}
	return h, nil
}

func (h *health) stop() { h.builder.Shutdown() }

func (h *health) dropped() map[string]uint64 {
	watched := h.d.watch.Stats()
	all := map[string]uint64{
		"containers":   watched.Beyond.Containers,
		"processes":    watched.Beyond.Processes,
		"ports":        watched.Beyond.Ports,
		"sockets":      watched.Beyond.Sockets,
		"descriptors":  watched.Beyond.Descriptors,
		"unreadable":   watched.Unreadable,
		"vanished":     watched.Vanished,
		"late_batch":   h.d.runner.Stats().Dropped,
		"record_queue": h.d.journal.totals().eventsDropped,
	}
	if h.d.events != nil {
		all["record_refused"] = h.d.events.refused.Load()
	}
	return all
}

func plainly(of func() int64) metric.Int64Callback {
	return func(_ context.Context, o metric.Int64Observer) error {
		o.Observe(of())
		return nil
	}
}

// byReason leaves out reasons of which there was nothing.
func byReason(of func() map[string]uint64) metric.Int64Callback {
	return func(_ context.Context, o metric.Int64Observer) error {
		for reason, n := range of() {
			if n > 0 {
				o.Observe(int64(n), metric.WithAttributes(attribute.String("reason", reason)))
			}
		}
		return nil
	}
}

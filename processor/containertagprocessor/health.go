package containertagprocessor

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/metadata"
)

// health reports what became of resources, and once per configuration of
// sources what these know.
type health struct {
	builder *metadata.TelemetryBuilder
	core    *core
	ofHub   bool // it reports what the sources know, for all processors
}

func newHealth(c *core) (*health, error) {
	builder, err := metadata.NewTelemetryBuilder(c.set.TelemetrySettings)
	if err != nil {
		return nil, err
	}
	h := &health{builder: builder, core: c}
	registrations := []func() error{
		func() error { return builder.RegisterContainerTagResourcesCallback(h.observeOutcomes) },
		func() error { return builder.RegisterContainerTagUntaggedCallback(h.observeReasons) },
	}
	if c.waits != nil {
		registrations = append(registrations,
			func() error { return builder.RegisterContainerTagWaitingCallback(h.observeWaiting) },
			func() error { return builder.RegisterContainerTagRefusedCallback(h.observeRefused) })
	}
	h.ofHub = c.hub.said.CompareAndSwap(false, true)
	if c.tagger.said.CompareAndSwap(false, true) {
		registrations = append(registrations,
			func() error { return builder.RegisterContainerTagCutCallback(h.observeCut) })
	}
	if h.ofHub {
		registrations = append(registrations,
			func() error { return builder.RegisterContainerTagContainersCallback(h.observeContainers) },
			func() error { return builder.RegisterContainerTagEvictedCallback(h.observeEvicted) },
			func() error { return builder.RegisterContainerTagSourceUpCallback(h.observeSources) })
	}
	if h.ofHub && c.hub.notices != nil {
		registrations = append(registrations,
			func() error { return builder.RegisterContainerTagUntoldCallback(h.observeUntold) })
	}
	for _, register := range registrations {
		if err := register(); err != nil {
			builder.Shutdown()
			return nil, err
		}
	}
	return h, nil
}

func (h *health) stop() { h.builder.Shutdown() }

func with(key, value string) metric.MeasurementOption {
	return metric.WithAttributes(attribute.String(key, value))
}

func (h *health) observeOutcomes(_ context.Context, o metric.Int64Observer) error {
	for i := range outcomes {
		o.Observe(int64(h.core.counts.byOutcome[i].Load()), with("outcome", i.String()))
	}
	return nil
}

func (h *health) observeReasons(_ context.Context, o metric.Int64Observer) error {
	for i := range reasons {
		o.Observe(int64(h.core.counts.byReason[i].Load()), with("reason", i.String()))
	}
	return nil
}

func (h *health) observeWaiting(_ context.Context, o metric.Int64Observer) error {
	o.Observe(h.core.waits.size())
	return nil
}

func (h *health) observeRefused(_ context.Context, o metric.Int64Observer) error {
	o.Observe(int64(h.core.counts.refusedItems.Load()))
	return nil
}

func (h *health) observeContainers(_ context.Context, o metric.Int64Observer) error {
	s := h.core.hub.store.Stats()
	o.Observe(int64(s.Live), with("state", "live"))
	o.Observe(int64(s.Dead), with("state", "dead"))
	o.Observe(int64(s.Unknown), with("state", "unknown"))
	return nil
}

func (h *health) observeEvicted(_ context.Context, o metric.Int64Observer) error {
	o.Observe(int64(h.core.hub.store.Stats().Evicted))
	return nil
}

func (h *health) observeUntold(_ context.Context, o metric.Int64Observer) error {
	o.Observe(int64(h.core.hub.notices.Dropped()))
	return nil
}

func (h *health) observeCut(_ context.Context, o metric.Int64Observer) error {
	if h.ofHub {
		o.Observe(int64(h.core.hub.store.Stats().Cut), with("reason", "metadata_size"))
	}
	cut := h.core.tagger.cut()
	for reason, n := range cut.All() {
		o.Observe(int64(n), with("reason", reason))
	}
	return nil
}

func (h *health) observeSources(_ context.Context, o metric.Int64Observer) error {
	for name, up := range h.core.hub.store.Stats().Up {
		n := int64(0)
		if up {
			n = 1
		}
		o.Observe(n, with("source", name))
	}
	return nil
}

package udsstatsdreceiver

import (
	"context"

	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/metadata"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/origin"
)

// health reports what was taken and lost.
type health struct {
	builder *metadata.TelemetryBuilder
	s       *server
}

func newHealth(s *server, set receiver.Settings) (*health, error) {
	builder, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, err
	}
	h := &health{builder: builder, s: s}
	for _, err := range []error{
		builder.RegisterUdsStatsdAmendedCallback(h.observeAmended),
		builder.RegisterUdsStatsdClientDroppedCallback(h.observeClientLoss),
		builder.RegisterUdsStatsdContextsCallback(h.observeContexts),
		builder.RegisterUdsStatsdDroppedCallback(h.observeDropped),
		builder.RegisterUdsStatsdMessagesCallback(h.observeMessages),
		builder.RegisterUdsStatsdPacketsCallback(h.observePackets),
		builder.RegisterUdsStatsdParseErrorsCallback(h.observeErrors),
		builder.RegisterUdsStatsdQueueDepthCallback(h.observeDepth),
		builder.RegisterUdsStatsdTruncatedCallback(h.observeTruncated),
		builder.RegisterUdsStatsdUnresolvedOriginsCallback(h.observeUnresolved),
	} {
		if err != nil {
			builder.Shutdown()
			return nil, err
		}
	}
	return h, nil
}

func (h *health) stop() { h.builder.Shutdown() }

func (h *health) observeContexts(_ context.Context, o metric.Int64Observer) error {
	o.Observe(int64(h.s.table.Len()))
	return nil
}

func (h *health) observeDepth(_ context.Context, o metric.Int64Observer) error {
	for _, socket := range h.s.sockets {
		if socket.Addr() == nil {
			o.Observe(int64(socket.Report().Depth))
		}
	}
	return nil
}

func (h *health) observeTruncated(_ context.Context, o metric.Int64Observer) error {
	n := uint64(0)
	for _, socket := range h.s.sockets {
		n += socket.Stats().Truncated
	}
	o.Observe(int64(n))
	return nil
}

func (h *health) observeUnresolved(_ context.Context, o metric.Int64Observer) error {
	if h.s.resolver == nil {
		return nil
	}
	for reason, n := range h.s.resolver.Stats().Unresolved {
		o.Observe(int64(n), metric.WithAttributes(attribute.String("reason", string(reason))))
	}
	return nil
}

// series adds up by attributes, so that what has no container of its own is one.
type series map[attribute.Distinct]*sum

type sum struct {
	attributes attribute.Set
	n          uint64
}

func (s series) add(n uint64, attributes ...attribute.KeyValue) {
	set := attribute.NewSet(attributes...)
	one := s[set.Equivalent()]
	if one == nil {
		one = &sum{attributes: set}
		s[set.Equivalent()] = one
	}
	one.n += n
}

func (s series) observe(o metric.Int64Observer) {
	for _, one := range s {
		o.Observe(int64(one.n), metric.WithAttributeSet(one.attributes))
	}
}

// eachAccount calls f with what was counted and the attributes by which it is
// shown. What nobody knows yet whose it is comes later, with its container. The
// table is locked.
func (h *health) eachAccount(f func(t *tally, by []attribute.KeyValue)) {
	h.s.table.Lock()
	defer h.s.table.Unlock()
	for _, a := range h.s.book.accounts {
		var by []attribute.KeyValue
		if a.origin.Kind == origin.KindPending {
			continue
		}
		if a.shown {
			by = append(by, attribute.String("container.id", a.origin.ContainerID))
		}
		f(&a.tally, by)
	}
	f(&h.s.book.gone, nil)
}

// observeReasons shows numbers by reason.
func (h *health) observeReasons(o metric.Int64Observer, of func(*tally) counts) error {
	s := series{}
	h.eachAccount(func(t *tally, by []attribute.KeyValue) {
		for reason, n := range of(t) {
			s.add(n, append(by, attribute.String("reason", reason))...)
		}
	})
	s.observe(o)
	return nil
}

func (h *health) observeAmended(_ context.Context, o metric.Int64Observer) error {
	h.s.takeCounts()
	return h.observeReasons(o, func(t *tally) counts { return t.amended })
}

func (h *health) observeClientLoss(_ context.Context, o metric.Int64Observer) error {
	return h.observeReasons(o, func(t *tally) counts { return t.clientLost })
}

func (h *health) observeDropped(_ context.Context, o metric.Int64Observer) error {
	h.s.takeCounts()
	return h.observeReasons(o, func(t *tally) counts { return t.dropped })
}

func (h *health) observeMessages(_ context.Context, o metric.Int64Observer) error {
	s := series{}
	h.eachAccount(func(t *tally, by []attribute.KeyValue) { s.add(t.messages, by...) })
	s.observe(o)
	return nil
}

func (h *health) observePackets(_ context.Context, o metric.Int64Observer) error {
	s := series{}
	h.eachAccount(func(t *tally, _ []attribute.KeyValue) { s.add(t.packets) })
	s.observe(o)
	return nil
}

func (h *health) observeErrors(_ context.Context, o metric.Int64Observer) error {
	s := series{}
	h.eachAccount(func(t *tally, by []attribute.KeyValue) {
		for reason, n := range t.parse.All() {
			s.add(n, append(by, attribute.String("reason", reason.String()))...)
		}
	})
	s.observe(o)
	return nil
}

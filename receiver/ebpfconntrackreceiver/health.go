package ebpfconntrackreceiver

import (
	"context"

	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/metadata"
)

// health reports what was seen and lost.
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
		builder.RegisterEbpfConntrackRecordsCallback(h.observeRecords),
		builder.RegisterEbpfConntrackHalfOpenCallback(h.observeHalfOpen),
		builder.RegisterEbpfConntrackLostCallback(byReason(h.lost)),
		builder.RegisterEbpfConntrackNatLookupsCallback(byReason(h.lookups)),
		builder.RegisterEbpfConntrackNatProblemsCallback(byReason(h.natProblems)),
		builder.RegisterEbpfConntrackNatEntriesCallback(h.observeEntries),
		builder.RegisterEbpfConntrackJoinedCallback(byReason(h.joined)),
		builder.RegisterEbpfConntrackEdgesCallback(h.observeEdges),
		builder.RegisterEbpfConntrackOverflowCallback(byReason(h.overflow)),
		builder.RegisterEbpfConntrackAddressesCallback(h.observeAddresses),
		builder.RegisterEbpfConntrackLookErrorsCallback(byReason(h.lookErrors)),
	} {
		if err != nil {
			builder.Shutdown()
			return nil, err
		}
	}
	return h, nil
}

func (h *health) stop() { h.builder.Shutdown() }

// byReason makes a callback of what tells numbers by reason.
func byReason(of func() map[string]uint64) metric.Int64Callback {
	return func(_ context.Context, o metric.Int64Observer) error {
		for reason, n := range of() {
			o.Observe(int64(n), metric.WithAttributes(attribute.String("reason", reason)))
		}
		return nil
	}
}

func (h *health) observeRecords(_ context.Context, o metric.Int64Observer) error {
	if h.s.stream != nil {
		o.Observe(int64(h.s.stream.Stats().Records))
	}
	return nil
}

func (h *health) observeHalfOpen(_ context.Context, o metric.Int64Observer) error {
	if h.s.stream != nil {
		o.Observe(int64(h.s.stream.Stats().HalfOpen))
	}
	return nil
}

// lost are connections, or what is to be known of them, that got lost.
func (h *health) lost() map[string]uint64 {
	queue, rate := h.s.ended.lost()
	all := map[string]uint64{"event_queue": queue, "event_rate": rate, "refused": h.s.refusedEvents.Load()}
	all["owner_unclear"] = h.s.pipe.owners.unclear.Load()
	if sub := h.s.processes.Load(); sub != nil {
		all["process_queue"] = sub.Stats().Dropped
	}
	if h.s.stream == nil {
		return all
	}
	stats := h.s.stream.Stats()
	all["ring_full"], all["malformed"] = stats.RingFull, stats.Malformed
	all["map_full"], all["begun_before"] = stats.MapFull, stats.Unseen
	all["response_keys"] = stats.ResponsesFull
	return all
}

func (h *health) lookups() map[string]uint64 {
	stats := h.s.nat.Stats()
	return map[string]uint64{
		"hit": stats.Hits - stats.Cached, "cached": stats.Cached, "miss": stats.Misses, "error": stats.Errors,
	}
}

// natProblems are what the table of ctnetlink did not get, or what made it ask for
// everything again.
func (h *health) natProblems() map[string]uint64 {
	stats := h.s.nat.Stats()
	return map[string]uint64{
		"events_lost": stats.Lost, "dumped_again": stats.Redumps, "table_full": stats.Refused, "malformed": stats.Malformed,
	}
}

func (h *health) observeEntries(_ context.Context, o metric.Int64Observer) error {
	o.Observe(int64(h.s.nat.Stats().Entries))
	return nil
}

func (h *health) joined() map[string]uint64 {
	stats := h.s.pipe.joined()
	return map[string]uint64{
		"paired": stats.Paired, "proxied": stats.Proxied, "ambiguous": stats.Ambiguous, "unpaired": stats.Unpaired,
		"crowded": stats.Crowded, "forgotten": stats.Forgotten,
	}
}

func (h *health) observeEdges(_ context.Context, o metric.Int64Observer) error {
	o.Observe(int64(h.s.table.Stats().Edges))
	return nil
}

// overflow are records that found no edge of their own.
func (h *health) overflow() map[string]uint64 {
	stats := h.s.table.Stats()
	return map[string]uint64{
		"container_edges": stats.ContainerFull, "edges": stats.TableFull, "containers": stats.NoContainer,
	}
}

func (h *health) observeAddresses(_ context.Context, o metric.Int64Observer) error {
	o.Observe(int64(h.s.peers.Stats().Addresses))
	return nil
}

// lookErrors are what was not seen of open connections and of addresses.
func (h *health) lookErrors() map[string]uint64 {
	l, p := &h.s.looks.stats, h.s.peers.Stats()
	return map[string]uint64{
		"namespace": l.errors.Load(), "too_many": l.dropped.Load(), "malformed": l.malformed.Load(),
		"given_up": l.givenUp.Load(), "nat": l.unresolved.Load() + h.s.pipe.unresolved.Load(), "addresses": p.ReadErrors,
		"addresses_gone": p.DroppedGone, "links": p.DroppedParents + p.DroppedLinks, "too_many_addresses": p.DroppedAddresses,
	}
}

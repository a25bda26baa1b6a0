package edges

import (
	"maps"
	"slices"
	"time"

	"github.com/tallymanhq/tallyman/internal/expohist"
)

// Report is what a container has to say. Strings stay good for ever, all else
// until the function that was given it returns.
type Report struct {
	// Container is "" for the host, and if Nameless.
	Container string
	// Nameless: these are the containers that found no place.
	Nameless bool
	// Start is when its totals began, Time that of this flush.
	Start, Time time.Time
	// Totals and Edges are all that are remembered.
	Totals []Total
	Edges  []Edge
}

// Total is one direction of a container, over all peers.
type Total struct {
	Direction Direction
	Counters
	// RTT, Duration and Setup are in seconds; those without a value have a Count
	// of 0.
	RTT, Duration, Setup *expohist.Point
}

// Edge is what a container has had to do with one peer at one port.
type Edge struct {
	Direction  Direction
	Peer       Peer
	ServerPort uint16
	Start      time.Time
	Counters
}

// batch is the memory of a flush.
type batch struct {
	owners []*owner
	totals []Total
	edges  []Edge
	copies expohist.Copies
	gone   []string
}

// Flush hands out each container, with what has been added up since its start, and
// then forgets what was unseen for too long: until then a sum that stays as it is
// is told, so that who reads it sees no gap. each is called without a lock but must
// not call Flush.
func (t *Table) Flush(each func(*Report)) {
	t.flushing.Lock()
	defer t.flushing.Unlock()
	b := &t.batch
	now := t.begin(b)
	for _, o := range b.owners {
		each(t.report(b, o, now))
	}
	clear(b.owners)
	t.sweep(now)
}

func (t *Table) begin(b *batch) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	b.owners = slices.AppendSeq(b.owners[:0], maps.Values(t.owners))
	if t.nameless != nil {
		b.owners = append(b.owners, t.nameless)
	}
	t.flushed = t.now()
	return t.flushed
}

// report copies a container. A record that came since the flush began may be in
// it: it is after the start and at the time of the report at the latest, give or
// take the length of the flush.
func (t *Table) report(b *batch, o *owner, now time.Time) *Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	b.totals, b.edges = b.totals[:0], b.edges[:0]
	b.copies.Reset()
	for d := range Directions {
		all := &o.totals[d]
		if !all.hasAny {
			continue
		}
		b.totals = append(b.totals, Total{
			Direction: d,
			Counters:  all.counters,
			RTT:       b.take(&all.rtt),
			Duration:  b.take(&all.duration),
			Setup:     b.take(&all.setup),
		})
	}
	for _, e := range o.edges {
		b.edges = append(b.edges, e.report())
	}
	for d := range Directions {
		if e := &o.overflow[d]; !e.seen.IsZero() {
			b.edges = append(b.edges, e.report())
		}
	}
	return &Report{
		Container: o.id, Nameless: o == t.nameless, Start: o.start, Time: now, Totals: b.totals, Edges: b.edges,
	}
}

func (e *edge) report() Edge {
	return Edge{
		Direction: e.key.direction, Peer: e.key.peer, ServerPort: e.key.port, Start: e.start, Counters: e.counters,
	}
}

func (b *batch) take(v *values) *expohist.Point {
	return b.copies.Take(&v.histogram, v.sum.Seconds())
}

// sweep forgets what was unseen for too long, five times in an expiry. It takes
// the lock for one container at a time.
func (t *Table) sweep(now time.Time) {
	if now.Sub(t.swept) < t.expiry/5 {
		return
	}
	t.swept = now
	b := &t.batch
	b.gone = b.gone[:0]
	t.mu.Lock()
	for id := range t.owners {
		b.gone = append(b.gone, id)
	}
	t.mu.Unlock()
	for _, id := range b.gone {
		t.sweepOwner(id, now)
	}
	clear(b.gone)
	t.mu.Lock()
	defer t.mu.Unlock()
	if o := t.nameless; o != nil && now.Sub(o.seen) >= t.expiry {
		t.nameless = nil
	}
}

func (t *Table) sweepOwner(id string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.owners[id]
	for k, e := range o.edges {
		if now.Sub(e.seen) >= t.expiry {
			delete(o.edges, k)
			t.stats.Edges--
			t.stats.Expired++
		}
	}
	if len(o.edges) == 0 && now.Sub(o.seen) >= t.expiry {
		delete(t.owners, id)
	}
}

package edges_test

import (
	"testing"
	"time"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/edges"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// clock is turned by hand.
type clock struct{ at time.Time }

func newClock() *clock { return &clock{time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time { return c.at }

func (c *clock) pass(d time.Duration) { c.at = c.at.Add(d) }

// report is what a flush said of a container, as the caller's own.
type report struct {
	start, time time.Time
	nameless    bool
	totals      map[edges.Direction]edges.Total
	edges       map[name]edges.Edge
}

// name tells edges apart.
type name struct {
	direction edges.Direction
	peer      edges.Peer
	port      uint16
}

// flush returns what a flush hands out, by container.
func flush(t testing.TB, table *edges.Table) map[string]report {
	t.Helper()
	all := map[string]report{}
	table.Flush(func(r *edges.Report) {
		id := r.Container
		if r.Nameless {
			id = "nameless"
		}
		if _, isThere := all[id]; isThere {
			t.Errorf("%q comes twice", id)
		}
		one := report{r.Start, r.Time, r.Nameless, map[edges.Direction]edges.Total{}, map[name]edges.Edge{}}
		for _, total := range r.Totals {
			rtt, duration, setup := *total.RTT, *total.Duration, *total.Setup
			total.RTT, total.Duration, total.Setup = &rtt, &duration, &setup
			one.totals[total.Direction] = total
		}
		for _, e := range r.Edges {
			n := name{e.Direction, e.Peer, e.ServerPort}
			if _, isThere := one.edges[n]; isThere {
				t.Errorf("%v comes twice", n)
			}
			one.edges[n] = e
		}
		all[id] = one
	})
	return all
}

func peer(id string) edges.Peer { return edges.Peer{Kind: edges.Container, ID: id} }

// closed is a plain connection of 10 bytes out and 20 in.
func closed(container, other string, port uint16) edges.Record {
	return edges.Record{
		Container: container, Peer: peer(other), ServerPort: port, Sent: 10, Received: 20,
		RTT: time.Millisecond, Duration: time.Second, Setup: 2 * time.Millisecond,
	}
}

package edges_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/edges"
)

// A connection with both ends in containers is an edge of each.
func TestBothEnds(t *testing.T) {
	c := newClock()
	table := edges.New(edges.Options{Now: c.now})
	begin := c.at
	c.pass(time.Second)
	out := closed("client", "server", 80)
	out.Retransmits = 3
	in := closed("server", "client", 80)
	in.Direction, in.Sent, in.Received = edges.Incoming, 20, 10
	table.Add([]edges.Record{out, in})
	c.pass(time.Second)

	all := flush(t, table)
	require.Len(t, all, 2)
	client, server := all["client"], all["server"]
	require.Equal(t, begin, client.start, "it counts from the flush before, here from the beginning")
	require.Equal(t, c.at, client.time)
	want := edges.Counters{Sent: 10, Received: 20, Retransmits: 3}
	want.Connections[edges.Closed] = 1
	require.Equal(t, want, client.totals[edges.Outgoing].Counters)
	e := client.edges[name{edges.Outgoing, peer("server"), 80}]
	require.Equal(t, want, e.Counters)
	require.Equal(t, begin, e.Start)
	require.Equal(t, uint64(20), server.edges[name{edges.Incoming, peer("client"), 80}].Sent)
	require.NotContains(t, server.totals, edges.Outgoing)
	total := client.totals[edges.Outgoing]
	require.InDelta(t, .001, total.RTT.Sum, 1e-12)
	require.InDelta(t, .002, total.Setup.Max, 1e-12)
	require.Equal(t, uint64(1), total.Duration.Count)

	quiet := flush(t, table)["client"]
	require.Equal(t, want, quiet.totals[edges.Outgoing].Counters, "nothing came since, and it is told again")
	require.Equal(t, want, quiet.edges[name{edges.Outgoing, peer("server"), 80}].Counters)
	table.Add([]edges.Record{out})
	again := flush(t, table)["client"]
	require.Equal(t, uint64(2), again.totals[edges.Outgoing].Connections[edges.Closed], "sums are cumulative")
	require.Equal(t, begin, again.edges[name{edges.Outgoing, peer("server"), 80}].Start)
}

func TestOutcomes(t *testing.T) {
	table := edges.New(edges.Options{})
	for outcome, n := range map[edges.Outcome]int{
		edges.Closed: 1, edges.Reset: 2, edges.Failed: 3, edges.Timeout: 4, edges.Open: 5,
	} {
		r := closed("a", "b", 80)
		r.Outcome, r.Sent, r.RTT = outcome, 1, -1
		for range n {
			table.Add([]edges.Record{r})
		}
	}
	got := flush(t, table)["a"]
	total := got.totals[edges.Outgoing]
	require.Equal(t, [edges.Outcomes]uint64{1, 2, 3, 4}, total.Connections)
	require.Equal(t, uint64(7), total.Failures())
	require.Equal(t, uint64(15), total.Sent, "what goes on has bytes too")
	require.Equal(t, uint64(10), total.Duration.Count, "what goes on has no duration")
	require.Equal(t, uint64(15), total.Setup.Count)
	require.Zero(t, total.RTT.Count, "unknown is no value")
	require.Equal(t, total.Counters, got.edges[name{edges.Outgoing, peer("b"), 80}].Counters)
}

func TestInvalidRecords(t *testing.T) {
	table := edges.New(edges.Options{})
	table.Add([]edges.Record{{Direction: edges.Directions}, {Outcome: edges.Outcomes}, {Outcome: edges.Open + 1}})
	require.Equal(t, edges.Stats{Invalid: 3}, table.Stats())
	require.Empty(t, flush(t, table))
}

// Edges that differ in anything are edges of their own.
func TestKeys(t *testing.T) {
	table := edges.New(edges.Options{})
	var batch []edges.Record
	for _, direction := range []edges.Direction{edges.Outgoing, edges.Incoming} {
		for _, kind := range []edges.PeerKind{edges.Unknown, edges.Container, edges.Host, edges.Group, edges.Ambiguous} {
			for _, id := range []string{"", "x", "y"} {
				for _, port := range []uint16{1, 80} {
					batch = append(batch, edges.Record{
						Direction: direction, Peer: edges.Peer{Kind: kind, ID: id}, ServerPort: port,
					})
				}
			}
		}
	}
	table.Add(batch)
	table.Add(batch)
	got := flush(t, table)[""]
	require.Len(t, got.edges, 2*5*3*2)
	for n, e := range got.edges {
		require.Equal(t, uint64(2), e.Connections[edges.Closed], n)
	}
}

func overflow(d edges.Direction) name {
	return name{d, edges.Peer{Kind: edges.Overflow}, 0}
}

func TestLimits(t *testing.T) {
	table := edges.New(edges.Options{Limits: edges.Limits{ContainerEdges: 3, Edges: 5, Containers: 3}})
	var batch []edges.Record
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		for i := range 4 {
			batch = append(batch, closed(id, "peer", uint16(i)))
		}
	}
	table.Add(batch)
	table.Add(batch)
	require.Equal(t, edges.Stats{Containers: 3, Edges: 5, ContainerFull: 2, TableFull: 12, NoContainer: 16}, table.Stats())
	all := flush(t, table)
	require.Len(t, all["a"].edges, 4)
	require.Equal(t, uint64(2), all["a"].edges[overflow(edges.Outgoing)].Connections[edges.Closed])
	require.Equal(t, uint64(8), all["c"].edges[overflow(edges.Outgoing)].Connections[edges.Closed])
	require.True(t, all["nameless"].nameless)
	require.Equal(t, uint64(16), all["nameless"].edges[overflow(edges.Outgoing)].Connections[edges.Closed])
	sum := uint64(0)
	for id, r := range all {
		inEdges := uint64(0)
		for _, e := range r.edges {
			inEdges += e.Connections[edges.Closed]
		}
		require.Equal(t, r.totals[edges.Outgoing].Connections[edges.Closed], inEdges, id)
		sum += inEdges
	}
	require.Equal(t, uint64(2*len(batch)), sum, "nothing is lost")
}

func TestExpiry(t *testing.T) {
	c := newClock()
	table := edges.New(edges.Options{Now: c.now, Expiry: 10 * time.Minute, Limits: edges.Limits{Edges: 2}})
	table.Add([]edges.Record{closed("a", "b", 80), closed("a", "b", 81)})
	flush(t, table)
	for range 11 {
		c.pass(time.Minute)
		table.Add([]edges.Record{closed("a", "b", 80)})
		flush(t, table)
	}
	require.Equal(t, 1, table.Stats().Edges, "port 81 has not been seen")
	require.Equal(t, uint64(1), table.Stats().Expired)

	before := c.at
	c.pass(time.Minute)
	table.Add([]edges.Record{closed("a", "b", 81)})
	got := flush(t, table)["a"]
	back := got.edges[name{edges.Outgoing, peer("b"), 81}]
	require.Equal(t, uint64(1), back.Connections[edges.Closed], "it starts anew")
	require.Equal(t, before, back.Start, "with the flush before")
	require.Equal(t, uint64(14), got.totals[edges.Outgoing].Connections[edges.Closed], "totals do not expire with edges")

	c.pass(time.Hour)
	table.Add([]edges.Record{closed("x", "y", 1)})
	last := flush(t, table)["x"]
	require.Contains(t, last.edges, overflow(edges.Outgoing), "the places were taken until this flush")
	require.Equal(t, 1, table.Stats().Containers, "only the one that was just seen")
	require.Zero(t, table.Stats().Edges)
	require.Equal(t, uint64(3), table.Stats().Expired)
	table.Add([]edges.Record{closed("x", "y", 1)})
	require.Contains(t, flush(t, table)["x"].edges, name{edges.Outgoing, peer("y"), 1}, "there is place again")
	require.Equal(t, 1, table.Stats().Edges)
}

// What was not handed out yet is not forgotten, however old.
func TestExpiryAfterFlush(t *testing.T) {
	c := newClock()
	table := edges.New(edges.Options{Now: c.now})
	table.Add([]edges.Record{closed("a", "b", 80)})
	c.pass(time.Hour)
	require.Contains(t, flush(t, table), "a")
	require.Zero(t, table.Stats().Containers, "it was told, and its time was over")
}

// The nameless go too, when there is place again.
func TestNamelessExpire(t *testing.T) {
	c := newClock()
	table := edges.New(edges.Options{Now: c.now, Limits: edges.Limits{Containers: 1}})
	both := []edges.Record{closed("a", "x", 80), closed("b", "x", 80)}
	table.Add(both)
	require.Contains(t, flush(t, table), "nameless")
	c.pass(time.Hour)
	flush(t, table)
	table.Add([]edges.Record{closed("b", "x", 80)})
	require.Contains(t, flush(t, table), "b")
	table.Add([]edges.Record{closed("a", "x", 80)})
	got := flush(t, table)["nameless"]
	require.Equal(t, uint64(1), got.totals[edges.Outgoing].Connections[edges.Closed], "it starts anew")
}

// Records that come during flushes are neither lost nor doubled.
func TestConcurrentFlush(t *testing.T) {
	table := edges.New(edges.Options{})
	const writers, batches, size = 4, 200, 50
	var wait sync.WaitGroup
	for w := range writers {
		wait.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(w)))
			for range batches {
				batch := make([]edges.Record, size)
				for i := range batch {
					batch[i] = closed(fmt.Sprint("c", random.IntN(20)), fmt.Sprint("p", random.IntN(20)), 80)
				}
				table.Add(batch)
			}
		})
	}
	done := make(chan struct{})
	go func() { wait.Wait(); close(done) }()
	last := map[string]uint64{}
	note := func(r *edges.Report) {
		n := r.Totals[0].Connections[edges.Closed]
		if n < last[r.Container] {
			t.Errorf("%s has %d after %d", r.Container, n, last[r.Container])
		}
		last[r.Container] = n
	}
	for isOver := false; !isOver; {
		select {
		case <-done:
			isOver = true
		default:
		}
		table.Flush(note)
	}
	sum := uint64(0)
	for _, n := range last {
		sum += n
	}
	require.Equal(t, uint64(writers*batches*size), sum)
}

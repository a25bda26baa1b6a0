package aggregate_test

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/aggregate"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/dogstatsd"
)

// randomLine draws from few names and tags, so that contexts meet. Values are
// multiples of 1/4: their sums are exact in any order.
func randomLine(random *rand.Rand, now time.Time) string {
	kind := []string{"c", "g", "s", "h", "ms", "d"}[random.IntN(6)]
	line := fmt.Sprintf("m%d:%g|%s", random.IntN(5), float64(random.IntN(4000)-500)/4, kind)
	if random.IntN(3) == 0 {
		line += "|@0.5"
	}
	switch random.IntN(3) {
	case 0:
		line += "|#a:1,b:2"
	case 1:
		line += "|#b:2,a:1"
	}
	if (kind == "c" || kind == "g") && random.IntN(8) == 0 {
		line += fmt.Sprintf("|T%d", now.Unix()-random.Int64N(20))
	}
	return line
}

// Two tables merged into a third hand out what one table does that saw it all.
func TestMergeIsAsOneTable(t *testing.T) {
	for _, cumulative := range []bool{false, true} {
		random := rand.New(rand.NewPCG(1, 9))
		seed := maphash.MakeSeed()
		one := newRig(t, aggregate.Settings{Cumulative: cumulative, Seed: seed})
		main := newRig(t, aggregate.Settings{Cumulative: cumulative, Seed: seed})
		parts := []*rig{newRig(t, aggregate.Settings{Seed: seed}), newRig(t, aggregate.Settings{Seed: seed})}
		for range 8 {
			for range 400 {
				for _, r := range append(parts, one, main) {
					r.now = r.now.Add(10 * time.Millisecond) // gauges: who was last is known
				}
				line, origin := randomLine(random, one.now), aggregate.Origin(1+random.IntN(3))
				one.add(origin, line)
				parts[random.IntN(2)].add(origin, line)
			}
			for _, part := range parts {
				require.NoError(t, main.table.Merge(part.table))
				require.Empty(t, part.flush(), "the other one has nothing left")
			}
			sameValues(t, one.flush(), main.flush())
		}
	}
}

func sameValues(t *testing.T, want, got map[string]seen) {
	t.Helper()
	diff := cmp.Diff(want, got,
		cmpopts.IgnoreUnexported(aggregate.Point{}),
		cmpopts.IgnoreFields(seen{}, "Start", "Time"),
		cmpopts.IgnoreFields(aggregate.Point{}, "Start", "Time"))
	if diff != "" {
		t.Fatal(diff)
	}
}

// With large sets, the union is estimated as one set would be.
func TestMergeOfLargeSets(t *testing.T) {
	seed := maphash.MakeSeed()
	for _, sizes := range [][2]int{{100, 100}, {100, 1000}, {1000, 100}, {30_000, 50_000}} {
		main := newRig(t, aggregate.Settings{Seed: seed})
		for part, n := range sizes {
			r := newRig(t, aggregate.Settings{Seed: seed})
			for i := range n {
				r.add(1, fmt.Sprintf("s:%d|s", i*(part+1)))
			}
			require.NoError(t, main.table.Merge(r.table))
		}
		both := map[int]bool{}
		for part, n := range sizes {
			for i := range n {
				both[i*(part+1)] = true
			}
		}
		require.InEpsilon(t, len(both), main.flush()["1 s|s"].Value, 4*.0081)
	}
}

// Two sums that are finite can have one that is not: the second stays out.
func TestMergeOutOfRange(t *testing.T) {
	seed := maphash.MakeSeed()
	main := newRig(t, aggregate.Settings{Seed: seed})
	for _, line := range []string{"h:1e308|h", "c:1e308|c", "h:1.7e308|h", "c:1.7e308|c"} {
		part := newRig(t, aggregate.Settings{Seed: seed})
		part.add(1, line)
		require.NoError(t, main.table.Merge(part.table))
	}
	require.Equal(t, map[string]uint64{"1 out_of_range": 2}, main.counts())
	require.Equal(t, map[string]float64{"1 h|h": 1, "1 c|c": 1e308}, values(main.flush()))
}

func TestMergeRefuses(t *testing.T) {
	a, b := newRig(t, aggregate.Settings{}), newRig(t, aggregate.Settings{})
	require.ErrorContains(t, a.table.Merge(b.table), "seeds differ")
	c := newRig(t, aggregate.Settings{Cumulative: true})
	require.ErrorContains(t, a.table.Merge(c.table), "cumulative")
}

// A sender that became known: nothing is handed out for its first name.
func TestMove(t *testing.T) {
	for _, cumulative := range []bool{false, true} {
		random := rand.New(rand.NewPCG(1, 9))
		seed := maphash.MakeSeed()
		one := newRig(t, aggregate.Settings{Cumulative: cumulative, Seed: seed})
		moved := newRig(t, aggregate.Settings{Cumulative: cumulative, Seed: seed})
		for range 5 {
			for range 300 {
				one.now = one.now.Add(10 * time.Millisecond)
				moved.now = one.now
				line := randomLine(random, one.now)
				one.add(1, line)
				moved.add(aggregate.Origin(1+random.IntN(3)), line)
			}
			require.NoError(t, moved.table.Move(2, 1))
			require.NoError(t, moved.table.Move(3, 1))
			require.NoError(t, moved.table.Move(4, 1), "nobody")
			sameValues(t, one.flush(), moved.flush())
			require.Equal(t, one.table.Len(), moved.table.Len(), "the first contexts are gone")
		}
	}
}

// A reader that never stops, while flushes go on: nothing is lost, nothing is
// counted twice.
func TestFlushBesideAReader(t *testing.T) {
	const samples, contexts = 200_000, 3000
	table := aggregate.New(aggregate.Settings{})
	var sum, histogram float64
	take := func(_ aggregate.Origin, points []aggregate.Point) {
		for i := range points {
			sum += points[i].Value
			if h := points[i].Histogram; h != nil {
				histogram += h.Sum
				if h.Count != h.Zero+total(h.Positive.Counts) {
					t.Errorf("count %d is not that of the buckets", h.Count)
				}
			}
		}
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(done)
		s := dogstatsd.Sample{Values: []float64{1}, Rate: 1}
		for i := 0; i < samples; {
			table.Lock()
			for range 100 {
				s.Type = dogstatsd.Counter
				if i%2 == 1 {
					s.Type = dogstatsd.Histogram
				}
				s.Name = fmt.Appendf(s.Name[:0], "m%d", i%contexts)
				table.Add(aggregate.Origin(1+i%7), &s)
				i++
			}
			table.Unlock()
		}
	})
	for isDone := false; !isDone; {
		select {
		case <-done:
			isDone = true
		default:
		}
		table.Flush(nil, take)
	}
	wg.Wait()
	table.Flush(nil, take)
	require.Equal(t, samples/2., sum)
	require.Equal(t, samples/2., histogram)
}

func total(counts []uint64) uint64 {
	n := uint64(0)
	for _, c := range counts {
		n += c
	}
	return n
}

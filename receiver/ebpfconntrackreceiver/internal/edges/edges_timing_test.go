package edges_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/edges"
)

// records are both ends of connections between n containers with ids as long as
// real ones, in batches as they come every 100 ms.
func records(n int) [][]edges.Record {
	random := rand.New(rand.NewPCG(1, 1))
	id := func() string { return fmt.Sprintf("%s%08d", strings.Repeat("a", 56), random.IntN(n)) }
	all := make([][]edges.Record, 32)
	for i := range all {
		for range 128 {
			out := closed(id(), id(), 8080)
			out.RTT = time.Duration(random.ExpFloat64() * float64(time.Millisecond))
			out.Duration = time.Duration(random.ExpFloat64() * float64(time.Second))
			in := out
			in.Container, in.Peer.ID, in.Direction = out.Peer.ID, out.Container, edges.Incoming
			all[i] = append(all[i], out, in)
		}
	}
	return all
}

// BenchmarkAdd is one connection with both ends: two records of known edges.
func BenchmarkAdd(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("containers=%d", n), func(b *testing.B) {
			all := records(n)
			table := edges.New(edges.Options{})
			for _, batch := range all {
				table.Add(batch)
			}
			b.ReportAllocs()
			connections := 0
			for i := 0; b.Loop(); i++ {
				table.Add(all[i%len(all)])
				connections += len(all[0]) / 2
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(connections), "ns/connection")
		})
	}
}

// BenchmarkFlush is a flush of 100 containers and their edges, all touched.
func BenchmarkFlush(b *testing.B) {
	all := records(100)
	table := edges.New(edges.Options{})
	handed := 0
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		for _, batch := range all {
			table.Add(batch)
		}
		b.StartTimer()
		table.Flush(func(r *edges.Report) { handed += len(r.Edges) })
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(handed), "ns/edge")
}

func TestBudgets(t *testing.T) {
	all := records(10)
	table := edges.New(edges.Options{})
	add := func() {
		for _, batch := range all {
			table.Add(batch)
		}
	}
	// Counters of buckets widen with the first thousands.
	for range 50 {
		add()
		table.Flush(func(*edges.Report) {})
	}
	perRecord := testing.AllocsPerRun(20, add) / float64(len(all)*len(all[0]))
	require.Less(t, perRecord, .001, "allocations for each record")
}

package sockdiag_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/sockdiag"
)

// BenchmarkDump is one look at a namespace with that many connections of ours,
// both ends, and whatever else there is.
func BenchmarkDump(b *testing.B) {
	for _, n := range []int{0, 100, 1000} {
		b.Run(fmt.Sprintf("connections=%d", n), func(b *testing.B) {
			l := listen(b, "tcp", "127.0.0.1:0")
			for range n {
				pair(b, l)
			}
			b.ReportAllocs()
			sockets := 0
			for b.Loop() {
				all, err := sockdiag.Dump(nil, sockdiag.Options{})
				if err != nil {
					b.Fatal(err)
				}
				sockets = len(all.Conns) + len(all.Listeners)
			}
			require.GreaterOrEqual(b, sockets, 2*n+1)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*sockets), "ns/socket")
		})
	}
}

// BenchmarkDumpLimited keeps a hundred sockets of that many.
func BenchmarkDumpLimited(b *testing.B) {
	for _, n := range []int{500, 1000, 2000} {
		b.Run(fmt.Sprintf("connections=%d", n), func(b *testing.B) {
			l := listen(b, "tcp", "127.0.0.1:0")
			for range n {
				pair(b, l)
			}
			b.ReportAllocs()
			sockets := 0
			for b.Loop() {
				some, err := sockdiag.Dump(nil, sockdiag.Options{MaxSockets: 100})
				if err != nil {
					b.Fatal(err)
				}
				require.Equal(b, 100, len(some.Conns)+len(some.Listeners))
				sockets = 100 + some.Dropped
			}
			require.GreaterOrEqual(b, sockets, 2*n+1)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*sockets), "ns/socket")
		})
	}
}

// BenchmarkOwners reads the descriptors of this process, of which none is wanted.
func BenchmarkOwners(b *testing.B) {
	l := listen(b, "tcp", "127.0.0.1:0")
	for range 100 {
		pair(b, l)
	}
	search := sockdiag.Search{Proc: "/proc", Pids: one(os.Getpid())}
	descriptors := 0
	b.ReportAllocs()
	for b.Loop() {
		descriptors = sockdiag.Owners(search, map[uint64]struct{}{1: {}}).Descriptors
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*descriptors), "ns/descriptor")
}

// BenchmarkCompare is a look at 3000 connections, with the end of one in ten told
// since the look before, and as many new ones.
func BenchmarkCompare(b *testing.B) {
	const count, fresh = 3000, 300
	conns := make([]sockdiag.Conn, count)
	next := uint64(0)
	for i := range conns {
		next++
		conns[i] = sent(next, 1)
	}
	poller := sockdiag.NewPoller()
	at, told := 0, 0
	b.ReportAllocs()
	for b.Loop() {
		look := poller.Begin(time.Time{})
		for i := range conns {
			conns[i].Sent++
		}
		poller.Compare(look, conns, func(*sockdiag.Change, sockdiag.Event) { told++ })
		for range fresh {
			poller.Forget(conns[at].Cookie)
			next++
			conns[at] = sent(next, 1)
			at = (at + 1) % count
		}
	}
	require.Equal(b, b.N*count, told)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(told), "ns/connection")
}

// A look at what is known allocates nothing, nor does an end.
func TestBudgets(t *testing.T) {
	conns := make([]sockdiag.Conn, 100)
	for i := range conns {
		conns[i] = sent(uint64(i), 1)
	}
	poller := sockdiag.NewPoller()
	each := func(*sockdiag.Change, sockdiag.Event) {}
	poller.Compare(poller.Begin(time.Time{}), conns, each)
	require.Zero(t, testing.AllocsPerRun(100, func() { poller.Compare(poller.Begin(time.Time{}), conns, each) }))
	next := uint64(0)
	require.Zero(t, testing.AllocsPerRun(50, func() {
		poller.Forget(next)
		next++
	}))
	require.Equal(t, 100-51, poller.Len())
}

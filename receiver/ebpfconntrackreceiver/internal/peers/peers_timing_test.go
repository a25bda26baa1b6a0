package peers_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/netns"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/edges"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/peers"
)

const firstInode = 4_026_532_000

func addressOf(i int) netip.Addr { return netip.AddrFrom4([4]byte{172, 17, byte(i >> 8), byte(i)}) }

// crowd is a table of n containers, each with an address of both families.
func crowd(tb testing.TB, n int) *peers.Table {
	tb.Helper()
	table, err := peers.New(peers.Options{})
	require.NoError(tb, err)
	for i := range n {
		c := box(fmt.Sprintf("%s%08d", strings.Repeat("a", 56), i))
		ns := &netns.Namespace{Inode: firstInode + uint64(i), Members: []netns.Member{{Cgroup: &c}}}
		table.Put(ns, addressOf(i), netip.AddrFrom16([16]byte{0xfd, 14: byte(i >> 8), 15: byte(i)}))
	}
	table.Publish()
	return table
}

// BenchmarkLookup is one question.
func BenchmarkLookup(b *testing.B) {
	table := crowd(b, 1000)
	for _, one := range []struct {
		name string
		addr func(i int) netip.Addr
	}{
		{"container", addressOf},
		{"ipv6", func(i int) netip.Addr { return netip.AddrFrom16([16]byte{0xfd, 14: byte(i >> 8), 15: byte(i)}) }},
		{"external", func(i int) netip.Addr { return netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}) }},
		{"loopback", func(int) netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 1}) }},
	} {
		b.Run(one.name, func(b *testing.B) {
			b.ReportAllocs()
			known := 0
			for i := 0; b.Loop(); i++ {
				at := i % 1000
				_, ok := table.Lookup(peers.Question{
					From: firstInode + uint64(at), Addr: netip.AddrPortFrom(one.addr(at), 80),
				})
				if ok {
					known++
				}
			}
			if known == 0 {
				b.Fatal("nobody is known")
			}
		})
	}
}

// connection is what BPF tells of both ends of one between two of n containers.
func connection(table *peers.Table, batch []edges.Record, i, n int) []edges.Record {
	client, server := i%n, (i*7+1)%n
	for _, end := range []struct {
		own, other int
		port       uint16
		direction  edges.Direction
	}{{client, server, 8080, edges.Outgoing}, {server, client, 0, edges.Incoming}} {
		own, _ := table.Namespace(firstInode+uint64(end.own), 0)
		other, _ := table.Lookup(peers.Question{
			From: firstInode + uint64(end.own), Addr: netip.AddrPortFrom(addressOf(end.other), end.port),
		})
		batch = append(batch, edges.Record{
			Container: own.Container, Peer: edges.Peer{Kind: edges.Container, ID: other.Container},
			Direction: end.direction, ServerPort: 8080, Sent: 16, Received: 32,
			RTT:      time.Duration(i%1000) * time.Microsecond,
			Duration: time.Duration(i%5000) * time.Microsecond, Setup: 100 * time.Microsecond,
		})
	}
	return batch
}

// BenchmarkConnection is both ends of a connection: who they are, and their edges.
// The goal is 1 us.
func BenchmarkConnection(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("containers=%d", n), func(b *testing.B) {
			table, sums := crowd(b, n), edges.New(edges.Options{})
			var batch []edges.Record
			connect := func(i int) {
				if batch = connection(table, batch, i, n); len(batch) >= 256 {
					sums.Add(batch)
					batch = batch[:0]
				}
			}
			for i := range 100_000 {
				connect(i)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				connect(i)
			}
			require.Zero(b, sums.Stats().TableFull)
		})
	}
}

// BenchmarkPublish is a new snapshot of 1000 containers.
func BenchmarkPublish(b *testing.B) {
	table := crowd(b, 1000)
	b.ReportAllocs()
	for b.Loop() {
		table.Publish()
	}
}

// BenchmarkRefresh is a look at a host and ten containers on a bridge, all due.
func BenchmarkRefresh(b *testing.B) {
	w := newWorld(b, peers.Options{})
	host := w.place()
	host.bridge("br0", "10.3.0.1/24")
	for i := range 10 {
		p := w.place(box(fmt.Sprint("c", i)))
		host.plug("br0", p, fmt.Sprintf("10.3.0.%d/24", i+2))
	}
	w.refresh()
	b.ReportAllocs()
	for b.Loop() {
		w.refresh()
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*11), "us/namespace")
}

func TestBudgets(t *testing.T) {
	table := crowd(t, 10)
	for _, addr := range []string{"172.17.0.3", "fd00::5", "203.0.113.1", "127.0.0.1"} {
		q := peers.Question{From: firstInode, Addr: netip.AddrPortFrom(netip.MustParseAddr(addr), 80)}
		require.Zero(t, testing.AllocsPerRun(100, func() { table.Lookup(q) }), addr)
	}
	// The same address in two namespaces.
	other := box("other")
	table.Put(&netns.Namespace{Inode: 1, Members: []netns.Member{{Cgroup: &other}}}, addressOf(3))
	table.Publish()
	q := peers.Question{From: firstInode, Addr: netip.AddrPortFrom(addressOf(3), 80)}
	p, _ := table.Lookup(q)
	require.Equal(t, peers.Ambiguous, p.Kind)
	require.Zero(t, testing.AllocsPerRun(100, func() { table.Lookup(q) }))
}

package ebpfconntrackreceiver

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/connstream"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/edges"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/join"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/nat"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/peers"
)

// BenchmarkPipeline takes batches of 1000 connections with both ends, as the stream
// gives them, from a record to the tables; without conntrack, which the benchmarks
// of nat measure.
func BenchmarkPipeline(b *testing.B) {
	p := quietPipeline(b)
	records := make([]connstream.Record, 2000)
	b.ReportAllocs()
	round := uint16(0)
	for b.Loop() {
		round++
		b.StopTimer()
		now := connstream.Now()
		for i := 0; i < len(records); i += 2 {
			client := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(round), byte(i >> 9)}), 32768+uint16(i))
			server := netip.MustParseAddrPort("10.0.0.2:80")
			records[i] = connstream.Record{
				Netns: 1, Local: client, Remote: server, Direction: connstream.Outgoing, Sent: 16, Received: 32,
				Started: now - 3*time.Millisecond, Established: now - 2*time.Millisecond, Ended: now, RTT: time.Millisecond,
			}
			records[i+1] = connstream.Record{
				Netns: 2, Local: server, Remote: client, Direction: connstream.Incoming, Sent: 32, Received: 16,
				Started: now - 2*time.Millisecond, Established: now - 2*time.Millisecond, Ended: now, RTT: time.Millisecond,
			}
		}
		b.StartTimer()
		p.handle(records)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/connection")
}

// quietPipeline is one that asks nobody.
func quietPipeline(tb testing.TB) *pipeline {
	tb.Helper()
	resolver, _, err := nat.Open(nat.Options{Mode: nat.ModeOff})
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = resolver.Close() })
	all, err := peers.New(peers.Options{})
	require.NoError(tb, err)
	return &pipeline{
		owners: &owners{peers: all}, peers: all, resolver: resolver, table: edges.New(edges.Options{}),
		looks: newLooks(zap.NewNop(), 1024), joiner: join.New[flight](join.Options{}),
	}
}

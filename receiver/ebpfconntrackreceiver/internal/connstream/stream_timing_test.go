package connstream_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/connstream"
)

// BenchmarkStream is what one connection, with both ends, costs the kernel,
// and one record costs here. Another process makes 10,000 short connections
// over loopback per round:
//
//	go test -run '^$' -bench Stream -benchtime 5x ./receiver/ebpfconntrackreceiver/internal/connstream
//
// The kernel's own clock of BPF programs includes what interrupts them. With IO
// the programs also run for all other traffic of the host.
func BenchmarkStream(b *testing.B) {
	const short, long = 10_000, 50_000
	b.Run("state", func(b *testing.B) { benchmark(b, connstream.Options{}, short, 1) })
	b.Run("io", func(b *testing.B) { benchmark(b, connstream.Options{IO: true}, short, 1) })
	b.Run("responses", func(b *testing.B) { benchmark(b, measuring(), short, 1) })
	b.Run("exchanges of io", func(b *testing.B) { benchmark(b, connstream.Options{IO: true}, loadClients, long/loadClients) })
	b.Run("exchanges", func(b *testing.B) { benchmark(b, measuring(), loadClients, long/loadClients) })
}

// benchmark makes connections, and on each of them exchanges.
func benchmark(b *testing.B, o connstream.Options, connections, exchanges int) {
	testkit.NeedBPF(b)
	o.Handle = func([]connstream.Record) {}
	s, err := connstream.Open(o)
	require.NoError(b, err)
	defer s.Close()
	for name, err := range s.Programs() {
		require.NoError(b, err, name)
	}
	stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	require.NoError(b, err)
	defer stats.Close()
	var cpu, kernel time.Duration
	var records, runs, rounds uint64
	b.ReportAllocs()
	for b.Loop() {
		recordsBefore, before := s.Stats().Records, selfTime(b)
		runsBefore, kernelBefore := s.KernelTime()
		runLoad(b, connections, exchanges)
		testkit.Eventually(b, patience, func() error {
			if got := s.Stats().Records - recordsBefore; got < 2*uint64(connections) {
				return fmt.Errorf("%d records: %w", got, errNotYet)
			}
			return nil
		})
		runsAfter, kernelAfter := s.KernelTime()
		cpu += selfTime(b) - before
		records += s.Stats().Records - recordsBefore
		runs += runsAfter - runsBefore
		kernel += kernelAfter - kernelBefore
		rounds++
	}
	require.Zero(b, s.Stats().RingFull+s.Stats().MapFull+s.Stats().Malformed+s.Stats().ResponsesFull)
	perRound := func(n int) float64 { return float64(kernel.Nanoseconds()) / float64(rounds) / float64(n) }
	b.ReportMetric(float64(kernel.Nanoseconds())/float64(runs), "bpf-ns/run")
	b.ReportMetric(0, "ns/op")
	if exchanges > 1 { // of connections there are next to none then
		b.ReportMetric(perRound(connections*exchanges), "bpf-ns/exchange")
		return
	}
	b.ReportMetric(perRound(connections), "bpf-ns/connection")
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(records), "consumer-ns/record")
}

// BenchmarkResponses is one reading of 4,096 keys, and what they take in the
// kernel.
func BenchmarkResponses(b *testing.B) {
	const keys = 4096
	testkit.NeedBPF(b)
	o := measuring()
	o.Handle, o.MaxResponses = func([]connstream.Record) {}, 2*keys
	s, err := connstream.Open(o)
	require.NoError(b, err)
	defer s.Close()
	before, err := s.ResponseMemory()
	require.NoError(b, err)
	require.NoError(b, s.Keep(keys, connstream.Now()))
	after, err := s.ResponseMemory()
	require.NoError(b, err)
	read := 0
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, s.Responses(func(connstream.ResponseKey, *connstream.ResponseTimes) { read++ }))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(read), "ns/key")
	b.ReportMetric(float64(after-before)/keys, "kernel-bytes/key")
	b.ReportMetric(float64(before), "kernel-bytes")
}

// selfTime is the processor time of this process without its children.
func selfTime(b *testing.B) time.Duration {
	b.Helper()
	var cpu unix.Timespec
	require.NoError(b, unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &cpu))
	return time.Duration(cpu.Nano())
}

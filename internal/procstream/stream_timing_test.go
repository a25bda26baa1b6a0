package procstream_test

import (
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/procstream"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// BenchmarkStream is what one event costs, in the kernel and here. A shell
// starts 2,000 short processes per round, each of which is forked, replaces
// its program and ends:
//
//	go test -run '^$' -bench Stream -benchtime 5x ./internal/procstream
//
// The kernel's own clock of BPF programs includes what interrupts them. The
// processor time of this process includes the wait for the shell, nearly none.
func BenchmarkStream(b *testing.B) {
	testkit.NeedBPF(b)
	var events atomic.Uint64
	s, err := procstream.OpenStream(procstream.StreamOptions{Handle: func(*procstream.Event) { events.Add(1) }})
	require.NoError(b, err)
	defer s.Close()
	for name, err := range s.Programs() {
		require.NoError(b, err, name)
	}
	stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	require.NoError(b, err)
	defer stats.Close()
	var cpu time.Duration
	var handled, runs uint64
	var kernel time.Duration
	for b.Loop() {
		beforeEvents, before := events.Load(), selfTime(b)
		runsBefore, kernelBefore := s.KernelTime()
		require.NoError(b, exec.Command("sh", "-c", "i=0; while [ $i -lt 2000 ]; do /bin/true; i=$((i+1)); done").Run())
		testkit.Eventually(b, patience, func() error { return atLeast(events.Load(), beforeEvents+6000) })
		runsAfter, kernelAfter := s.KernelTime()
		cpu += selfTime(b) - before
		handled += events.Load() - beforeEvents
		runs += runsAfter - runsBefore
		kernel += kernelAfter - kernelBefore
	}
	require.Empty(b, nonZero(s.Stats().Dropped))
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(handled), "consumer-ns/event")
	b.ReportMetric(float64(kernel.Nanoseconds())/float64(runs), "bpf-ns/run")
	b.ReportMetric(0, "ns/op")
}

// selfTime is the processor time of this process without its children.
func selfTime(b *testing.B) time.Duration {
	b.Helper()
	var cpu unix.Timespec
	require.NoError(b, unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &cpu))
	return time.Duration(cpu.Nano())
}

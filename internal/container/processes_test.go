package container_test

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/container"
)

// processTable is a table with a clock that the test moves.
type processTable struct {
	*container.Processes
	now time.Time
}

func newProcesses(maxDead int) *processTable {
	x := &processTable{now: time.Unix(1000, 0)}
	x.Processes = container.NewProcesses(container.ProcessesOptions{
		Grace: time.Minute, MaxDead: maxDead, Now: func() time.Time { return x.now },
	})
	return x
}

func TestProcessLife(t *testing.T) {
	x := newProcesses(0)
	f := func(want container.Process, ok bool) {
		t.Helper()
		got, found := x.ByPID(7)
		if diff := cmp.Diff(want, got); diff != "" || found != ok {
			t.Errorf("found %v (-want +got):\n%s", found, diff)
		}
	}
	f(container.Process{}, false)
	x.Add(7, 100, 1)
	f(container.Process{PID: 7, Start: 100, Cgroup: 1}, true)
	x.Add(7, 100, 2) // moved
	f(container.Process{PID: 7, Start: 100, Cgroup: 2}, true)
	gone := x.now
	x.Remove(7, 99, time.Time{}) // another process
	f(container.Process{PID: 7, Start: 100, Cgroup: 2}, true)
	x.Remove(7, 100, time.Time{})
	f(container.Process{PID: 7, Start: 100, Cgroup: 2, Gone: gone}, true)
	x.Add(7, 100, 3) // an event that comes late
	f(container.Process{PID: 7, Start: 100, Cgroup: 2, Gone: gone}, true)
	x.now = x.now.Add(time.Minute)
	require.Equal(t, container.ProcessesStats{}, x.Stats())
	f(container.Process{}, false)
}

// A number that was given again means the new process; who knows the start
// still finds the old one.
func TestProcessNumberIsReused(t *testing.T) {
	x := newProcesses(0)
	x.Add(7, 100, 1)
	x.Remove(7, 100, time.Time{})
	x.Add(7, 200, 2)
	x.Add(7, 300, 3) // the end of the second was missed
	got, ok := x.ByPID(7)
	require.True(t, ok)
	require.Equal(t, container.Process{PID: 7, Start: 300, Cgroup: 3}, got)
	for start, cgroup := range map[uint64]uint64{100: 1, 200: 2, 300: 3} {
		got, ok := x.ByStart(7, start)
		require.True(t, ok, start)
		require.Equal(t, cgroup, got.Cgroup)
	}
	_, ok = x.ByStart(7, 250)
	require.False(t, ok)
	x.Remove(7, 200, time.Time{}) // late: it is not the one that lives
	got, _ = x.ByPID(7)
	require.True(t, got.Gone.IsZero())

	x.now = x.now.Add(time.Minute)
	require.Equal(t, container.ProcessesStats{Live: 1}, x.Stats())
	_, ok = x.ByStart(7, 100)
	require.False(t, ok)
	_, ok = x.ByStart(7, 300)
	require.True(t, ok)
}

func TestProcessesAreBounded(t *testing.T) {
	x := newProcesses(10)
	for pid := range 25 {
		x.Add(pid, 1, 1)
		x.Remove(pid, 1, time.Time{})
	}
	require.Equal(t, container.ProcessesStats{Dead: 10, Evicted: 15}, x.Stats())
	_, ok := x.ByPID(14)
	require.False(t, ok)
	_, ok = x.ByPID(15)
	require.True(t, ok)
	x.Clear()
	_, ok = x.ByPID(15)
	require.False(t, ok)
	require.Equal(t, container.ProcessesStats{Evicted: 15}, x.Stats())
}

// Whatever happens, a process that is found is one that was added, and the
// sizes are those of what is there.
func TestProcessesAtRandom(t *testing.T) {
	x := newProcesses(50)
	r := rand.New(rand.NewPCG(1, 2))
	cgroups := map[[2]uint64]uint64{} // of pid and start
	for step := range uint64(100_000) {
		pid := r.IntN(40)
		switch r.IntN(4) {
		case 0, 1:
			start := step/100 + 1
			if _, known := cgroups[[2]uint64{uint64(pid), start}]; !known {
				cgroups[[2]uint64{uint64(pid), start}] = step
				x.Add(pid, start, step)
			}
		case 2:
			x.Remove(pid, 0, time.Time{})
		case 3:
			x.now = x.now.Add(time.Second / 10)
		}
		if got, ok := x.ByPID(pid); ok {
			require.Equal(t, cgroups[[2]uint64{uint64(pid), got.Start}], got.Cgroup)
		}
		s := x.Stats()
		require.LessOrEqual(t, s.Dead, 50)
		require.LessOrEqual(t, s.Live, 40)
	}
}

func BenchmarkProcesses(b *testing.B) {
	x := container.NewProcesses(container.ProcessesOptions{})
	for pid := range 5000 {
		x.Add(pid, uint64(pid), 1)
	}
	b.Run("ByPID", func(b *testing.B) {
		b.ReportAllocs()
		for pid := 0; b.Loop(); pid++ {
			x.ByPID(pid % 5000)
		}
	})
	b.Run("life", func(b *testing.B) {
		b.ReportAllocs()
		for pid := 5000; b.Loop(); pid++ {
			x.Add(pid%4_000_000, uint64(pid), 1)
			x.Remove(pid%4_000_000, uint64(pid), time.Time{})
		}
	})
	b.Run("memory of 10000 dead", func(b *testing.B) {
		for b.Loop() {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			y := container.NewProcesses(container.ProcessesOptions{})
			for pid := range 10_000 {
				y.Add(pid, 1, 1)
				y.Remove(pid, 1, time.Time{})
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1024, "KiB")
			runtime.KeepAlive(y)
		}
	})
}

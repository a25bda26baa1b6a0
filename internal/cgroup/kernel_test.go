package cgroup_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/cgroup"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// within bounds every wait; an emulated guest is 25 times slower than a host.
const within = 60 * time.Second

// kernelHost makes a cgroup and finds the hierarchies that it is in.
func kernelHost(t testing.TB, name string) (*testkit.Group, *cgroup.Host) {
	t.Helper()
	testkit.NeedCgroup(t, "cpu", "memory", "pids", "blkio")
	g := testkit.Cgroup(t, name)
	return g, detect(t, "/")
}

// openReader reads all of the group until the test ends.
func openReader(t testing.TB, h *cgroup.Host, g *testkit.Group) *cgroup.Reader {
	t.Helper()
	r := h.NewReader(g.Path(), hostfs.NewBudget(100), cgroup.PartsAll)
	t.Cleanup(r.Close)
	return r
}

func read(t testing.TB, r *cgroup.Reader, slow bool) cgroup.Sample {
	t.Helper()
	var s cgroup.Sample
	_, err := r.Read(&s, nil, slow)
	require.NoError(t, err)
	return s
}

// number reads a control file in our own way: the last word of the line that
// starts with key, or without a key of the first.
func number(t testing.TB, g *testkit.Group, controller string, file [2]string) uint64 {
	t.Helper()
	name, key := file[0], file[1]
	for line := range strings.Lines(g.Read(controller, name)) {
		fields := strings.Fields(line)
		if key != "" && fields[0] != key {
			continue
		}
		v, err := strconv.ParseUint(fields[len(fields)-1], 10, 64)
		require.NoError(t, err, "%s: %q", name, line)
		return v
	}
	t.Fatalf("%s has no %q", name, key)
	return 0
}

// place is where one number stands: on v1, and on v2.
type place struct {
	v1, v2  [2]string // file, key
	control string    // the v1 controller
	unit    uint64    // of v2, in that of v1
}

func (p place) read(t testing.TB, g *testkit.Group) uint64 {
	t.Helper()
	if g.Unified(p.control) {
		return number(t, g, p.control, p.v2) * max(p.unit, 1)
	}
	return number(t, g, p.control, p.v1)
}

// expectedParts is what this kernel can say about any cgroup.
func expectedParts(t testing.TB, g *testkit.Group, h *cgroup.Host) cgroup.Part {
	t.Helper()
	want := cgroup.PartsAll
	if !g.Unified("memory") {
		want &^= cgroup.PartEventOthers | cgroup.PartEventGroup
	}
	absent := func(dir, file string, part cgroup.Part) {
		if _, err := os.Stat(filepath.Join(dir, file)); err != nil || dir == "" {
			want &^= part
		}
	}
	unified := h.Unified(g.Path())
	absent(unified, "cpu.pressure", cgroup.PartCPUPressure)
	absent(unified, "memory.pressure", cgroup.PartMemoryPressure)
	absent(unified, "io.pressure", cgroup.PartIOPressure)
	if g.Unified("memory") {
		dir := g.Dir("memory")
		absent(dir, "memory.peak", cgroup.PartMemoryPeak) // 5.19
		absent(dir, "memory.swap.current", cgroup.PartSwap)
		absent(dir, "memory.swap.max", cgroup.PartSwapLimit)
		if !strings.Contains(g.Read("memory", "memory.events"), "oom_group_kill") { // 5.17
			want &^= cgroup.PartEventGroup
		}
	}
	return want
}

// TestKernelEmptyCgroup: a cgroup that nobody ever used has all its parts, and
// every one says nothing.
func TestKernelEmptyCgroup(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	g, h := kernelHost(t, "empty")
	s := read(t, openReader(t, h, g), true)
	have := expectedParts(t, g, h)
	want := cgroup.Sample{Have: have, Known: have, Limits: cgroup.NoLimits()}
	want.Limits.CPUPeriod = 100 * time.Millisecond
	want.CPUPressure.HasFull = s.CPUPressure.HasFull // 5.13
	want.MemoryPressure.HasFull = have&cgroup.PartMemoryPressure != 0
	want.IOPressure.HasFull = have&cgroup.PartIOPressure != 0
	if want.Limits.Swap = cgroup.Unlimited; have&cgroup.PartSwapLimit == 0 {
		want.Limits.Swap = 0
	}
	// Memory that the kernel charged for the cgroup itself.
	want.Memory.Usage, want.Memory.Peak, want.Memory.Kernel = s.Memory.Usage, s.Memory.Peak, s.Memory.Kernel
	if s.Memory.Usage > 1<<20 {
		t.Errorf("an empty cgroup uses %d bytes", s.Memory.Usage)
	}
	if s.IO == nil {
		want.IO = nil
	} else {
		want.IO = []cgroup.DeviceIO{}
	}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	requireNoProblems(t, h)
}

func TestKernelLimits(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	g, h := kernelHost(t, "limits")
	if g.Unified("memory") {
		g.Write("memory", "memory.max", "67108864")
		g.Write("memory", "memory.swap.max", "33554432")
		g.Write("cpu", "cpu.max", "150000 200000")
	} else {
		g.Write("memory", "memory.limit_in_bytes", "67108864")
		g.Write("memory", "memory.memsw.limit_in_bytes", "100663296")
		g.Write("cpu", "cpu.cfs_period_us", "200000")
		g.Write("cpu", "cpu.cfs_quota_us", "150000")
	}
	g.Write("pids", "pids.max", "17")
	got := read(t, openReader(t, h, g), true).Limits
	want := cgroup.Limits{Memory: 64 << 20, Swap: 32 << 20, Pids: 17, CPUQuota: 150 * time.Millisecond, CPUPeriod: 200 * time.Millisecond}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// brackets is every counter that only grows, and where it stands.
func brackets() map[string]struct {
	of func(*cgroup.Sample) uint64
	at place
} {
	type bracket = struct {
		of func(*cgroup.Sample) uint64
		at place
	}
	stat := func(v1, v2 string) place {
		return place{control: "memory", v1: [2]string{"memory.stat", v1}, v2: [2]string{"memory.stat", v2}}
	}
	return map[string]bracket{
		"periods":   {func(s *cgroup.Sample) uint64 { return s.CPU.Periods }, place{control: "cpu", v1: [2]string{"cpu.stat", "nr_periods"}, v2: [2]string{"cpu.stat", "nr_periods"}}},
		"throttled": {func(s *cgroup.Sample) uint64 { return s.CPU.ThrottledPeriods }, place{control: "cpu", v1: [2]string{"cpu.stat", "nr_throttled"}, v2: [2]string{"cpu.stat", "nr_throttled"}}},
		"throttled time": {
			func(s *cgroup.Sample) uint64 { return uint64(s.CPU.ThrottledTime) },
			place{control: "cpu", v1: [2]string{"cpu.stat", "throttled_time"}, v2: [2]string{"cpu.stat", "throttled_usec"}, unit: 1000},
		},
		"peak":         {func(s *cgroup.Sample) uint64 { return s.Memory.Peak }, place{control: "memory", v1: [2]string{"memory.max_usage_in_bytes"}, v2: [2]string{"memory.peak"}}},
		"event max":    {func(s *cgroup.Sample) uint64 { return s.Events.Max }, place{control: "memory", v1: [2]string{"memory.failcnt"}, v2: [2]string{"memory.events", "max"}}},
		"faults":       {func(s *cgroup.Sample) uint64 { return s.Memory.Faults }, stat("total_pgfault", "pgfault")},
		"major faults": {func(s *cgroup.Sample) uint64 { return s.Memory.MajorFaults }, stat("total_pgmajfault", "pgmajfault")},
	}
}

// TestKernelCounters runs a process that burns CPU time against a quota, and
// files against a memory limit, and compares each counter with direct reads of
// the kernel's file before and after ours.
func TestKernelCounters(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	g, h := kernelHost(t, "counters")
	if g.Unified("memory") {
		g.Write("memory", "memory.max", "16777216")
		g.Write("cpu", "cpu.max", "20000 100000")
	} else {
		g.Write("memory", "memory.limit_in_bytes", "16777216")
		g.Write("cpu", "cpu.cfs_quota_us", "20000")
	}
	file := filepath.Join(t.TempDir(), "cached")
	testkit.Run(t, g, "sh", "-c", "dd if=/dev/zero of="+file+" bs=65536 count=400 2>/dev/null; while :; do :; done")
	r := openReader(t, h, g)
	testkit.Eventually(t, within, func() error { return checkBusy(read(t, r, true)) })

	before := map[string]uint64{}
	all := brackets()
	if expectedParts(t, g, h)&cgroup.PartMemoryPeak == 0 {
		delete(all, "peak")
	}
	for name, b := range all {
		before[name] = b.at.read(t, g)
	}
	usageBefore := cpuUsage(t, h, g)
	s := read(t, r, true)
	usageAfter := cpuUsage(t, h, g)
	for name, b := range all {
		got, after := b.of(&s), b.at.read(t, g)
		if got < before[name] || got > after {
			t.Errorf("%s: %d, not within the kernel's %d and %d", name, got, before[name], after)
		}
	}
	if s.CPU.Usage < usageBefore || s.CPU.Usage > usageAfter {
		t.Errorf("CPU time %v, not within the kernel's %v and %v", s.CPU.Usage, usageBefore, usageAfter)
	}
	// v2 rounds usage, user and system down each for itself.
	if rest := s.CPU.Usage - s.CPU.User - s.CPU.System; rest < -time.Microsecond || rest > 2*time.Microsecond {
		t.Errorf("%v of CPU time are %v user and %v system", s.CPU.Usage, s.CPU.User, s.CPU.System)
	}
	if s.Memory.Usage > 16<<20 || s.Memory.Peak > 16<<20 || s.Limits.CPUs() != 0.2 {
		t.Errorf("beyond the limits: %+v, %v CPUs", s.Memory, s.Limits.CPUs())
	}
	requireNoProblems(t, h)
}

// checkBusy waits until there is something to compare.
func checkBusy(s cgroup.Sample) error {
	switch {
	case s.CPU.User == 0 || s.CPU.System == 0 || s.CPU.ThrottledPeriods < 3:
		return fmt.Errorf("little CPU time: %+v", s.CPU)
	case s.Events.Max == 0:
		return fmt.Errorf("the memory limit was never met: %+v", s.Memory)
	case s.Memory.Faults == 0 || s.Memory.RSS == 0:
		return fmt.Errorf("little memory: %+v", s.Memory)
	case s.Has(cgroup.PartCPUPressure) && s.CPUPressure.Some.Total == 0:
		return fmt.Errorf("no CPU pressure: %+v", s.CPUPressure)
	}
	return nil
}

// cpuUsage is CPU time from where the sample has it.
func cpuUsage(t testing.TB, h *cgroup.Host, g *testkit.Group) time.Duration {
	t.Helper()
	if h.Unified(g.Path()) == "" {
		return time.Duration(number(t, g, "cpuacct", [2]string{"cpuacct.usage"}))
	}
	return time.Duration(number(t, g, "", [2]string{"cpu.stat", "usage_usec"})) * time.Microsecond
}

// TestKernelMemoryOfStoppedProcess compares gauges, which may move both ways,
// while nothing moves them.
func TestKernelMemoryOfStoppedProcess(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	g, h := kernelHost(t, "gauges")
	file := filepath.Join(t.TempDir(), "cached")
	testkit.Run(t, g, "sh", "-c", "dd if=/dev/zero of="+file+" bs=65536 count=32 2>/dev/null; exec sleep 1000")
	r := openReader(t, h, g)
	testkit.Eventually(t, within, func() error {
		if s := read(t, r, true); s.Pids != 1 || s.Memory.Cache < 2<<20 {
			return fmt.Errorf("not asleep yet: %d tasks, %+v", s.Pids, s.Memory)
		}
		return nil
	})
	places := map[string]struct {
		of func(*cgroup.Sample) uint64
		at place
	}{
		"usage": {func(s *cgroup.Sample) uint64 { return s.Memory.Usage }, place{control: "memory", v1: [2]string{"memory.usage_in_bytes"}, v2: [2]string{"memory.current"}}},
		"rss":   {func(s *cgroup.Sample) uint64 { return s.Memory.RSS }, place{control: "memory", v1: [2]string{"memory.stat", "total_rss"}, v2: [2]string{"memory.stat", "anon"}}},
		"cache": {func(s *cgroup.Sample) uint64 { return s.Memory.Cache }, place{control: "memory", v1: [2]string{"memory.stat", "total_cache"}, v2: [2]string{"memory.stat", "file"}}},
		"inactive file": {
			func(s *cgroup.Sample) uint64 { return s.Memory.InactiveFile },
			place{control: "memory", v1: [2]string{"memory.stat", "total_inactive_file"}, v2: [2]string{"memory.stat", "inactive_file"}},
		},
		"tasks": {func(s *cgroup.Sample) uint64 { return s.Pids }, place{control: "pids", v1: [2]string{"pids.current"}, v2: [2]string{"pids.current"}}},
	}
	for name, p := range places {
		// Per-CPU caches are written back now and then, even when all sleep.
		testkit.Eventually(t, within, func() error {
			before := p.at.read(t, g)
			s := read(t, r, true)
			if got, after := p.of(&s), p.at.read(t, g); got != before || got != after {
				return fmt.Errorf("%s: %d, the kernel's %d and %d", name, got, before, after)
			}
			return nil
		})
	}
}

// TestKernelPidsLimit: the tasks never pass the limit, and meet it.
func TestKernelPidsLimit(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	g, h := kernelHost(t, "pids")
	g.Write("pids", "pids.max", "4")
	testkit.Run(t, g, "sh", "-c", "for i in 1 2 3; do sleep 1000 & done; wait")
	r := openReader(t, h, g)
	testkit.Eventually(t, within, func() error {
		if s := read(t, r, true); s.Pids != 4 || s.Limits.Pids != 4 {
			return fmt.Errorf("%d tasks of %d", s.Pids, s.Limits.Pids)
		}
		return nil
	})
}

// TestKernelOOMKill: a process that needs more than its limit is killed, once.
func TestKernelOOMKill(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	g, h := kernelHost(t, "oom")
	if g.Unified("memory") {
		g.Write("memory", "memory.max", "8388608")
		g.Write("memory", "memory.swap.max", "0")
	} else {
		g.Write("memory", "memory.limit_in_bytes", "8388608")
		// More than the memory limit: v1 counts what the sum of memory and swap
		// stops in memory.memsw.failcnt, which is not read.
		g.Write("memory", "memory.memsw.limit_in_bytes", "16777216")
	}
	r := openReader(t, h, g)
	if s := read(t, r, true); s.Events.OOMKill != 0 {
		t.Errorf("%d kills before any", s.Events.OOMKill)
	}
	cmd := testkit.Run(t, g, "dd", "if=/dev/zero", "of=/dev/null", "bs=67108864", "count=1")
	if err := cmd.Wait(); err == nil {
		t.Error("the process outlived its limit")
	}
	s := read(t, r, false)
	if s.Events.OOMKill != 1 || s.Events.Max == 0 || s.Has(cgroup.PartEventOthers) && s.Events.OOM == 0 {
		t.Errorf("one kill is %+v", s.Events)
	}
}

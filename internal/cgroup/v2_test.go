package cgroup

import (
	"testing"
	"time"
)

func TestParseV2CPUTime(t *testing.T) {
	c := parseCheck{t, parseV2CPUTime}
	const base = "usage_usec 84290\nuser_usec 4436\nsystem_usec 79853\n"
	want := Sample{CPU: CPU{Usage: 84290 * time.Microsecond, User: 4436 * time.Microsecond, System: 79853 * time.Microsecond}}
	c.accept(base, Sample{}, want)
	c.accept(base+"nice_usec 0\n", Sample{}, want)                                                                                // 6.11
	c.accept(base+"core_sched.force_idle_usec 0\nnr_periods 1\n", Sample{}, want)                                                 // 6.0 and a controller
	c.accept(fixtureFile(t, "v2", "docker-"+containerID+".scope/cpu.stat"), Sample{}, want)                                       // all of it
	c.accept("usage_usec 9223372036854775\nuser_usec 0\nsystem_usec 0\n", Sample{}, Sample{CPU: CPU{Usage: 9223372036854775000}}) // the largest Duration
	c.refuse("usage_usec 84290\nuser_usec 4436\n", ErrMissingKey)
	c.refuse("usage_usec 84290\nuser_usec 4436\nsystem_usec 798", ErrTruncated)
	c.refuse("usage_usec 9223372036854776\nuser_usec 0\nsystem_usec 0\n", ErrMalformed)
	c.refuse("usage_usec 0\nuser_usec 9223372036854776\nsystem_usec 0\n", ErrMalformed)
	c.refuse("usage_usec 0\nuser_usec 0\nsystem_usec 18446744073709551615\n", ErrMalformed)
	c.refuse("", ErrMissingKey)
}

func TestParseV2Throttling(t *testing.T) {
	c := parseCheck{t, parseV2Throttling}
	const base = "usage_usec 84290\nuser_usec 4436\nsystem_usec 79853\n"
	c.accept(base+"nr_periods 15\nnr_throttled 12\nthrottled_usec 553021\nnr_bursts 0\nburst_usec 0\n", Sample{},
		Sample{CPU: CPU{Periods: 15, ThrottledPeriods: 12, ThrottledTime: 553021 * time.Microsecond}})
	c.accept("nr_periods 1\nnr_throttled 2\nthrottled_usec 0\n", Sample{}, Sample{CPU: CPU{Periods: 1, ThrottledPeriods: 1}})
	c.refuse(base, ErrMissingKey)
	c.refuse("nr_periods 1\nnr_throttled 2\nthrottled_time 0\n", ErrMissingKey) // that is v1
	c.refuse("nr_periods 1\nnr_throttled 1\nthrottled_usec 9223372036854776\n", ErrMalformed)
}

func TestParseV2Events(t *testing.T) {
	c := parseCheck{t, parseV2Events}
	c.accept("low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\n", Sample{}, Sample{Events: Events{1, 2, 3, 4, 5, 6}})
	c.accept("low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\nsock_throttled 7\n", Sample{}, Sample{Events: Events{1, 2, 3, 4, 5, 6}})
	c.accept("low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\n", Sample{}, Sample{Events: Events{1, 2, 3, 4, 5, 0}})
	c.refuse("low 1\nhigh 2\nmax 3\noom 4\n", ErrMissingKey)
	c.refuse("low 1\nhigh 2\nmax 3\noom 4\noom_kill 5", ErrTruncated)
	c.refuse("low 1\nhigh 2\nmax x\noom 4\noom_kill 5\n", ErrMalformed)
}

func TestParseV2MemoryStat(t *testing.T) {
	c := parseCheck{t, parseV2MemoryStat}
	want := Memory{RSS: 29118464, Cache: 34529280, InactiveFile: 32624640, Kernel: 1417216, Faults: 9294, MajorFaults: 5}
	text := fixtureFile(t, "v2", "docker-"+containerID+".scope/memory.stat")
	c.accept(text, Sample{}, Sample{Memory: want})
	c.accept(text, Sample{Memory: Memory{Usage: 1, Peak: 2, Swap: 3}}, Sample{Memory: Memory{
		Usage: 1, Peak: 2, Swap: 3, RSS: 29118464, Cache: 34529280, InactiveFile: 32624640, Kernel: 1417216, Faults: 9294, MajorFaults: 5,
	}})
	// 5.10: no "kernel", no "pagetables"; its parts are added up.
	const old = "anon 1\nfile 2\nkernel_stack 10\npercpu 20\nsock 0\ninactive_file 3\nslab_reclaimable 30\nslab_unreclaimable 10\nslab 40\npgfault 5\npgmajfault 4\n"
	c.accept(old, Sample{Memory: Memory{Kernel: 999}}, Sample{Memory: Memory{RSS: 1, Cache: 2, InactiveFile: 3, Kernel: 70, Faults: 5, MajorFaults: 4}})
	// 4.5: neither "percpu".
	c.accept("anon 1\nfile 2\nkernel_stack 10\nslab 40\ninactive_file 3\npgfault 5\npgmajfault 4\n", Sample{},
		Sample{Memory: Memory{RSS: 1, Cache: 2, InactiveFile: 3, Kernel: 50, Faults: 5, MajorFaults: 4}})
	// A kernel that uses no memory is not a kernel that does not say.
	c.accept("anon 1\nfile 2\nkernel 0\nkernel_stack 10\ninactive_file 3\nslab 40\npgfault 5\npgmajfault 4\n", Sample{},
		Sample{Memory: Memory{RSS: 1, Cache: 2, InactiveFile: 3, Faults: 5, MajorFaults: 4}})
	c.refuse(text[:len(text)-1], ErrTruncated)
	c.refuse("anon 1\nfile 2\n", ErrMissingKey)
	c.refuse("anon 1\nfile -2\ninactive_file 3\npgfault 5\npgmajfault 4\n", ErrMalformed)
	c.refuse("anon 1\nfile 2\nslab 3.5\ninactive_file 3\npgfault 5\npgmajfault 4\n", ErrMalformed) // optional, yet wrong
	c.refuse("", ErrMissingKey)
}

func TestParseCPUMax(t *testing.T) {
	c := parseCheck{t, parseCPUMax}
	quota := func(q, p time.Duration) Sample { return Sample{Limits: Limits{CPUQuota: q, CPUPeriod: p}} }
	c.accept("150000 100000\n", Sample{}, quota(150*time.Millisecond, 100*time.Millisecond))
	c.accept("max 100000\n", quota(7, 8), quota(0, 100*time.Millisecond))
	c.accept("1000 1000000\n", Sample{}, quota(time.Millisecond, time.Second))
	c.refuse("", ErrTruncated)
	c.refuse("max 1000", ErrTruncated)
	c.refuse("max\n", ErrMalformed)
	c.refuse("max \n", ErrMalformed)
	c.refuse("max 0\n", ErrMalformed)
	c.refuse("max max\n", ErrMalformed)
	c.refuse("0 100000\n", ErrMalformed) // 0 would say "no limit"
	c.refuse("-1 100000\n", ErrMalformed)
	c.refuse("150000 100000 1\n", ErrMalformed)
	c.refuse("150000 100000\nmax 100000\n", ErrMalformed)
	c.refuse("9223372036854776 100000\n", ErrMalformed)
}

func TestLimits(t *testing.T) {
	cpus := func(q, p time.Duration, want float64) {
		t.Helper()
		if got := (Limits{CPUQuota: q, CPUPeriod: p}).CPUs(); got != want {
			t.Errorf("CPUs of %v per %v = %v, want %v", q, p, got, want)
		}
	}
	cpus(150*time.Millisecond, 100*time.Millisecond, 1.5)
	cpus(0, 100*time.Millisecond, 0)
	cpus(100*time.Millisecond, 0, 0)

	lowest := func(a, b, want Limits) {
		t.Helper()
		if got := a.Lowest(b); got != want {
			t.Errorf("%+v.Lowest(%+v) = %+v, want %+v", a, b, got, want)
		}
	}
	one := Limits{Memory: 5, Swap: Unlimited, Pids: 7, CPUQuota: 2, CPUPeriod: 1}
	lowest(one, NoLimits(), one)
	lowest(NoLimits(), one, one)
	lowest(one, Limits{Memory: 6, Swap: 1, Pids: 6, CPUQuota: 3, CPUPeriod: 2}, Limits{Memory: 5, Swap: 1, Pids: 6, CPUQuota: 3, CPUPeriod: 2})
	lowest(one, Limits{Memory: 6, Swap: 1, Pids: 6, CPUQuota: 3, CPUPeriod: 1}, Limits{Memory: 5, Swap: 1, Pids: 6, CPUQuota: 2, CPUPeriod: 1})
}

func TestDerivedMemory(t *testing.T) {
	f := func(s Sample, workingSet, minor uint64) {
		t.Helper()
		if got := s.WorkingSet(); got != workingSet {
			t.Errorf("WorkingSet of %+v = %d, want %d", s.Memory, got, workingSet)
		}
		if got := s.Memory.MinorFaults(); got != minor {
			t.Errorf("MinorFaults of %+v = %d, want %d", s.Memory, got, minor)
		}
	}
	f(Sample{Memory: Memory{Usage: 100, InactiveFile: 30, Faults: 9, MajorFaults: 2}}, 70, 7)
	f(Sample{Memory: Memory{Usage: 30, InactiveFile: 100, Faults: 2, MajorFaults: 9}}, 0, 0) // read at two moments
}

package cgroup

import (
	"bytes"
	"time"
)

// v1Sources lists the files of the v1 controllers. On hybrid hosts the table
// of v2.go comes first and delivers CPU time and pressure.
func v1Sources() []from {
	return []from{
		{"cpuacct", source{file: "cpuacct.usage", part: PartCPUTime, fallback: true, first: true, parse: parseV1Usage}},
		{"cpuacct", source{file: "cpuacct.stat", part: PartCPUTime, fallback: true, second: true, parse: parseV1Split}},
		{"cpu", source{file: "cpu.stat", part: PartThrottling, parse: parseV1Throttling}},
		{"memory", source{file: "memory.usage_in_bytes", part: PartMemory, parse: valueInto(func(s *Sample) *uint64 { return &s.Memory.Usage })}},
		{"memory", source{file: "memory.max_usage_in_bytes", part: PartMemoryPeak, parse: valueInto(func(s *Sample) *uint64 { return &s.Memory.Peak })}},
		{"memory", source{file: "memory.failcnt", part: PartEventMax, parse: valueInto(func(s *Sample) *uint64 { return &s.Events.Max })}},
		{"memory", source{file: "memory.oom_control", part: PartEventOOMKill, parse: parseOOMControl}},
		{"blkio", source{file: "blkio.throttle.io_service_bytes_recursive", part: PartIOBytes, parse: parseV1IOBytes}},
		{"blkio", source{file: "blkio.throttle.io_serviced_recursive", part: PartIOOperations, parse: parseV1IOOperations}},
		{"pids", source{file: "pids.current", part: PartPids, parse: valueInto(func(s *Sample) *uint64 { return &s.Pids })}},

		{"memory", source{file: "memory.stat", part: PartMemoryStat | PartSwap, optional: PartSwap, mark: []byte("\ntotal_swap "), slow: true, parse: parseV1MemoryStat}},
		{"memory", source{file: "memory.kmem.usage_in_bytes", part: PartKernelMemory, slow: true, parse: valueInto(func(s *Sample) *uint64 { return &s.Memory.Kernel })}},
		{"memory", source{file: "memory.limit_in_bytes", part: PartMemoryLimit, slow: true, parse: parseV1MemoryLimit}},
		{"memory", source{file: "memory.memsw.limit_in_bytes", part: PartSwapLimit, slow: true, second: true, parse: parseV1SwapLimit}},
		{"cpu", source{file: "cpu.cfs_period_us", part: PartCPULimit, slow: true, first: true, parse: parseV1Period}},
		{"cpu", source{file: "cpu.cfs_quota_us", part: PartCPULimit, slow: true, second: true, parse: parseV1Quota}},
		{"pids", source{file: "pids.max", part: PartPidsLimit, slow: true, parse: limitInto(func(s *Sample) *uint64 { return &s.Limits.Pids })}},
	}
}

// parseV1Usage reads cpuacct.usage, in nanoseconds; [parseV1Split] follows.
func parseV1Usage(b []byte, s *Sample) error {
	v, err := parseValue(b)
	if err != nil {
		return err
	}
	t, ok := scaled(v, time.Nanosecond, true)
	if !ok {
		return malformed("cpuacct.usage", b)
	}
	s.CPU.Usage = t
	return nil
}

// parseV1Split divides the precise usage in the proportion of the ticks in
// cpuacct.stat ("user 12\nsystem 34\n"), and keeps both parts from going
// back, as the kernel does for v2 (cputime_adjust in kernel/sched/cputime.c).
func parseV1Split(b []byte, s *Sample) error {
	var user, system uint64
	if err := parseKeyed(b, []field{{key: "user", dst: &user}, {key: "system", dst: &system}}); err != nil {
		return err
	}
	c := &s.CPU
	if c.Usage <= c.User+c.System {
		c.Usage = c.User + c.System
		return nil
	}
	part := c.Usage
	if user+system > 0 {
		part = time.Duration(float64(c.Usage) * (float64(user) / float64(user+system)))
	}
	part = max(part, c.User)
	part = min(part, c.Usage-c.System)
	c.User, c.System = part, c.Usage-part
	return nil
}

// parseV1Throttling reads cpu.stat of the cpu controller, in nanoseconds. For
// the lower of the two counts see [parseV2Throttling].
func parseV1Throttling(b []byte, s *Sample) error {
	var periods, throttled, nsec uint64
	err := parseKeyed(b, []field{{key: "nr_periods", dst: &periods}, {key: "nr_throttled", dst: &throttled}, {key: "throttled_time", dst: &nsec}})
	if err != nil {
		return err
	}
	t, ok := scaled(nsec, time.Nanosecond, true)
	if !ok {
		return malformed("throttling", b)
	}
	s.CPU.Periods, s.CPU.ThrottledPeriods, s.CPU.ThrottledTime = periods, min(throttled, periods), t
	return nil
}

// parseOOMControl reads memory.oom_control; oom_kill came with 4.13.
func parseOOMControl(b []byte, s *Sample) error {
	var kills uint64
	if err := parseKeyed(b, []field{{key: "oom_kill", dst: &kills}}); err != nil {
		return err
	}
	s.Events.OOMKill = kills
	return nil
}

func parseV1IOBytes(b []byte, s *Sample) (err error) {
	s.IO, err = parseBlkio(b, s.IO[:0], blkioBytes)
	return err
}

func parseV1IOOperations(b []byte, s *Sample) (err error) {
	if s.Have&PartIOBytes == 0 {
		s.IO = s.IO[:0] // devices of an earlier pass, or of half a file
	}
	n := len(s.IO)
	s.IO, err = parseBlkio(b, s.IO, blkioOperations)
	if err != nil {
		s.IO = s.IO[:n] // bytes of a device that only this file had are not known
	}
	return err
}

// parseV1MemoryStat reads the hierarchical lines of memory.stat. Swap is
// taken from here and not from memsw less usage: those are two reads at two
// moments. Without swap accounting there is no total_swap, and its part is
// left out: the cgroup may well have swapped.
func parseV1MemoryStat(b []byte, s *Sample) error {
	m := s.Memory
	m.Swap = 0
	err := parseKeyed(b, []field{
		{key: "total_cache", dst: &m.Cache}, {key: "total_rss", dst: &m.RSS},
		{key: "total_swap", dst: &m.Swap, optional: true},
		{key: "total_pgfault", dst: &m.Faults}, {key: "total_pgmajfault", dst: &m.MajorFaults},
		{key: "total_inactive_file", dst: &m.InactiveFile},
	})
	if err != nil {
		return err
	}
	s.Memory = m
	return nil
}

// v1NoLimit is the smallest v1 value that means "no limit": the kernel shows
// PAGE_COUNTER_MAX pages, 2^63-1 rounded down to a page (64 KiB at most).
const v1NoLimit = 1<<63 - 1<<16

func parseV1Limit(b []byte) (uint64, error) {
	v, err := parseValue(b)
	if err == nil && v >= v1NoLimit {
		return Unlimited, nil
	}
	return v, err
}

func parseV1MemoryLimit(b []byte, s *Sample) error {
	v, err := parseV1Limit(b)
	if err != nil {
		return err
	}
	s.Limits.Memory = v
	return nil
}

// parseV1SwapLimit turns the limit of memory and swap together into one of
// swap alone. It needs the memory limit, which the table reads before.
func parseV1SwapLimit(b []byte, s *Sample) error {
	v, err := parseV1Limit(b)
	if err != nil {
		return err
	}
	switch {
	case v == Unlimited || s.Limits.Memory == Unlimited:
		s.Limits.Swap = Unlimited
	case v < s.Limits.Memory:
		s.Limits.Swap = 0
	default:
		s.Limits.Swap = v - s.Limits.Memory
	}
	return nil
}

func parseV1Period(b []byte, s *Sample) error {
	v, err := parseValue(b)
	if err != nil {
		return err
	}
	p, ok := scaled(v, time.Microsecond, true)
	if !ok || p == 0 {
		return malformed("cpu.cfs_period_us", b)
	}
	s.Limits.CPUPeriod = p
	return nil
}

// parseV1Quota reads cpu.cfs_quota_us, where -1 means no limit.
func parseV1Quota(b []byte, s *Sample) error {
	if bytes.Equal(b, noQuota) {
		s.Limits.CPUQuota = 0
		return nil
	}
	v, err := parseValue(b)
	if err != nil {
		return err
	}
	q, ok := scaled(v, time.Microsecond, true)
	if !ok || q == 0 {
		return malformed("cpu.cfs_quota_us", b)
	}
	s.Limits.CPUQuota = q
	return nil
}

var noQuota = []byte("-1\n")

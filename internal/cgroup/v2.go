package cgroup

import (
	"bytes"
	"fmt"
	"time"
)

// v2Sources lists the files of the unified hierarchy. cpu.stat and the
// pressure files are there without any controller (cgroup_base_files in
// kernel/cgroup/cgroup.c), so hybrid hosts have them too.
func v2Sources() []from {
	return []from{
		{"", source{file: "cpu.stat", part: PartCPUTime | PartThrottling, optional: PartThrottling, mark: nrThrottled, parse: parseV2CPU}},
		{"memory", source{file: "memory.current", part: PartMemory, parse: valueInto(func(s *Sample) *uint64 { return &s.Memory.Usage })}},
		{"memory", source{file: "memory.peak", part: PartMemoryPeak, parse: valueInto(func(s *Sample) *uint64 { return &s.Memory.Peak })}},
		{"memory", source{file: "memory.swap.current", part: PartSwap, parse: valueInto(func(s *Sample) *uint64 { return &s.Memory.Swap })}},
		{"memory", source{file: "memory.events", part: PartsEvents, optional: PartEventGroup, mark: []byte("\noom_group_kill "), parse: parseV2Events}},
		{"io", source{file: "io.stat", part: PartIOBytes | PartIOOperations, parse: parseV2IO}},
		{"pids", source{file: "pids.current", part: PartPids, parse: valueInto(func(s *Sample) *uint64 { return &s.Pids })}},
		{"", source{file: "cpu.pressure", part: PartCPUPressure, parse: pressureInto(func(s *Sample) *Pressure { return &s.CPUPressure })}},
		{"", source{file: "memory.pressure", part: PartMemoryPressure, parse: pressureInto(func(s *Sample) *Pressure { return &s.MemoryPressure })}},
		{"", source{file: "io.pressure", part: PartIOPressure, parse: pressureInto(func(s *Sample) *Pressure { return &s.IOPressure })}},

		{"memory", source{file: "memory.stat", part: PartMemoryStat | PartKernelMemory, slow: true, parse: parseV2MemoryStat}},
		{"memory", source{file: "memory.max", part: PartMemoryLimit, slow: true, parse: limitInto(func(s *Sample) *uint64 { return &s.Limits.Memory })}},
		{"memory", source{file: "memory.swap.max", part: PartSwapLimit, slow: true, parse: limitInto(func(s *Sample) *uint64 { return &s.Limits.Swap })}},
		{"cpu", source{file: "cpu.max", part: PartCPULimit, slow: true, parse: parseCPUMax}},
		{"pids", source{file: "pids.max", part: PartPidsLimit, slow: true, parse: limitInto(func(s *Sample) *uint64 { return &s.Limits.Pids })}},
	}
}

func valueInto(dst func(*Sample) *uint64) func([]byte, *Sample) error {
	return func(b []byte, s *Sample) error {
		v, err := parseValue(b)
		if err != nil {
			return err
		}
		*dst(s) = v
		return nil
	}
}

func limitInto(dst func(*Sample) *uint64) func([]byte, *Sample) error {
	return func(b []byte, s *Sample) error {
		v, err := parseLimit(b)
		if err != nil {
			return err
		}
		*dst(s) = v
		return nil
	}
}

func pressureInto(dst func(*Sample) *Pressure) func([]byte, *Sample) error {
	return func(b []byte, s *Sample) error {
		p, err := parsePressure(b)
		if err != nil {
			return err
		}
		*dst(s) = p
		return nil
	}
}

// parseV2CPU reads cpu.stat: the times, and where the cpu controller is on
// what it adds.
func parseV2CPU(b []byte, s *Sample) error {
	if err := parseV2CPUTime(b, s); err != nil {
		return err
	}
	if !bytes.Contains(b, nrThrottled) {
		return nil
	}
	return parseV2Throttling(b, s)
}

var nrThrottled = []byte("\nnr_throttled ")

// parseV2CPUTime reads the first lines of cpu.stat:
//
//	usage_usec 84290
//	user_usec 4436
//	system_usec 79853
func parseV2CPUTime(b []byte, s *Sample) error {
	var usage, user, system uint64
	err := parseKeyed(b, []field{{key: "usage_usec", dst: &usage}, {key: "user_usec", dst: &user}, {key: "system_usec", dst: &system}})
	if err != nil {
		return err
	}
	u, ok := scaled(usage, time.Microsecond, true)
	us, ok2 := scaled(user, time.Microsecond, true)
	sy, ok3 := scaled(system, time.Microsecond, true)
	if !ok || !ok2 || !ok3 {
		return malformed("times", b)
	}
	s.CPU.Usage, s.CPU.User, s.CPU.System = u, us, sy
	return nil
}

// parseV2Throttling reads the lines that the cpu controller adds to cpu.stat.
// The kernel prints the two counts without a lock: a cgroup throttled in every
// period may show one throttled period more than periods.
func parseV2Throttling(b []byte, s *Sample) error {
	var periods, throttled, usec uint64
	err := parseKeyed(b, []field{{key: "nr_periods", dst: &periods}, {key: "nr_throttled", dst: &throttled}, {key: "throttled_usec", dst: &usec}})
	if err != nil {
		return err
	}
	t, ok := scaled(usec, time.Microsecond, true)
	if !ok {
		return malformed("throttling", b)
	}
	s.CPU.Periods, s.CPU.ThrottledPeriods, s.CPU.ThrottledTime = periods, min(throttled, periods), t
	return nil
}

// parseV2Events reads memory.events; oom_group_kill came with 5.17, and its
// part is left out where it is not there.
func parseV2Events(b []byte, s *Sample) error {
	var e Events
	err := parseKeyed(b, []field{
		{key: "low", dst: &e.Low}, {key: "high", dst: &e.High}, {key: "max", dst: &e.Max},
		{key: "oom", dst: &e.OOM}, {key: "oom_kill", dst: &e.OOMKill},
		{key: "oom_group_kill", dst: &e.OOMGroupKill, optional: true},
	})
	if err != nil {
		return err
	}
	s.Events = e
	return nil
}

func parseV2IO(b []byte, s *Sample) (err error) {
	s.IO, err = parseIOStat(b, s.IO)
	return err
}

// parseV2MemoryStat reads memory.stat, in bytes and events. "kernel" came
// with 5.18; before, its main parts are added up.
func parseV2MemoryStat(b []byte, s *Sample) error {
	m := s.Memory
	var kernel, stack, tables, percpu, slab uint64
	fields := []field{
		{key: "anon", dst: &m.RSS}, {key: "file", dst: &m.Cache},
		{key: "kernel", dst: &kernel, optional: true},
		{key: "kernel_stack", dst: &stack, optional: true},
		{key: "pagetables", dst: &tables, optional: true},
		{key: "percpu", dst: &percpu, optional: true},
		{key: "inactive_file", dst: &m.InactiveFile},
		{key: "slab", dst: &slab, optional: true},
		{key: "pgfault", dst: &m.Faults}, {key: "pgmajfault", dst: &m.MajorFaults},
	}
	if err := parseKeyed(b, fields); err != nil {
		return err
	}
	m.Kernel = kernel
	if !fields[2].seen {
		m.Kernel = stack + tables + percpu + slab
	}
	s.Memory = m
	return nil
}

// parseCPUMax reads "$MAX $PERIOD" in microseconds; MAX may be "max".
func parseCPUMax(b []byte, s *Sample) error {
	line, rest, ok := cutLine(b)
	if !ok {
		return fmt.Errorf("cpu.max %q: %w", clip(b), ErrTruncated)
	}
	quota, period := cutWord(line)
	p, ok := parseMicroseconds(period)
	if !ok || p == 0 || len(rest) > 0 {
		return malformed("cpu.max", b)
	}
	if string(quota) == "max" {
		s.Limits.CPUQuota, s.Limits.CPUPeriod = 0, p
		return nil
	}
	q, ok := parseMicroseconds(quota)
	if !ok || q == 0 {
		return malformed("cpu.max", b)
	}
	s.Limits.CPUQuota, s.Limits.CPUPeriod = q, p
	return nil
}

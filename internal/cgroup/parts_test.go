package cgroup_test

import "github.com/tallymanhq/tallyman/internal/cgroup"

// only is the sample with the fields of the given parts and nothing else. It
// is written out, apart from the code under test, so that a part that fills a
// field of another shows.
func only(s cgroup.Sample, p cgroup.Part) cgroup.Sample {
	var o cgroup.Sample
	has := func(part cgroup.Part) bool { return p&part != 0 }
	if has(cgroup.PartCPUTime) {
		o.CPU.Usage, o.CPU.User, o.CPU.System = s.CPU.Usage, s.CPU.User, s.CPU.System
	}
	if has(cgroup.PartThrottling) {
		o.CPU.Periods, o.CPU.ThrottledPeriods, o.CPU.ThrottledTime = s.CPU.Periods, s.CPU.ThrottledPeriods, s.CPU.ThrottledTime
	}
	if has(cgroup.PartPids) {
		o.Pids = s.Pids
	}
	if has(cgroup.PartCPUPressure) {
		o.CPUPressure = s.CPUPressure
	}
	if has(cgroup.PartMemoryPressure) {
		o.MemoryPressure = s.MemoryPressure
	}
	if has(cgroup.PartIOPressure) {
		o.IOPressure = s.IOPressure
	}
	o.Memory = onlyMemory(s.Memory, p)
	o.Events = onlyEvents(s.Events, p)
	o.IO = onlyIO(s.IO, p)
	o.Limits = onlyLimits(s.Limits, p)
	return o
}

func onlyMemory(m cgroup.Memory, p cgroup.Part) cgroup.Memory {
	var o cgroup.Memory
	if p&cgroup.PartMemory != 0 {
		o.Usage = m.Usage
	}
	if p&cgroup.PartMemoryPeak != 0 {
		o.Peak = m.Peak
	}
	if p&cgroup.PartMemoryStat != 0 {
		o.RSS, o.Cache, o.InactiveFile, o.Faults, o.MajorFaults = m.RSS, m.Cache, m.InactiveFile, m.Faults, m.MajorFaults
	}
	if p&cgroup.PartKernelMemory != 0 {
		o.Kernel = m.Kernel
	}
	if p&cgroup.PartSwap != 0 {
		o.Swap = m.Swap
	}
	return o
}

func onlyEvents(e cgroup.Events, p cgroup.Part) cgroup.Events {
	var o cgroup.Events
	if p&cgroup.PartEventMax != 0 {
		o.Max = e.Max
	}
	if p&cgroup.PartEventOOMKill != 0 {
		o.OOMKill = e.OOMKill
	}
	if p&cgroup.PartEventOthers != 0 {
		o.Low, o.High, o.OOM = e.Low, e.High, e.OOM
	}
	if p&cgroup.PartEventGroup != 0 {
		o.OOMGroupKill = e.OOMGroupKill
	}
	return o
}

func onlyIO(io []cgroup.DeviceIO, p cgroup.Part) []cgroup.DeviceIO {
	var o []cgroup.DeviceIO
	if p&(cgroup.PartIOBytes|cgroup.PartIOOperations) == 0 {
		return nil
	}
	for _, d := range io {
		if p&cgroup.PartIOBytes == 0 {
			d.ReadBytes, d.WriteBytes = 0, 0
		}
		if p&cgroup.PartIOOperations == 0 {
			d.Reads, d.Writes = 0, 0
		}
		o = append(o, d)
	}
	return o
}

func onlyLimits(l cgroup.Limits, p cgroup.Part) cgroup.Limits {
	var o cgroup.Limits
	if p&cgroup.PartMemoryLimit != 0 {
		o.Memory = l.Memory
	}
	if p&cgroup.PartSwapLimit != 0 {
		o.Swap = l.Swap
	}
	if p&cgroup.PartPidsLimit != 0 {
		o.Pids = l.Pids
	}
	if p&cgroup.PartCPULimit != 0 {
		o.CPUQuota, o.CPUPeriod = l.CPUQuota, l.CPUPeriod
	}
	return o
}

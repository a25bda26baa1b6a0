package cgroup

import (
	"math"
	"time"
)

// Unlimited is the value of a limit that is not set.
const Unlimited uint64 = math.MaxUint64

// Part is a set of the things a [Sample] can hold.
type Part uint32

// The parts of a sample. Each is filled from one file, or from a few that
// belong together.
const (
	PartCPUTime        Part = 1 << iota // Sample.CPU.{Usage,User,System}
	PartThrottling                      // Sample.CPU.{Periods,ThrottledPeriods,ThrottledTime}
	PartMemory                          // Sample.Memory.Usage
	PartMemoryPeak                      // Sample.Memory.Peak
	PartMemoryStat                      // Sample.Memory.{RSS,Cache,InactiveFile,Faults,MajorFaults}
	PartKernelMemory                    // Sample.Memory.Kernel
	PartSwap                            // Sample.Memory.Swap
	PartEventMax                        // Sample.Events.Max
	PartEventOOMKill                    // Sample.Events.OOMKill
	PartEventOthers                     // Sample.Events.{Low,High,OOM}
	PartEventGroup                      // Sample.Events.OOMGroupKill
	PartIOBytes                         // Sample.IO[].{ReadBytes,WriteBytes}
	PartIOOperations                    // Sample.IO[].{Reads,Writes}
	PartPids                            // Sample.Pids
	PartCPUPressure                     // Sample.CPUPressure
	PartMemoryPressure                  // Sample.MemoryPressure
	PartIOPressure                      // Sample.IOPressure
	PartMemoryLimit                     // Sample.Limits.Memory
	PartSwapLimit                       // Sample.Limits.Swap
	PartCPULimit                        // Sample.Limits.{CPUQuota,CPUPeriod}
	PartPidsLimit                       // Sample.Limits.Pids
	partEnd
)

// PartsAll is every part, PartsLimits the limits, PartsEvents the memory
// events.
const (
	PartsAll    = partEnd - 1
	PartsLimits = PartMemoryLimit | PartSwapLimit | PartCPULimit | PartPidsLimit
	PartsEvents = PartEventMax | PartEventOOMKill | PartEventOthers | PartEventGroup
)

// Sample is what the kernel said about one cgroup. Only the fields of the
// parts in Have are meaningful; the others keep what an earlier Read of the
// same Sample left there.
type Sample struct {
	// Have says which parts were read, now or (for the slow ones) not long
	// ago. Known is every part ever read into this sample.
	Have, Known Part

	CPU            CPU
	Memory         Memory
	Events         Events
	IO             []DeviceIO
	Pids           uint64 // tasks, threads included
	CPUPressure    Pressure
	MemoryPressure Pressure
	IOPressure     Pressure
	Limits         Limits
}

// Has reports whether all of the given parts are in the sample.
func (s *Sample) Has(p Part) bool { return s.Have&p == p }

// WorkingSet is the memory that the kernel cannot reclaim at once, in bytes:
// usage less inactive file pages. Needs PartMemory and PartMemoryStat.
func (s *Sample) WorkingSet() uint64 {
	if s.Memory.InactiveFile > s.Memory.Usage {
		return 0
	}
	return s.Memory.Usage - s.Memory.InactiveFile
}

// CPU is consumed processor time since the cgroup was made, and what the
// bandwidth controller did.
type CPU struct {
	Usage, User, System       time.Duration
	Periods, ThrottledPeriods uint64
	ThrottledTime             time.Duration
}

// Memory is in bytes; Faults and MajorFaults count since the cgroup was made.
type Memory struct {
	Usage, Peak                       uint64
	RSS, Cache, InactiveFile          uint64
	Kernel, Swap, Faults, MajorFaults uint64
}

// MinorFaults is the number of faults that needed no IO.
func (m *Memory) MinorFaults() uint64 {
	if m.MajorFaults > m.Faults {
		return 0
	}
	return m.Faults - m.MajorFaults
}

// Events counts memory events; see memory.events in the kernel's cgroup-v2
// document. On v1 Max is memory.failcnt. Counted for the cgroup and all its
// descendants unless [Host.LocalEvents] says otherwise.
type Events struct {
	Low, High, Max, OOM, OOMKill, OOMGroupKill uint64
}

// DeviceIO is one block device's traffic since the cgroup was made.
type DeviceIO struct {
	Major, Minor          uint32
	ReadBytes, WriteBytes uint64
	Reads, Writes         uint64
}

// Pressure is one resource's stall information. HasFull is false where the
// kernel has no "full" line (cpu.pressure before 5.13).
type Pressure struct {
	Some, Full Stall
	HasFull    bool
}

// Stall is one line of a pressure file. The averages are fractions of wall
// time (0 to 1) over 10, 60 and 300 seconds.
type Stall struct {
	Total                time.Duration
	Avg10, Avg60, Avg300 float64
}

// Limits are the cgroup's own limits: bytes, tasks, and CPU time CPUQuota per
// CPUPeriod. Unset ones are [Unlimited]; an unset quota is 0. Swap is swap
// alone, also on v1, where the kernel limits memory and swap together.
type Limits struct {
	Memory, Swap, Pids  uint64
	CPUQuota, CPUPeriod time.Duration
}

// NoLimits is the identity of [Limits.Lowest].
func NoLimits() Limits {
	return Limits{Memory: Unlimited, Swap: Unlimited, Pids: Unlimited}
}

// CPUs is the CPU limit as a number of processors; 0 means no limit.
func (l Limits) CPUs() float64 {
	if l.CPUQuota <= 0 || l.CPUPeriod <= 0 {
		return 0
	}
	return float64(l.CPUQuota) / float64(l.CPUPeriod)
}

// Lowest is the effective limit of a cgroup below another: per resource the
// lower of the two.
func (l Limits) Lowest(o Limits) Limits {
	l.Memory = min(l.Memory, o.Memory)
	l.Swap = min(l.Swap, o.Swap)
	l.Pids = min(l.Pids, o.Pids)
	if c := o.CPUs(); c > 0 && (l.CPUs() == 0 || c < l.CPUs()) {
		l.CPUQuota, l.CPUPeriod = o.CPUQuota, o.CPUPeriod
	}
	return l
}

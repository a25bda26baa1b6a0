package procstream

import (
	"bytes"
	"fmt"
	"syscall"
	"time"
	"unsafe"
)

// EventKind says what happened.
type EventKind uint8

// The kinds. Of a process: forked, replaced its program, ended, was chosen by
// the OOM killer (its end follows), was moved to another cgroup. Of a cgroup:
// made, removed.
const (
	Forked        = EventKind(processKindFORK)
	Executed      = EventKind(processKindEXEC)
	Exited        = EventKind(processKindEXIT)
	OOMKilled     = EventKind(processKindOOM)
	CgroupMade    = EventKind(processKindMKDIR)
	CgroupRemoved = EventKind(processKindRMDIR)
	Moved         = EventKind(processKindATTACH)
)

// Event is one thing that happened. It, and what its slices hold, is valid
// only while it is handled.
type Event struct {
	Kind EventKind
	// SinceBoot is when, on CLOCK_BOOTTIME.
	SinceBoot time.Duration
	// Process is set for the kinds that are about one.
	Process ProcessEvent
	// Cgroup is set for CgroupMade and CgroupRemoved.
	Cgroup CgroupEvent
}

// ProcessEvent is a process as it was at the event.
type ProcessEvent struct {
	// PID and PPID are as the first pid namespace of the host numbers them;
	// VPID as the process' own does, Level of nesting deep.
	PID, PPID, VPID, Level int
	// Start identifies the process together with PID, as in [Stat]. Of an
	// OOMKilled before Linux 6.8 only PID is known.
	Start uint64
	// Unified and Memory are the ids of its cgroups in the unified hierarchy
	// and in the memory controller's; 0 if there is none.
	Unified, Memory uint64
	// Comm is the command name (of one that was executed as /proc/self/exe, as
	// busybox does with its applets, its first argument), Leaf the name of the Memory (else Unified)
	// cgroup's directory, Program the path given to execve(2), of Executed
	// only, cut at 127 bytes.
	Comm, Leaf, Program []byte
	// Exit is set for Exited.
	Exit Exit
}

// Exit is how a process ended.
type Exit struct {
	// Status is as wait(2) gives it.
	Status syscall.WaitStatus
	// OOM: the OOM killer chose it.
	OOM bool
	// CPUTime is of all its threads, as far as the scheduler has accounted for
	// it: what was spent since the last tick (10 ms at most) or switch is not in
	// it, so that of a process of a millisecond it may be 0. MaxRSS is the most memory that was
	// resident, in bytes.
	CPUTime time.Duration
	MaxRSS  uint64
}

// CgroupEvent is a cgroup that was made or removed. The counters are its
// last; of CgroupMade they are 0.
type CgroupEvent struct {
	ID uint64
	// Hierarchy is the number of the hierarchy, 0 is the unified one.
	Hierarchy uint32
	// Path is from the root of the hierarchy, cut at 511 bytes.
	Path []byte
	// HasMemory: this hierarchy has the memory controller. Sizes are in bytes.
	HasMemory               bool
	MemoryUsage, MemoryPeak uint64
	// OOMKills are of the cgroup and, on v2, those below it.
	OOMKills uint64
	// OOMGroup is memory.oom.group: the OOM killer takes all of it or nothing.
	OOMGroup bool
	// PidsPeak is the most tasks at once; 0 if this is not the hierarchy of the
	// pids controller, or the kernel (before 6.1) does not keep it.
	PidsPeak uint64
}

// decoder turns records of the ring buffer into events.
type decoder struct {
	page uint64 // bytes
}

// decode fills e from one record. The format is bpf/include/process.h.
func (d decoder) decode(record []byte, e *Event) error {
	// The shortest record; the kind is at the same place in all.
	process, err := view[processProcessRecord](record)
	if err != nil {
		return err
	}
	kind := EventKind(process.Kind)
	switch kind {
	case Forked, Exited, OOMKilled, Moved:
		*e = Event{Kind: kind, SinceBoot: time.Duration(process.Time)}
		d.process(process, &e.Process)
		return nil
	case Executed:
		exec, err := view[processExecRecord](record)
		if err != nil {
			return err
		}
		*e = Event{Kind: kind, SinceBoot: time.Duration(process.Time)}
		d.process(process, &e.Process)
		e.Process.Program = text(exec.Program[:])
		return nil
	}
	cgroup, err := view[processCgroupRecord](record)
	if err != nil {
		return err
	}
	return d.cgroup(cgroup, e)
}

func (d decoder) process(r *processProcessRecord, p *ProcessEvent) {
	*p = ProcessEvent{
		PID: int(r.Pid), PPID: int(r.Ppid), VPID: int(r.Vpid), Level: int(r.Level),
		Start:   r.Start / uint64(time.Second/userHZ),
		Unified: r.Cgroup, Memory: r.Memory,
		Comm: text(r.Comm[:]), Leaf: text(r.Leaf[:]),
	}
	if EventKind(r.Kind) == Exited {
		p.Exit = Exit{
			Status: syscall.WaitStatus(r.ExitCode), OOM: r.Oom != 0,
			CPUTime: time.Duration(r.CpuTime), MaxRSS: r.MaxRss * d.page,
		}
	}
}

func (d decoder) cgroup(r *processCgroupRecord, e *Event) error {
	kind := EventKind(r.Kind)
	if kind != CgroupMade && kind != CgroupRemoved {
		return fmt.Errorf("record of kind %d: %w", r.Kind, ErrMalformed)
	}
	*e = Event{Kind: kind, SinceBoot: time.Duration(r.Time)}
	e.Cgroup = CgroupEvent{
		ID: r.Id, Hierarchy: r.Hierarchy, Path: text(r.Path[:]), HasMemory: r.HasMemory != 0,
		MemoryUsage: r.MemoryUsage * d.page, MemoryPeak: r.MemoryPeak * d.page,
		OOMKills: r.OomKills, OOMGroup: r.OomGroup != 0, PidsPeak: r.PidsPeak,
	}
	return nil
}

// view looks at a record as what the program wrote there. Reading it field by
// field would cost more than all the rest. The kernel aligns records to 8
// bytes, and so does Go what it is copied to.
func view[T any](record []byte) (*T, error) {
	var size T
	if uintptr(len(record)) < unsafe.Sizeof(size) {
		return nil, fmt.Errorf("record of %d bytes: %w", len(record), ErrMalformed)
	}
	start := unsafe.Pointer(unsafe.SliceData(record))
	if uintptr(start)%unsafe.Alignof(size) != 0 {
		return nil, fmt.Errorf("record at an odd address: %w", ErrMalformed)
	}
	return (*T)(start), nil
}

// text is what is before the first zero.
func text(b []byte) []byte {
	if end := bytes.IndexByte(b, 0); end >= 0 {
		return b[:end]
	}
	return b
}

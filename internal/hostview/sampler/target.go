package sampler

import (
	"time"

	"github.com/tallymanhq/tallyman/internal/cgroup"
	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/procstream"
)

// Target is one cgroup that is read: usually a container.
type Target struct {
	container.Cgroup
	// Start is when the container started: the creation of its cgroup if it
	// was seen, else the start of its first process.
	Start time.Time
	// End is when it went; zero while it lives.
	End time.Time
	// Sample is what was last read. After the end, Known says what is in it.
	Sample cgroup.Sample
	// At is when Sample was read; zero if it never was.
	At time.Time
	// Events are the memory events of this container alone: nested
	// containers are not counted twice.
	Events cgroup.Events
	// Effective are the lowest limits of the cgroup and those above it.
	Effective cgroup.Limits
	// CPUs is the CPU time per second between the last two reads; HasCPUs is
	// false before the second one.
	CPUs    float64
	HasCPUs bool
	// WorkingSet is usage less inactive file pages, both as of the last read
	// of memory.stat; valid if HasWorkingSet.
	WorkingSet    uint64
	HasWorkingSet bool
	// Kills are the OOM kills by who the victim was.
	Kills Kills
	// Degraded is set while the container runs on without what the OOM killer
	// took; see also [Target.Degradations].
	Degraded *Degradation
	// ProcessesKnown: the processes were looked at, so that Kills and
	// Degraded mean something.
	ProcessesKnown bool
	// Exit is how the first process ended, if HasExit.
	Exit    procstream.Exit
	HasExit bool
	// PidsPeak is the most tasks at once, known at the end; 0 if unknown.
	PidsPeak uint64
	// InitPID is the first process on the host's numbering; 0 if unknown.
	InitPID int
	// Filesystem is the file system that holds the container's root.
	Filesystem Filesystem

	ending     time.Time // its cgroup was seen to be gone; zero while it is there
	reader     *cgroup.Reader
	slowAt     time.Time
	usage      time.Duration // CPU usage at the previous read
	usageAt    time.Time
	inner      map[string]struct{} // cgroup paths inside the container
	satellites map[string]*satellite
	retired    retired
	nestedGone bool // a nested container has gone since the last read
	localFS    bool // the root's file system may be asked for its size
	processes  processes
	verdict    verdict
	failures   failures
	oomGroup   bool // memory.oom.group was set, as told at the end
	announced  bool // the start event was sent
}

// IsContainer reports whether the target is a container, not a pod, service
// or another class of cgroup.
func (t *Target) IsContainer() bool { return t.Class == container.ClassContainer }

// Kills counts OOM kills since the container started.
type Kills struct {
	// Init and Other: the victim was, or was not, the first process.
	Init, Other uint64
	// Unknown: it could not be told, or it was before we looked.
	Unknown uint64
}

// Total is the sum of all kills.
func (k Kills) Total() uint64 { return k.Init + k.Other + k.Unknown }

// Reason is why a container is degraded.
type Reason string

// The reasons: a process was OOM-killed; keeps dying, or was ended by a fault
// of its own, and nothing took its place; kept dying and is not started again.
const (
	ReasonOOM    Reason = "oom"
	ReasonCrash  Reason = "crash"
	ReasonGaveUp Reason = "gave_up"
)

// Degradation says what a container lost to the OOM killer.
type Degradation struct {
	Since      time.Time
	Executable string // command name of the first victim, "" if unknown
	PID        int    // of the first victim, 0 if unknown
	Count      int    // processes killed and not replaced

	losses []loss
}

// Filesystem is in bytes. Zero Capacity means unknown.
type Filesystem struct {
	Capacity, Available uint64
	// LayerUsage is the size of the writable layer; valid if HasLayerUsage.
	LayerUsage    uint64
	HasLayerUsage bool
}

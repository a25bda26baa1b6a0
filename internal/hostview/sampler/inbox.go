package sampler

import (
	"sync"
	"time"

	"github.com/tallymanhq/tallyman/internal/procstream"
)

// Observation is what the process stream told of a process in a container. It
// is a copy: the stream's own events end with their handling.
type Observation struct {
	Kind procstream.EventKind
	At   time.Time
	// Root is the cgroup path of the container, RootID the id of that cgroup.
	Root      string
	RootID    uint64
	PID, PPID int
	VPID      int
	Start     uint64
	Comm      string
	Exit      procstream.Exit
	// MemoryPeak and PidsPeak are the last words of the container's cgroup
	// (CgroupRemoved), each 0 if this hierarchy does not have it.
	MemoryPeak, PidsPeak uint64
	OOMKills             uint64
	// Left: the process was moved out of here, to another container or to none
	// (Moved).
	Left bool
	// OOMGroup is its memory.oom.group.
	OOMGroup bool
}

const (
	// inboxMax bounds what waits for a pass: 65,536 observations of 160 bytes
	// are 10 MiB.
	inboxMax = 1 << 16
	// homelessMax is how long an observation waits for its container to be
	// discovered: longer than discovery walks apart.
	homelessMax = 15 * time.Second
)

// inbox is what the stream has told since the last pass. It has a lock of its
// own, so that the stream never waits for a pass.
type inbox struct {
	mu      sync.Mutex
	list    []Observation
	dropped uint64
	// lost: the stream has lost events, all processes must be looked at.
	lost bool
}

// add reports whether so much waits that it should not wait for a pass.
func (b *inbox) add(o Observation) (full bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.list) >= inboxMax {
		b.dropped++
		b.lost = true
		return true
	}
	b.list = append(b.list, o)
	return len(b.list)%(inboxMax/4) == 0
}

// take empties the inbox.
func (b *inbox) take() (list []Observation, lost bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	list, lost = b.list, b.lost
	b.list, b.lost = nil, false
	return list, lost
}

// putBack returns what could not be used yet to the front.
func (b *inbox) putBack(list []Observation) {
	if len(list) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.list = append(list, b.list...)
}

func (b *inbox) drops() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dropped
}

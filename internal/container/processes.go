package container

import (
	"sync"
	"time"
)

// Process is one process as a stream of events tells of it. It is a plain
// value.
type Process struct {
	PID int
	// Start identifies the process together with PID: ticks (10 ms) since the
	// host booted. 0 is unknown.
	Start uint64
	// Cgroup is the id of its cgroup, for [Index.ByInode].
	Cgroup uint64
	// Gone is when it ended; zero while it lives.
	Gone time.Time
}

// Defaults of [ProcessesOptions].
const (
	defaultProcessGrace    = 5 * time.Minute
	defaultMaxDeadProcess  = 10_000
	defaultMaxLiveProcess  = 1 << 20
	initialProcessCapacity = 1024
)

// ProcessesOptions bound what [Processes] remembers.
type ProcessesOptions struct {
	// Grace is how long the dead stay known; 0 means 5 minutes.
	Grace time.Duration
	// MaxDead is how many of them are kept at most; 0 means 10000. The oldest
	// go first and are counted.
	MaxDead int
	// Now is the clock, time.Now if nil.
	Now func() time.Time
}

// Processes finds the cgroup of a process by its number, also for a while
// after it has ended. Numbers are given again: the newest process of a number
// is the one it means, and who knows the start as well gets that process or
// none. It is safe for concurrent use.
type Processes struct {
	grace   time.Duration
	maxDead int
	now     func() time.Time

	mu    sync.RWMutex // guards everything below
	byPID map[int32]*processRecord
	live  int
	// dead is in order of death, a ring that grows up to maxDead.
	first, last *processRecord
	deadLen     int
	stats       ProcessesStats
}

// processRecord is the place of one process. A number that was given again
// keeps its dead in older.
type processRecord struct {
	Process
	older    *processRecord
	nextDead *processRecord
}

// ProcessesStats are the current sizes and what was forgotten early.
type ProcessesStats struct {
	Live, Dead int
	// Evicted counts dead ones forgotten before their grace was over, Refused
	// living ones that found no room.
	Evicted, Refused uint64
}

// NewProcesses returns an empty table.
func NewProcesses(o ProcessesOptions) *Processes {
	if o.Grace <= 0 {
		o.Grace = defaultProcessGrace
	}
	if o.MaxDead <= 0 {
		o.MaxDead = defaultMaxDeadProcess
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Processes{
		grace: o.Grace, maxDead: o.MaxDead, now: o.Now,
		byPID: make(map[int32]*processRecord, initialProcessCapacity),
	}
}

// Add makes a process known, or moves a known one to another cgroup. One with
// another start under the number of a living process takes its place: the
// end of the old one was missed.
func (x *Processes) Add(pid int, start, cgroup uint64) {
	now := x.now()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.expire(now)
	old := x.byPID[int32(pid)]
	if old != nil && old.Gone.IsZero() {
		if old.Start == start || start == 0 {
			old.Cgroup = cgroup
			return
		}
		x.bury(old, now)
	}
	if old != nil && old.Start == start && start != 0 {
		return // told late: it has ended already
	}
	if x.live >= defaultMaxLiveProcess {
		x.stats.Refused++
		return
	}
	x.byPID[int32(pid)] = &processRecord{Process: Process{PID: pid, Start: start, Cgroup: cgroup}, older: old}
	x.live++
	x.trim()
}

// Remove marks a process as ended at the given time (now if zero). A process
// that is unknown, or another one of the same number, changes nothing.
func (x *Processes) Remove(pid int, start uint64, at time.Time) {
	now := x.now()
	if at.IsZero() {
		at = now
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.expire(now)
	r := x.byPID[int32(pid)]
	if r == nil || !r.Gone.IsZero() || start != 0 && r.Start != start {
		return
	}
	x.bury(r, at)
	x.trim()
}

// ByPID finds the newest process of a number.
func (x *Processes) ByPID(pid int) (Process, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	r := x.byPID[int32(pid)]
	if r == nil {
		return Process{}, false
	}
	return r.Process, true
}

// ByStart finds the process of a number that started then.
func (x *Processes) ByStart(pid int, start uint64) (Process, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for r := x.byPID[int32(pid)]; r != nil; r = r.older {
		if r.Start == start {
			return r.Process, true
		}
	}
	return Process{}, false
}

// Clear forgets everything: what the events told is no longer sure.
func (x *Processes) Clear() {
	x.mu.Lock()
	defer x.mu.Unlock()
	clear(x.byPID)
	x.live, x.deadLen, x.first, x.last = 0, 0, nil, nil
}

// Stats returns the current sizes.
func (x *Processes) Stats() ProcessesStats {
	now := x.now()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.expire(now)
	s := x.stats
	s.Live, s.Dead = x.live, x.deadLen
	return s
}

func (x *Processes) bury(r *processRecord, at time.Time) {
	r.Gone = at
	x.live--
	x.deadLen++
	if x.last == nil {
		x.first = r
	} else {
		x.last.nextDead = r
	}
	x.last = r
}

func (x *Processes) expire(now time.Time) {
	for x.first != nil && now.Sub(x.first.Gone) >= x.grace {
		x.forget()
	}
}

func (x *Processes) trim() {
	for x.deadLen > x.maxDead {
		x.forget()
		x.stats.Evicted++
	}
}

// forget takes the first of the dead out of its number's list.
func (x *Processes) forget() {
	r := x.first
	if x.first = r.nextDead; x.first == nil {
		x.last = nil
	}
	x.deadLen--
	head := x.byPID[int32(r.PID)]
	if head == r {
		// It is the newest of its number, so all older ones went before it.
		delete(x.byPID, int32(r.PID))
		return
	}
	for head != nil && head.older != r {
		head = head.older
	}
	if head != nil {
		head.older = r.older
	}
}

package hostview

import (
	"slices"
	"sync"
	"time"

	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/procstream"
)

// ProcessEvent is something that a process did: the process stream's event
// with the container it belongs to. It is a copy and may be kept.
type ProcessEvent struct {
	// Kind is Forked, Executed, Exited, OOMKilled or Moved.
	Kind procstream.EventKind
	At   time.Time
	// Container is the one that the process is in, innermost if nested; nil
	// for a process of the host. It is as it was at the event.
	Container *container.Cgroup
	// PID, PPID, VPID and Start are as in [procstream.ProcessEvent].
	PID, PPID, VPID int
	Start           uint64
	// Comm is the command name, Program the path given to execve(2), of
	// Executed only.
	Comm, Program string
	// Exit is of Exited.
	Exit procstream.Exit
}

// SubscriptionOptions say what a subscriber wants.
type SubscriptionOptions struct {
	// Queue bounds what waits to be taken; what comes when it is full is
	// dropped and counted. 0 means 16384: about 3 MiB, and several seconds of a
	// host that starts thousands of processes each second.
	Queue int
	// Host: processes outside of containers as well.
	Host bool
}

const defaultQueue = 16384

// Subscription is one subscriber's queue. Its methods are safe for concurrent
// use.
type Subscription struct {
	view  *View
	o     SubscriptionOptions
	ready chan struct{}

	mu      sync.Mutex // guards what follows
	queue   []ProcessEvent
	dropped uint64
	gaps    uint64
}

// Subscribe starts to queue the events of processes from now on. Close it.
// Without a process stream (see [View.Tier]) none come.
func (v *View) Subscribe(o SubscriptionOptions) *Subscription {
	if o.Queue <= 0 {
		o.Queue = defaultQueue
	}
	s := &Subscription{view: v, o: o, ready: make(chan struct{}, 1)}
	v.mu.Lock()
	defer v.mu.Unlock()
	list := append(slices.Clone(*v.subscriptions.Load()), s)
	v.subscriptions.Store(&list)
	return s
}

// Close ends the subscription; what waits can still be taken.
func (s *Subscription) Close() {
	s.view.mu.Lock()
	defer s.view.mu.Unlock()
	list := slices.DeleteFunc(slices.Clone(*s.view.subscriptions.Load()), func(o *Subscription) bool { return o == s })
	s.view.subscriptions.Store(&list)
}

// Ready has a value when there may be something to take.
func (s *Subscription) Ready() <-chan struct{} { return s.ready }

// Take appends what waits to buf, oldest first.
func (s *Subscription) Take(buf []ProcessEvent) []ProcessEvent {
	s.mu.Lock()
	defer s.mu.Unlock()
	buf = append(buf, s.queue...)
	clear(s.queue)
	s.queue = s.queue[:0]
	return buf
}

// SubscriptionStats are counts of events that a subscriber has not got.
type SubscriptionStats struct {
	// Dropped found the queue full.
	Dropped uint64
	// Gaps is how often the stream itself has lost events; how many is in
	// [View.StreamStats].
	Gaps uint64
}

// Stats returns the counts so far.
func (s *Subscription) Stats() SubscriptionStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return SubscriptionStats{Dropped: s.dropped, Gaps: s.gaps}
}

func (s *Subscription) add(e *ProcessEvent) {
	if e.Container == nil && !s.o.Host {
		return
	}
	s.mu.Lock()
	if len(s.queue) >= s.o.Queue {
		s.dropped++
	} else {
		s.queue = append(s.queue, *e)
	}
	s.mu.Unlock()
	s.signal()
}

func (s *Subscription) addGap() {
	s.mu.Lock()
	s.gaps++
	s.mu.Unlock()
	s.signal()
}

func (s *Subscription) signal() {
	select {
	case s.ready <- struct{}{}:
	default: // it is told already
	}
}

// fanOut hands an event to the subscribers. It never waits for one.
func (v *View) fanOut(e *procstream.Event, at time.Time, cg *container.Cgroup) {
	list := *v.subscriptions.Load()
	if len(list) == 0 {
		return
	}
	p := &e.Process
	out := ProcessEvent{
		Kind: e.Kind, At: at, Container: cg,
		PID: p.PID, PPID: p.PPID, VPID: p.VPID, Start: p.Start,
		Comm: string(p.Comm), Program: string(p.Program), Exit: p.Exit,
	}
	for _, s := range list {
		s.add(&out)
	}
}

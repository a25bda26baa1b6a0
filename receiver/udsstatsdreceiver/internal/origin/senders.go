package origin

import (
	"container/list"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/pidfd"
)

const (
	// maxSenders bounds the descriptors that one socket holds. Four thousand
	// processes of one host that send at the same time are many, and programs
	// started by systemd may open 524,288 files.
	maxSenders = 4096
	// recheckHost is how long a process counts as one of the host: what a
	// runtime starts is moved into its container afterwards. recheckContainer
	// is the same for containers, which processes do not leave.
	recheckHost      = time.Second
	recheckContainer = time.Minute
)

// Sender is what a datagram brings along.
type Sender struct {
	// PID is that of SCM_CREDENTIALS: 0 for a process outside of our pid
	// namespace, negative without credentials.
	PID int
	// PIDFD is the descriptor of SCM_PIDFD, which stays the caller's, or -1.
	PIDFD int
}

// Senders remembers who sends to one socket. It is for one goroutine, which
// does
//
//	for {
//		at := origin.Clock()
//		n, err := receive()  // without waiting, as many as there are
//		if err is EAGAIN { senders.Empty(at); wait; continue }
//		senders.Begin()
//		for each { o := senders.Resolve(sender) }
//	}
type Senders struct {
	r      *Resolver
	looker *looker
	epoll  int

	last  *sender // a proven one of this batch
	byPID map[int]*sender
	queue *list.List // of *sender, the next to be evicted in front

	since, now time.Duration // what is looked at was sent in between
}

// sender is what is remembered of a number.
type sender struct {
	pid, pidfd int
	origin     *Origin
	// proven until it ends, or until recheck. Otherwise the answer is of the
	// batch that began at asked.
	proven         bool
	seen           bool // since it was last in front of the queue
	recheck, asked time.Duration
	// ended is when it was found to have: it may still have datagrams queued.
	ended   time.Duration
	element *list.Element
}

// Senders makes the cache of one socket. No datagram in it may be older than
// since (see [Clock]); 0 if that is not known. Close it before the resolver.
func (r *Resolver) Senders(since time.Duration) (*Senders, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("watch senders: %w", err)
	}
	return &Senders{
		r: r, looker: newLooker(r.own), epoll: fd,
		byPID: map[int]*sender{}, queue: list.New(), since: since, now: Clock(),
	}, nil
}

// Close gives all descriptors back.
func (s *Senders) Close() error {
	for _, e := range s.byPID {
		s.release(e)
	}
	clear(s.byPID)
	s.queue.Init()
	if err := unix.Close(s.epoll); err != nil {
		return fmt.Errorf("close senders: %w", err)
	}
	return nil
}

// Empty says that the queue was empty when it was looked at, at that time or
// later.
func (s *Senders) Empty(at time.Duration) { s.since = max(s.since, at) }

// Begin is called with each batch, after it was received: whoever sent it and
// has ended is known to from here on.
func (s *Senders) Begin() {
	s.last, s.now = nil, Clock()
	var events [64]unix.EpollEvent
	for {
		n, err := unix.EpollWait(s.epoll, events[:], 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		for i := range max(n, 0) {
			if e := s.byPID[int(events[i].Fd)]; e != nil {
				s.release(e)
				e.ended = s.now
			}
		}
		if n < len(events) {
			return
		}
	}
}

// Resolve returns who sent a datagram of the batch, never nil.
func (s *Senders) Resolve(from Sender) *Origin {
	if s.last != nil && s.last.pid == from.PID {
		return s.last.origin
	}
	if e := s.byPID[from.PID]; e != nil && e.proven && s.now < e.recheck {
		e.seen = true
		s.last = e
		return e.origin
	}
	return s.ask(from)
}

func (s *Senders) ask(from Sender) *Origin {
	if from.PID <= 0 {
		return s.r.unresolved(withoutNumber(from.PID))
	}
	e := s.byPID[from.PID]
	if e != nil && !e.proven && e.asked == s.now && from.PIDFD < 0 {
		return e.origin
	}
	got := s.r.look(s.looker, from)
	o := s.judge(e, from, &got)
	if got.pidfd >= 0 {
		_ = unix.Close(got.pidfd) // nobody kept it
	}
	return o
}

func withoutNumber(pid int) Reason {
	if pid == 0 {
		return ReasonNamespace
	}
	return ReasonCredentials
}

// found is what can be said of a sender at this moment.
type found struct {
	// pidfd is of the process that has the number, -1 if it was not asked or
	// lives no more.
	pidfd int
	start uint64
	// exact: it is the sender. Otherwise it is who has the number now.
	exact  bool
	origin *Origin // nil if there is only a reason
	reason Reason
}

func (r *Resolver) look(l *looker, from Sender) found {
	if from.PID <= 0 {
		return found{pidfd: -1, reason: withoutNumber(from.PID)}
	}
	if from.PIDFD < 0 {
		return r.lookByNumber(l, from)
	}
	if got := r.lookByNumber(l, from); got.origin != nil {
		got.exact = true
		return got
	}
	info, err := pidfd.Info(from.PIDFD)
	switch {
	case err == nil && r.places == nil:
		return found{pidfd: -1, reason: ReasonGone} // the stream may know
	case err == nil:
		return r.endedIn(info.Cgroupid)
	case errors.Is(err, unix.EREMOTE):
		return found{pidfd: -1, reason: ReasonNamespace}
	case errors.Is(err, unix.ESRCH):
		return found{pidfd: -1, exact: true, reason: ReasonGone}
	}
	return found{pidfd: -1, reason: ReasonUnreadable}
}

func (r *Resolver) lookByNumber(l *looker, from Sender) found {
	got := l.look(from.PID, from.PIDFD)
	f := found{pidfd: got.pidfd, start: got.start, reason: got.reason}
	switch {
	case got.reason != "":
	case got.host:
		f.origin = r.host()
	default:
		f.origin = r.container(got.id)
	}
	return f
}

// endedIn is for a sender that has ended and left the id of its cgroup.
func (r *Resolver) endedIn(cgroup uint64) found {
	o, reason := r.ofCgroup(cgroup)
	f := found{pidfd: -1, exact: true, origin: o, reason: reason}
	switch {
	case o == nil:
		f.origin = r.waitForCgroup(cgroup)
	case reason != "":
		f.origin = nil
	}
	return f
}

// judge decides whether who was found is the sender. e is what was remembered
// of the number, or nil.
func (s *Senders) judge(e *sender, from Sender, got *found) *Origin {
	switch {
	case got.exact && got.origin == nil:
		return s.r.unresolved(got.reason)
	case got.exact:
		if got.origin.Kind != KindPending {
			s.r.counts.exact.Add(1)
		}
		return s.keep(from.PID, got)
	case got.origin != nil && startedBefore(got.start) <= s.since:
		got.exact = true
		s.r.counts.exact.Add(1)
		return s.keep(from.PID, got)
	case s.r.tier == TierStream:
		return s.judgeByStream(e, from, got)
	}
	return s.judgeByMemory(e, from, got)
}

// judgeByStream is for a sender that has gone, or that is younger than the
// oldest datagram may be.
func (s *Senders) judgeByStream(e *sender, from Sender, got *found) *Origin {
	if got.origin == nil && got.reason != ReasonGone {
		return s.remember(from.PID, s.r.unresolved(got.reason))
	}
	if got.origin != nil && s.r.history.covers(startedBefore(got.start)) {
		list, whole := s.r.history.holders(nil, int32(from.PID), s.since, s.now)
		if whole && len(list) == 1 && list[0].start == got.start {
			got.exact = true
			s.r.counts.exact.Add(1)
			return s.keep(from.PID, got)
		}
	}
	if e != nil && e.origin.pending != nil && e.asked >= s.since && e.origin.pending.extend(s.now) {
		return s.remember(from.PID, e.origin) // one for all that cannot be told apart
	}
	return s.remember(from.PID, s.r.wait(&pending{pid: int32(from.PID), since: s.since, until: s.now}))
}

// judgeByMemory is for the tiers without a history: what is remembered of a
// number that has ended is all there is to compare with.
func (s *Senders) judgeByMemory(e *sender, from Sender, got *found) *Origin {
	var before *Origin
	if e != nil && e.ended != 0 && e.ended >= s.since {
		before = e.origin // its datagrams may still be queued
	}
	switch {
	case got.origin == nil && before != nil && got.reason == ReasonGone:
		s.r.counts.bestEffort.Add(1)
		return before
	case got.origin == nil:
		return s.remember(from.PID, s.r.unresolved(got.reason))
	case before != nil && before != got.origin:
		return s.r.unresolved(ReasonReused)
	}
	s.r.counts.bestEffort.Add(1)
	return s.keep(from.PID, got)
}

// keep remembers a living process, which is looked at again when it ends.
// Without a descriptor it is good for this batch.
func (s *Senders) keep(pid int, got *found) *Origin {
	if got.pidfd < 0 {
		if got.start == 0 {
			return got.origin // it has ended: the next with this number is another
		}
		return s.remember(pid, got.origin)
	}
	e := s.entry(pid)
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(pid)}
	if err := unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, got.pidfd, &event); err != nil {
		return s.remember(pid, got.origin) // fs.epoll.max_user_watches
	}
	e.pidfd, got.pidfd = got.pidfd, -1
	e.origin, e.ended, e.asked, e.proven = got.origin, 0, s.now, true
	e.recheck = s.now + recheckContainer
	if got.origin.Kind != KindKernel {
		e.recheck = s.now + recheckHost
	}
	return got.origin
}

// remember is for an answer that is good for this batch only.
func (s *Senders) remember(pid int, o *Origin) *Origin {
	e := s.entry(pid)
	e.origin, e.asked, e.ended = o, s.now, 0
	return o
}

// entry returns the place of a number, with nothing proven.
func (s *Senders) entry(pid int) *sender {
	if e := s.byPID[pid]; e != nil {
		s.release(e)
		return e
	}
	if len(s.byPID) >= maxSenders {
		s.evict()
	}
	e := &sender{pid: pid, pidfd: -1}
	e.element = s.queue.PushBack(e)
	s.byPID[pid] = e
	return e
}

// evict forgets the one that was not seen for longest, as good as: who was
// seen since its last turn goes to the end of the queue once more.
func (s *Senders) evict() {
	for {
		front := s.queue.Front()
		e := front.Value.(*sender)
		if e.seen {
			e.seen = false
			s.queue.MoveToBack(front)
			continue
		}
		s.release(e)
		s.queue.Remove(front)
		delete(s.byPID, e.pid)
		s.r.counts.evicted.Add(1)
		return
	}
}

// release gives the descriptor of a process back: nothing is proven any more.
func (s *Senders) release(e *sender) {
	e.proven = false
	if s.last == e {
		s.last = nil
	}
	if e.pidfd < 0 {
		return
	}
	// The caller may hold the same file; closing alone would leave it watched.
	_ = unix.EpollCtl(s.epoll, unix.EPOLL_CTL_DEL, e.pidfd, nil)
	_ = unix.Close(e.pidfd) // nothing was written
	e.pidfd = -1
}

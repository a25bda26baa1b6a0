package origin

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/internal/pidfd"
)

// Tier is the way senders are found, best first.
type Tier string

// The tiers; the package comment says what each can do.
const (
	TierStream Tier = "stream"
	TierPIDFD  Tier = "pidfd"
	TierProc   Tier = "proc"
)

const (
	// streamDelay is how late the process stream comes at most.
	streamDelay = 100 * time.Millisecond
	// patience is how long an answer may be pending. The stream comes up to
	// 100 ms late; on a host where no process starts or ends there is no event
	// that says it has come so far, and ten times its delay must do.
	patience = time.Second
	// sweepEvery is how often pending answers are tried when no event comes.
	sweepEvery = 200 * time.Millisecond
	// maxWaiting bounds the pending that are tried before anybody asks: with a
	// patience of a second more would be 65,536 new senders a second.
	maxWaiting = 65536
)

// Options are what a [Resolver] needs.
type Options struct {
	// View is the shared look at the host; the caller keeps it until after Close.
	View *hostview.View
	// Roots is where the host's cgroups are.
	Roots hostfs.Roots
	// Client says what clients' own words count.
	Client ClientMode

	// best is the best tier to take, for tests; "" is TierStream.
	best Tier
}

// Resolver finds out who sent. It is safe for concurrent use. Get it with
// [Open], close it.
type Resolver struct {
	o       Options
	tier    Tier
	checked []error
	own     ownNamespaces
	pool    *pool
	payer   *Origin // of all that is pending
	opened  time.Duration
	places  *hostview.Places // of TierPIDFD
	history *history
	sub     *hostview.Subscription // of TierStream
	gaps    uint64                 // of run alone
	counts  counters

	stop, done chan struct{}
	awaited    chan struct{} // has a value when somebody begins to wait

	mu       sync.Mutex // guards what follows
	waiting  map[*Origin]struct{}
	byCgroup map[uint64]*Origin // those of waiting that ask for a cgroup
}

// Open finds the best tier and starts to follow processes, where that is
// the stream's. It always works in some way; [Resolver.Check] tells what is
// missing.
func Open(o Options) *Resolver {
	if o.best == "" {
		o.best = TierStream
	}
	r := &Resolver{
		o: o, own: lookAtNamespaces("/proc"), pool: newPool(), payer: &Origin{Kind: KindPending},
		history: newHistory(Clock()), counts: counters{unresolved: map[Reason]uint64{}},
		stop: make(chan struct{}), done: make(chan struct{}), awaited: make(chan struct{}, 1), waiting: map[*Origin]struct{}{}, byCgroup: map[uint64]*Origin{},
	}
	r.choose()
	r.opened = Clock()
	go r.run()
	return r
}

func (r *Resolver) choose() {
	if r.own.foreignProc || r.own.innerPIDs {
		r.checked = append(r.checked, errors.New(
			"find senders: this process has a pid namespace of its own, senders outside of it have no number (run its container with pid: host)"))
	}
	r.tier = TierProc
	if r.o.best == TierStream {
		if err := r.openStream(); err == nil {
			r.tier = TierStream
			return
		} else {
			r.checked = append(r.checked, err)
		}
	}
	if r.o.best == TierProc {
		return
	}
	err := pidfd.Probe()
	if err == nil {
		r.places, err = hostview.OpenPlaces(r.o.View, r.o.Roots)
	}
	if err != nil {
		r.checked = append(r.checked, fmt.Errorf("find senders that have gone: %w", err))
		return
	}
	r.tier = TierPIDFD
}

// errStream says which stream is wanted: what the proc connector knows of a
// process that has gone already may be about its parent.
var errStream = errors.New("find senders by the process stream: it is not that of BPF")

func (r *Resolver) openStream() error {
	if r.own.innerPIDs {
		return errors.New("find senders by the process stream: its numbers are those of the host")
	}
	tier, refused := r.o.View.Tier()
	if tier != hostview.TierBPF {
		return errors.Join(errStream, refused)
	}
	// Processes of the host too: their numbers may have been a container's.
	r.sub = r.o.View.Subscribe(hostview.SubscriptionOptions{Host: true})
	r.history.lost(Clock()) // whole from here on
	return nil
}

// Close stops the resolver. Its origins stay valid, pending ones are settled as
// far as is known.
func (r *Resolver) Close() {
	close(r.stop)
	<-r.done
	if r.sub != nil {
		r.sub.Close()
	}
	r.places.Close()
}

// Tier returns how senders are found.
func (r *Resolver) Tier() Tier { return r.tier }

// WantPIDFD tells whether datagrams must carry a descriptor of their sender: set
// SO_PASSPIDFD, and close each.
func (r *Resolver) WantPIDFD() bool { return r.tier == TierPIDFD }

// Check returns what keeps senders from being found in the best way, with the
// remedies, or nil.
func (r *Resolver) Check() error { return errors.Join(r.checked...) }

// Stats returns the counts so far.
func (r *Resolver) Stats() Stats {
	s := r.counts.snapshot()
	s.Remembered = r.history.size()
	return s
}

// Settle asks again for a pending origin; others are returned as they are. When
// it is not ok the answer may still come: keep what belongs to o until the next
// flush. That is so for a second after the datagram at most, and never with
// last, which takes no more for an answer.
func (r *Resolver) Settle(o *Origin, last bool) (_ *Origin, ok bool) {
	p := o.pending
	if p == nil {
		return o, true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.final != nil {
		return p.final, true
	}
	if p.final = r.settle(p, last); p.final == nil {
		return o, false
	}
	if p.final.Kind == KindNone {
		r.counts.addUnresolved(p.final.Reason)
	} else {
		r.counts.settled.Add(1)
	}
	return p.final, true
}

// settle returns nil while the answer may still come. p.mu is held.
func (r *Resolver) settle(p *pending, last bool) *Origin {
	last = last || Clock() > p.until+patience
	if p.cgroup == 0 {
		if !last && !r.history.covers(p.until) {
			return nil
		}
		return r.byHistory(p.pid, p.since, p.until)
	}
	o, reason := r.ofCgroup(p.cgroup)
	if reason == "" {
		return o
	}
	if o == nil && !last {
		return nil
	}
	return r.none(ReasonCgroup)
}

// byHistory is who had a number while a datagram may have been sent.
func (r *Resolver) byHistory(pid int32, since, until time.Duration) *Origin {
	var room [4]holder
	list, whole := r.history.holders(room[:0], pid, since, until)
	if !whole {
		return r.none(ReasonLost)
	}
	if len(list) == 0 {
		return r.none(ReasonGone)
	}
	first := r.ofHolder(pid, &list[0])
	for i := range list[1:] {
		if r.ofHolder(pid, &list[i+1]) != first {
			return r.none(ReasonReused)
		}
	}
	return first
}

// ofHolder asks the view once more when the stream told of no container: a
// cgroup may have become known since.
func (r *Resolver) ofHolder(pid int32, h *holder) *Origin {
	cg := h.cgroup
	if cg == nil {
		var ok bool
		if cg, ok = r.o.View.ContainerOf(int(pid), h.start); !ok {
			return r.host()
		}
	}
	return r.container(cg.Identity)
}

// ofCgroup is who is in a cgroup of the unified hierarchy. Without a reason the
// answer is final; with one it is nil while the cgroup may become known.
func (r *Resolver) ofCgroup(id uint64) (*Origin, Reason) {
	identity, what := r.places.ByID(id)
	switch what {
	case hostview.PlaceContainer:
		return r.container(identity), ""
	case hostview.PlaceHost:
		return r.host(), ""
	case hostview.PlaceOpen:
		return r.none(ReasonCgroup), ReasonCgroup
	}
	return nil, ReasonCgroup
}

// container takes what the view says of a container, if it knows it: paths of
// different hierarchies may say more or less of the same one.
func (r *Resolver) container(id container.Identity) *Origin {
	if known, ok := r.o.View.Index().ByID(id.ID); ok && known.Class == container.ClassContainer {
		id = known.Identity
	}
	return r.pool.intern(Origin{Kind: KindKernel, ContainerID: id.ID, PodUID: id.PodUID, Runtime: id.Runtime})
}

func (r *Resolver) host() *Origin { return r.pool.intern(Origin{Kind: KindHost}) }

func (r *Resolver) none(reason Reason) *Origin {
	return r.pool.intern(Origin{Kind: KindNone, Reason: reason})
}

// wait makes an origin that is not known yet.
func (r *Resolver) wait(p *pending) *Origin {
	r.counts.pending.Add(1)
	p.payer = r.payer
	o := &Origin{Kind: KindPending, pending: p}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) >= maxWaiting {
		return o
	}
	if r.waiting[o] = struct{}{}; len(r.waiting) == 1 {
		select {
		case r.awaited <- struct{}{}:
		default: // it is told already
		}
	}
	if p.cgroup != 0 {
		r.byCgroup[p.cgroup] = o
	}
	return o
}

// waitForCgroup makes one pending origin for all that left the same cgroup.
func (r *Resolver) waitForCgroup(cgroup uint64) *Origin {
	now := Clock()
	r.mu.Lock()
	o := r.byCgroup[cgroup]
	r.mu.Unlock()
	if o != nil && o.pending.extend(now) {
		return o
	}
	return r.wait(&pending{cgroup: cgroup, until: now})
}

// run brings the history up to date and settles what it can.
func (r *Resolver) run() {
	defer close(r.done)
	timer := time.NewTimer(sweepEvery)
	defer timer.Stop()
	var ready <-chan struct{}
	if r.sub != nil {
		ready = r.sub.Ready()
	}
	var events []hostview.ProcessEvent
	for {
		select {
		case <-r.stop:
			r.sweep(true)
			return
		case <-ready:
			events = r.take(events)
		case <-r.awaited:
			timer.Reset(sweepEvery)
		case <-timer.C:
			if r.sweep(false); r.isAwaited() {
				timer.Reset(sweepEvery)
			}
		}
	}
}

func (r *Resolver) take(events []hostview.ProcessEvent) []hostview.ProcessEvent {
	events = r.sub.Take(events[:0])
	r.history.apply(events)
	stats := r.sub.Stats()
	if gaps := stats.Gaps + stats.Dropped; gaps != r.gaps {
		r.counts.gaps.Add(gaps - r.gaps)
		r.gaps = gaps
		r.history.lost(Clock())
	}
	clear(events) // they hold containers
	return events
}

// sweep settles what has been waiting. Who asks later finds the answer, also
// when the history has forgotten.
func (r *Resolver) sweep(last bool) {
	r.mu.Lock()
	waiting := make([]*Origin, 0, len(r.waiting))
	for o := range r.waiting {
		waiting = append(waiting, o)
	}
	r.mu.Unlock()
	for _, o := range waiting {
		if _, ok := r.Settle(o, last); !ok {
			continue
		}
		r.mu.Lock()
		delete(r.waiting, o)
		if r.byCgroup[o.pending.cgroup] == o {
			delete(r.byCgroup, o.pending.cgroup)
		}
		r.mu.Unlock()
	}
}

// Peer finds out who is at the other end of a stream connection; pidfd is that
// of SO_PEERPIDFD, which stays the caller's, or -1. Without one a number that
// was given again since connect is not noticed.
func (r *Resolver) Peer(pid, pidfd int) *Origin {
	l := newLooker(r.own)
	got := r.look(l, Sender{PID: pid, PIDFD: pidfd})
	if got.pidfd >= 0 {
		_ = unix.Close(got.pidfd) // only looked at
	}
	switch {
	case got.origin == nil && got.reason == ReasonGone && r.tier == TierStream:
		// It connected a moment ago, and the stream knows who it was.
		now := Clock()
		return r.wait(&pending{pid: int32(pid), since: max(now-patience, r.opened), until: now})
	case got.origin == nil:
		return r.unresolved(got.reason)
	case got.exact && got.origin.Kind != KindPending:
		r.counts.exact.Add(1)
	case !got.exact:
		r.counts.bestEffort.Add(1)
	}
	return got.origin
}

// CatchUp waits until all that has happened by now is known to the resolver, if
// anybody waits for that, and for two delays of the process stream at most.
func (r *Resolver) CatchUp() {
	now := Clock()
	if r.tier != TierStream || !r.isAwaited() {
		return
	}
	ticker := time.NewTicker(streamDelay / 10)
	defer ticker.Stop()
	for !r.history.covers(now) && Clock() < now+2*streamDelay {
		<-ticker.C
	}
}

func (r *Resolver) isAwaited() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.waiting) > 0
}

func (r *Resolver) unresolved(reason Reason) *Origin {
	r.counts.addUnresolved(reason)
	return r.none(reason)
}

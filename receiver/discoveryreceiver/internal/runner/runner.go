package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"

	"github.com/tallymanhq/tallyman/internal/discovery/spec"
)

// Factories are the components of the running distribution. The Collector's own
// host is one (ComponentFactory of service/hostcapabilities).
type Factories interface {
	// GetFactory returns nil where there is none.
	GetFactory(kind component.Kind, componentType component.Type) component.Factory
}

// Options say where receivers come from and where their data goes.
type Options struct {
	// Factories make the receivers; Host is what they are started with. What
	// they report of their status stays here.
	Factories Factories
	Host      component.Host
	// Settings are those of the component that starts them.
	Settings receiver.Settings
	// Metrics and Logs take what they produce; nil where no pipeline does.
	Metrics consumer.Metrics
	Logs    consumer.Logs
	// Allow tells whether a type of receiver may be started for what is not
	// [spec.Spec.Trusted]; nil allows none.
	Allow func(component.Type) bool
	// Tell is called with what has happened, one call at a time. It must not
	// block nor call the Runner. May be nil.
	Tell func(Event)
	// Limit bounds the places, together with the receivers that were given up
	// because they do not return; it is above 0. What does not fit is told once,
	// as [ErrLimit], and starts when there is room.
	Limit int
	// Pace says how fast things happen; zero fields have defaults.
	Pace Pace
}

// EventKind is what has happened.
type EventKind string

// The kinds of events. Overdue: Start or Shutdown takes longer than it may, and is not
// waited for any longer. Such a start comes with no Failed of its own; such an end is a
// Stopped, too.
const (
	Started  EventKind = "started"
	Replaced EventKind = "replaced"
	Stopped  EventKind = "stopped"
	Failed   EventKind = "failed"
	Overdue  EventKind = "overdue"
)

// Event is something that has happened to one wanted receiver.
type Event struct {
	Kind EventKind
	Spec spec.Spec
	// Err is set for Failed and Overdue, and for a Stopped that went wrong.
	Err error
	// Unwanted is set for a Stopped whose receiver was not wanted when its end was
	// decided, be it that it is again by the time that Shutdown returns. Else it
	// still was: it has given up, makes room for the one that takes its place or
	// must not go on while that has to wait, or the Runner ends.
	Unwanted bool
}

// State is how a place is.
type State string

// The states.
const (
	Waiting  State = "waiting"
	Starting State = "starting"
	Running  State = "running"
	Retrying State = "retrying" // has failed, will be tried again
	Rejected State = "rejected" // has failed, will not
	Stopping State = "stopping"
)

// Status is one place as it is now.
type Status struct {
	Spec  spec.Spec
	State State
	// Err is why it does not run; nil if it does, or was not tried yet.
	Err error
}

// Stats are totals since New, but for Places, Running and Held, which are now.
type Stats struct {
	// Running are places where a receiver runs, also one that is about to be
	// replaced. Held are starts and stops that are not waited for any more and
	// have not returned.
	Places, Running, Held                       int
	Started, Stopped, Replaced, Failed, Overdue uint64
	// Dropped are batches of metrics or logs that came from a receiver after
	// its gate was closed: it was stopped or given up or, of metrics, replaced
	// or about to be stopped.
	Dropped uint64
}

// Errors that a wanted receiver fails with and that no other try would change.
var (
	ErrNotAllowed = errors.New("not allowed to be started")
	ErrUnknown    = errors.New("no such receiver in this distribution")
	ErrConfig     = errors.New("not a configuration of this receiver")
	ErrSignals    = errors.New("no signal that both the receiver and a pipeline have")
)

// ErrLimit says that too many receivers are wanted.
var ErrLimit = errors.New("too many receivers")

// errOverdue says that a receiver took longer to start than it may.
var errOverdue = errors.New("took too long")

// endWithin is how long Shutdown goes on after the time that a receiver has to stop:
// for all that is not the receiver's.
const endWithin = time.Second

// Runner runs receivers. Make it with New, end it with Shutdown.
type Runner struct {
	o       Options
	ctx     context.Context // ends with Shutdown
	cancel  context.CancelFunc
	running sync.WaitGroup // the goroutines of the places, and calls that are not late
	counts  counts
	hanger  hanger
	thinner thinner
	telling sync.Mutex // one call of Options.Tell at a time

	mu     sync.Mutex // guards all below, and what slots say it guards
	wanted map[place]spec.Spec
	slots  map[place]*slot
	// paces outlive their slots for a while, so that what comes and goes is
	// known to.
	paces map[place]*pacer
	// refused found no room, and this has been told.
	refused map[place]bool
	// calls are all starts and stops that have not returned.
	calls map[*call]bool
	// closed: Shutdown has begun. isOver: it waits for no call any more.
	closed, isOver bool
}

type counts struct{ started, stopped, replaced, failed, overdue, dropped atomic.Uint64 }

// place is where one wanted receiver runs, by [spec.Spec.Key]. Number tells those
// apart that have one key: it is their order in Set.
type place struct {
	key    string
	number int
}

// New checks the options. Nothing is started before Set.
func New(o Options) (*Runner, error) {
	if o.Factories == nil {
		return nil, errors.New("run receivers: this host offers no factories")
	}
	if o.Host == nil || o.Settings.Logger == nil {
		return nil, errors.New("run receivers: no host, or no logger")
	}
	if o.Limit <= 0 {
		return nil, fmt.Errorf("run receivers: %d of them at most, want a limit above 0", o.Limit)
	}
	o.Pace = o.Pace.withDefaults()
	if o.Tell == nil {
		o.Tell = func(Event) {}
	}
	if o.Allow == nil {
		o.Allow = func(component.Type) bool { return false }
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Runner{
		o: o, ctx: ctx, cancel: cancel,
		slots: map[place]*slot{}, paces: map[place]*pacer{}, refused: map[place]bool{},
		calls: map[*call]bool{},
	}, nil
}

// Set says which receivers are wanted from now on, in place of those of the
// call before. It returns at once. After Shutdown it does nothing.
func (r *Runner) Set(wanted []spec.Spec) {
	r.mu.Lock()
	r.wanted = byPlace(wanted)
	for at, s := range r.slots {
		if now, ok := r.wanted[at]; ok {
			s.ask(&now)
		} else {
			s.ask(nil)
		}
	}
	refused := r.admit()
	r.mu.Unlock()
	r.tell(refused...)
}

// Shutdown stops all receivers and waits for them, until ctx ends, at most a second
// more than a receiver has to stop ([Pace.Stop] and a tenth). Its error then names those
// that have not returned, also those that were given up before. Nothing comes from them
// any more. It is safe to call twice.
func (r *Runner) Shutdown(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	ctx, cancel := context.WithTimeout(ctx, patience(r.o.Pace.Stop)+endWithin)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.running.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
		r.giveUp()
		<-done // the places wait for nobody any more
	}
	names := r.unreturned()
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return fmt.Errorf("wait for receivers %s: %w", strings.Join(names, ", "), cmp.Or(ctx.Err(), errOverdue))
}

// Status returns all places, sorted.
func (r *Runner) Status() []Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Status, 0, len(r.slots)+len(r.refused))
	for _, s := range r.slots {
		all = append(all, s.status)
	}
	for at := range r.refused {
		all = append(all, Status{Spec: r.wanted[at], State: Waiting, Err: ErrLimit})
	}
	slices.SortFunc(all, func(a, b Status) int {
		return strings.Compare(a.Spec.Key(), b.Spec.Key())
	})
	return all
}

// Stats returns the totals by now.
func (r *Runner) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	stats := Stats{
		Places: len(r.slots), Held: r.held(), Overdue: r.counts.overdue.Load(),
		Started: r.counts.started.Load(), Stopped: r.counts.stopped.Load(),
		Replaced: r.counts.replaced.Load(), Failed: r.counts.failed.Load(),
		Dropped: r.counts.dropped.Load(),
	}
	for _, s := range r.slots {
		if s.runs {
			stats.Running++
		}
	}
	return stats
}

func byPlace(wanted []spec.Spec) map[place]spec.Spec {
	all := make(map[place]spec.Spec, len(wanted))
	for _, w := range wanted {
		at := place{key: w.Key()}
		for taken := true; taken; {
			if _, taken = all[at]; taken {
				at.number++
			}
		}
		all[at] = w
	}
	return all
}

// admit opens the places that are wanted and are not there, as far as there is
// room, and returns what has to be told of the others. The caller holds mu.
func (r *Runner) admit() (refused []Event) {
	if r.closed {
		return nil
	}
	for at := range r.refused {
		if _, ok := r.wanted[at]; !ok {
			delete(r.refused, at)
		}
	}
	held := r.held()
	for at, want := range r.wanted {
		switch {
		case r.slots[at] != nil:
		case len(r.slots)+held < r.o.Limit:
			delete(r.refused, at)
			r.open(at, want)
		case !r.refused[at]:
			r.refused[at] = true
			refused = append(refused, Event{Kind: Failed, Spec: want, Err: fmt.Errorf("%w: there are %d already", ErrLimit, len(r.slots)+held)})
		}
	}
	return refused
}

// open makes a place and its goroutine. The caller holds mu.
func (r *Runner) open(at place, want spec.Spec) {
	r.forgetPaces(time.Now())
	pace := r.paces[at]
	if pace == nil {
		pace = &pacer{Pace: r.o.Pace}
		r.paces[at] = pace
	}
	s := &slot{
		runner: r, at: at, pace: pace, told: make(chan struct{}, 1),
		want: &want, status: Status{Spec: want, State: Waiting},
	}
	r.slots[at] = s
	r.running.Go(s.run)
}

// leave gives a place up, unless it is wanted again by now.
func (r *Runner) leave(s *slot) bool {
	r.mu.Lock()
	if s.want != nil && !r.closed {
		r.mu.Unlock()
		return false
	}
	delete(r.slots, s.at)
	r.forgetPaces(time.Now())
	refused := r.admit()
	if r.held() > 0 { // there is room for who waits for it
		for _, other := range r.slots {
			other.wake()
		}
	}
	r.mu.Unlock()
	r.tell(refused...)
	return true
}

// forgetPaces forgets those of places that have been given up long ago. The
// caller holds mu.
func (r *Runner) forgetPaces(now time.Time) {
	for at, p := range r.paces {
		if r.slots[at] == nil && p.calm(now) {
			delete(r.paces, at)
		}
	}
}

// tell hands events on. It must be called without mu.
func (r *Runner) tell(events ...Event) {
	r.telling.Lock()
	defer r.telling.Unlock()
	for _, e := range events {
		r.o.Tell(e)
	}
}

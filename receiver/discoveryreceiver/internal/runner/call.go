package runner

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
)

// verb is what is asked of a receiver.
type verb string

const (
	toCreate verb = "create"
	toStart  verb = "start"
	toStop   verb = "stop"
)

// mostHeld is how many calls that do not return a place may have before nothing more
// is tried in it: the third of a kind teaches nobody anything.
const mostHeld = 3

var (
	// errLate is the end of waiting for a call. That it is late has been told.
	errLate = errors.New("has not returned")
	// errHeld says that calls that do not return leave no room.
	errHeld = errors.New("receivers that do not return hold the place")
	// errGivenUp: what is being started is not wanted any more.
	errGivenUp = errors.New("not wanted any more")
)

// call is code of a receiver that runs in a goroutine of its own: from Start or
// Shutdown there is no way back but theirs.
type call struct {
	instance *instance
	at       place
	done     chan struct{} // closed when it has returned
	late     chan struct{} // closed when it takes longer than it may
	err      error         // set before done is closed
	// release lets Shutdown go on without it.
	release func()

	verb verb // guarded by Runner.mu, as all below
	// isAbandoned: nobody waits for it, its gate is closed, and what it starts it
	// stops. isLate: it has been told, too.
	isAbandoned, isLate bool
	timer               *time.Timer
}

// launch begins to start or stop a receiver.
func (r *Runner) launch(i *instance, v verb, at place) *call {
	c := &call{instance: i, at: at, verb: v, done: make(chan struct{}), late: make(chan struct{})}
	r.running.Add(1)
	c.release = sync.OnceFunc(r.running.Done)
	r.mu.Lock()
	r.calls[c] = true
	r.watchTime(c)
	isOver := r.isOver
	r.mu.Unlock()
	if isOver { // there is no time left for it
		r.overdue(c, v)
	}
	go r.carryOut(c)
	return c
}

// watchTime sees to it that a call ends, or that nobody waits for it any more. The
// tenth more is for who has heard the end of its context. The caller holds mu.
func (r *Runner) watchTime(c *call) {
	v := c.verb
	c.timer = time.AfterFunc(patience(r.o.Pace.limit(v)), func() { r.overdue(c, v) })
}

func patience(limit time.Duration) time.Duration { return limit + limit/10 }

// carryOut is the goroutine of a call.
func (r *Runner) carryOut(c *call) {
	defer close(c.done)
	if r.verbOf(c) == toStart {
		if c.err = r.bringUp(c.instance); c.err == nil && r.finish(c) {
			return
		}
		r.turn(c)
	}
	c.err = errors.Join(c.err, r.halt(c))
	r.forget(c)
}

// halt stops a receiver. Its connections end with it.
func (r *Runner) halt(c *call) error {
	if len(c.instance.parts) == 0 {
		c.instance.shut()
		return nil
	}
	defer r.hangUp(c)
	defer r.keepHangingUp(c)()
	return c.instance.stop(r.o.Pace.Stop)
}

func (r *Runner) verbOf(c *call) verb {
	r.mu.Lock()
	defer r.mu.Unlock()
	return c.verb
}

// finish ends a call unless it has been abandoned.
func (r *Runner) finish(c *call) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.isAbandoned {
		return false
	}
	c.timer.Stop()
	delete(r.calls, c)
	c.release()
	return true
}

// turn makes of a start that came to nothing a stop.
func (r *Runner) turn(c *call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.verb = toStop
	if !c.isLate {
		c.timer.Stop()
		r.watchTime(c)
	}
}

// forget ends a call. If it held room, there may be a use for it.
func (r *Runner) forget(c *call) {
	if r.finish(c) {
		return
	}
	r.mu.Lock()
	c.timer.Stop()
	delete(r.calls, c)
	refused := r.admit()
	for _, s := range r.slots {
		s.wake()
	}
	r.mu.Unlock()
	r.tell(refused...)
	c.release()
}

// abandon lets a call run on by itself; false if it has just ended.
func (r *Runner) abandon(c *call) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.calls[c] {
		return false
	}
	c.isAbandoned = true
	c.instance.shut()
	return true
}

// overdue abandons a call that takes longer than it may, and tells of it.
func (r *Runner) overdue(c *call, v verb) {
	r.mu.Lock()
	if !r.calls[c] || c.isLate || c.verb != v {
		r.mu.Unlock()
		return
	}
	c.isLate, c.isAbandoned = true, true
	c.instance.shut()
	isOver := r.isOver
	r.mu.Unlock()
	r.counts.overdue.Add(1)
	if !isOver { // else the error of Shutdown tells
		limit := r.o.Pace.limit(v)
		r.tell(Event{Kind: Overdue, Spec: c.instance.spec, Err: fmt.Errorf("%s: %w after %v", v, errLate, limit)})
	}
	close(c.late)
	c.release()
}

// giveUp declares all calls late that there are.
func (r *Runner) giveUp() {
	r.mu.Lock()
	r.isOver = true
	left := make(map[*call]verb, len(r.calls))
	for c := range r.calls {
		left[c] = c.verb
	}
	r.mu.Unlock()
	for c, v := range left {
		r.overdue(c, v)
	}
}

// await waits for a stop, as long as it may take.
func (r *Runner) await(c *call) error {
	select {
	case <-c.done:
		return c.err
	case <-c.late:
		return fmt.Errorf("%s: %w after %v", toStop, errLate, r.o.Pace.Stop)
	}
}

// retire stops a receiver that has been replaced. Nobody waits for that.
func (r *Runner) retire(old *instance, at place) {
	c := r.launch(old, toStop, at)
	r.attend(c, func() {
		if err := r.await(c); err != nil && !errors.Is(err, errLate) {
			r.complain("a receiver that was replaced did not stop well", old, zap.Error(err))
		}
	})
}

// attend runs a goroutine beside a call. Shutdown waits for it as it does for the call.
func (r *Runner) attend(c *call, f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.isLate { // Shutdown may be over
		go f()
		return
	}
	r.running.Go(f)
}

// room tells what keeps a place that there is from another try.
func (r *Runner) room(at place) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	here := 0
	for c := range r.calls {
		if c.isAbandoned && c.at == at {
			here++
		}
	}
	held := r.held()
	switch {
	case here >= mostHeld:
		return fmt.Errorf("%w: %d of this one", errHeld, here)
	case held > 0 && len(r.slots)+held > r.o.Limit:
		return fmt.Errorf("%w: %w: %d of %d", ErrLimit, errHeld, held, r.o.Limit)
	}
	return nil
}

// held counts the calls that nobody waits for. The caller holds mu.
func (r *Runner) held() int {
	n := 0
	for c := range r.calls {
		if c.isAbandoned {
			n++
		}
	}
	return n
}

// unreturned names the calls that there are.
func (r *Runner) unreturned() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for c := range r.calls {
		about := &c.instance.spec
		names = append(names, fmt.Sprintf("%s of rule %q for container %s (%s)", about.Receiver, about.Rule, about.Target, c.verb))
	}
	return names
}

package runner

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/tallymanhq/tallyman/internal/discovery/spec"
)

// forever is a wait that only being told ends.
const forever = time.Duration(-1)

// slot is one place with what runs in it. All but what is said to be guarded
// belongs to the goroutine of run.
type slot struct {
	runner *Runner
	at     place
	pace   *pacer
	told   chan struct{} // has a value when there may be something to do

	want   *spec.Spec // guarded by Runner.mu; nil: not wanted any more
	status Status     // guarded by Runner.mu
	runs   bool       // guarded by Runner.mu: there is a current one

	// hasPanicked: a panic was logged, by whatever goroutine.
	hasPanicked atomic.Bool

	current *instance // runs; nil if nothing does; set by use
	// failed is what was last told to have failed; failure is its error, nil
	// once it runs.
	failed     *spec.Spec
	failure    error
	unwantedAt time.Time // zero while wanted
}

// ask says what is wanted. The caller holds Runner.mu.
func (s *slot) ask(want *spec.Spec) {
	s.want = want
	s.wake()
}

func (s *slot) wake() {
	select {
	case s.told <- struct{}{}:
	default:
	}
}

func (s *slot) wanted() *spec.Spec {
	s.runner.mu.Lock()
	defer s.runner.mu.Unlock()
	return s.want
}

// run brings what runs in line with what is wanted, until neither is there.
func (s *slot) run() {
	for {
		pause, isOver := s.step()
		if isOver {
			return
		}
		s.rest(pause)
	}
}

func (s *slot) rest(pause time.Duration) {
	var due <-chan time.Time
	if pause != forever {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-s.told:
	case <-due:
	case <-s.runner.ctx.Done():
	}
}

// step does what is to be done now, and returns when to look again.
func (s *slot) step() (pause time.Duration, isOver bool) {
	want := s.wanted()
	switch {
	case s.runner.ctx.Err() != nil:
		s.stop(want == nil)
		return 0, s.runner.leave(s)
	case want == nil:
		return s.wane()
	}
	s.heed(nil)
	if err := s.current.fatal(); err != nil {
		s.lose(err)
	}
	if s.current.runs(want) {
		s.show(*want, Running, nil)
		return forever, false
	}
	return s.try(want), false
}

// heed looks whether the place is wanted, and returns for how long what runs in it, or
// is being started, may go on.
func (s *slot) heed(starting *instance) time.Duration {
	isUnwanted := s.wanted() == nil
	s.current.wane(isUnwanted)
	starting.wane(isUnwanted)
	if !isUnwanted {
		s.unwantedAt = time.Time{}
		return forever
	}
	now := time.Now()
	if s.unwantedAt.IsZero() {
		s.unwantedAt = now
	}
	return max(0, s.unwantedAt.Add(s.runner.o.Pace.Linger).Sub(now))
}

// lose stops a receiver that has given up. It is tried again.
func (s *slot) lose(err error) {
	lost := s.current.spec
	s.stop(false)
	if s.pace.calm(time.Now()) {
		s.failed = nil // it ran for long: this is news
	}
	s.pace.end(err)
	s.fail(&lost, err)
}

// wane stops what is not wanted any more, after a while.
func (s *slot) wane() (pause time.Duration, isOver bool) {
	left := s.heed(nil)
	if left == forever { // it is wanted again
		return 0, false
	}
	if s.current != nil && s.current.fatal() == nil && left > 0 {
		return left, false
	}
	s.stop(true)
	return 0, s.runner.leave(s)
}

// try starts what is wanted unless it is too early or of no use, and returns
// when to try again.
func (s *slot) try(want *spec.Spec) time.Duration {
	if s.failed != nil && !s.failed.Equal(want) {
		s.failed, s.failure = nil, nil
		s.pace.changed()
	}
	if isFinal(s.failure) {
		return forever
	}
	now := time.Now()
	if err := s.runner.room(s.at); err != nil {
		s.hold(want)
		if !errors.Is(s.failure, errHeld) {
			s.fail(want, err)
		}
		return forever // who returns wakes it
	}
	if pause := s.pace.wait(now); pause > 0 {
		s.hold(want)
		return pause
	}
	s.pace.begin(now)
	s.show(*want, Starting, nil)
	err := s.put(want)
	if errors.Is(err, errGivenUp) {
		return 0
	}
	s.pace.end(err)
	if err != nil {
		s.fail(want, err)
		return 0
	}
	s.failure = nil
	s.show(*want, Running, nil)
	return 0
}

// hold keeps the place until what is wanted can be tried. What runs must not go on
// asking an address that may be another container's by now.
func (s *slot) hold(want *spec.Spec) {
	if s.current != nil && s.current.asksOtherwise(want) {
		s.stop(false)
	}
	switch {
	case s.current != nil:
		s.show(s.current.spec, Running, nil)
	case s.failure == nil:
		s.show(*want, Waiting, nil)
	}
}

// put starts what is wanted, in place of what runs.
func (s *slot) put(want *spec.Spec) error {
	if s.current != nil && s.current.sharesStorage(want) {
		s.stop(false)
	}
	next, err := s.begin(want)
	if err != nil && s.current != nil && !errors.Is(err, errGivenUp) {
		// Maybe the two do not get along. If not for that, what runs is about
		// something that is no more.
		s.stop(false)
		if !isFinal(err) && !errors.Is(err, errLate) {
			s.show(*want, Starting, nil)
			next, err = s.begin(want)
		}
	}
	if err != nil {
		return err
	}
	old := s.current
	s.use(next)
	if old == nil {
		s.runner.counts.started.Add(1)
		s.runner.tell(Event{Kind: Started, Spec: *want})
		return nil
	}
	old.gate.muted.Store(true)
	s.runner.counts.replaced.Add(1)
	s.runner.tell(Event{Kind: Replaced, Spec: *want})
	s.runner.retire(old, s.at)
	return nil
}

// begin makes and starts a receiver. What runs at another address tells of it for as
// long as it would of a container that has gone.
func (s *slot) begin(want *spec.Spec) (*instance, error) {
	if old := s.current; old != nil && old.asksOtherwise(want) {
		mute := func() { old.gate.muted.Store(true) }
		defer time.AfterFunc(max(0, s.runner.o.Pace.Linger), mute).Stop()
	}
	made := s.runner.newInstance(*want, s)
	err := s.awaitStart(s.runner.launch(made, toStart, s.at))
	switch {
	case err == nil:
		return made, nil
	case s.runner.ctx.Err() != nil: // that is why
		return nil, errGivenUp
	}
	return nil, err
}

// awaitStart waits for a start for as long as that may take and somebody wants it.
// After that it is left to itself.
func (s *slot) awaitStart(c *call) error {
	defer s.wake() // what was told meanwhile is yet to be looked at
	for {
		left := s.heed(c.instance)
		if left == 0 || s.runner.ctx.Err() != nil {
			if s.runner.abandon(c) {
				return errGivenUp
			}
			<-c.done
			return c.err
		}
		isOver, err := s.awaitOnce(c, left)
		if isOver {
			return err
		}
	}
}

func (s *slot) awaitOnce(c *call, left time.Duration) (isOver bool, err error) {
	var due <-chan time.Time
	if left != forever {
		timer := time.NewTimer(left)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-c.done:
		return true, c.err
	case <-c.late:
		return true, fmt.Errorf("%s: %w after %v", toStart, errLate, s.runner.o.Pace.Start)
	case <-s.told:
	case <-due:
	case <-s.runner.ctx.Done():
	}
	return false, nil
}

// stop stops what runs, if anything does. Its last words count, its last metrics do
// not, unless all ends.
func (s *slot) stop(isUnwanted bool) {
	old := s.current
	if old == nil {
		return
	}
	s.show(old.spec, Stopping, nil)
	s.use(nil)
	if s.runner.ctx.Err() == nil {
		old.gate.muted.Store(true)
	}
	err := s.runner.await(s.runner.launch(old, toStop, s.at))
	s.runner.counts.stopped.Add(1)
	s.runner.tell(Event{Kind: Stopped, Spec: old.spec, Err: err, Unwanted: isUnwanted})
}

// use says what runs now.
func (s *slot) use(current *instance) {
	s.runner.mu.Lock()
	defer s.runner.mu.Unlock()
	s.current, s.runs = current, current != nil
}

// fail notes that something cannot run, and tells it once.
func (s *slot) fail(what *spec.Spec, err error) {
	isNews := s.failed == nil || !s.failed.Equal(what)
	s.failed, s.failure = what, err
	state := Retrying
	if isFinal(err) {
		state = Rejected
	}
	s.show(*what, state, err)
	s.runner.counts.failed.Add(1)
	if isNews && !errors.Is(err, errLate) { // which has been told
		s.runner.tell(Event{Kind: Failed, Spec: *what, Err: err})
	}
}

func (s *slot) show(about spec.Spec, state State, err error) {
	s.runner.mu.Lock()
	defer s.runner.mu.Unlock()
	s.status = Status{Spec: about, State: state, Err: err}
}

// isFinal tells whether trying again is of no use.
func isFinal(err error) bool {
	for _, final := range []error{ErrNotAllowed, ErrUnknown, ErrConfig, ErrSignals} {
		if errors.Is(err, final) {
			return true
		}
	}
	return false
}

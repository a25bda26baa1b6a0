package capture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
)

// queueSize is how many triggers wait while a picture is taken: one takes some
// milliseconds, half a second at most.
const queueSize = 64

// cutWithin bounds one cut. A whole host measured 14 s.
const cutWithin = 5 * time.Minute

var (
	// ErrBusy says that a capture cannot be made now because too many are asked
	// for or open.
	ErrBusy = errors.New("too many captures at once")
	// ErrClosed says that the engine has ended.
	ErrClosed = errors.New("captures have ended")
	// ErrWindow says that a time cannot be captured.
	ErrWindow = errors.New("this time cannot be captured")
	// ErrContainers says that so many cannot be captured but with the whole host.
	ErrContainers = errors.New("too many containers")
	// ErrUnknown says that there is no container of that name or id.
	ErrUnknown = errors.New("no such container")
	// ErrAmbiguous says that there are several.
	ErrAmbiguous = errors.New("more than one container")
)

// Stats count since the start.
type Stats struct {
	// Made and Failed are captures.
	Made, Failed uint64
	// Joined are triggers that became part of an open capture, Quiet those that
	// came too soon after another of their kind and container.
	Joined, Quiet uint64
	// Full are triggers that were dropped because too much was going on.
	Full uint64
	// Open are captures that wait for the end of their window.
	Open int
}

// Engine makes captures. It is safe for concurrent use.
type Engine struct {
	o     Options
	shelf *Shelf
	watch watch
	board board

	queue    chan request  // to the shutter
	pictured chan request  // with pictures, to the one that keeps the journal
	cuts     chan *pending // to the one that cuts
	again    chan *pending // what could not be cut, back to the journal's
	drops    chan drop     // what is to be given up
	ctx      context.Context
	stop     context.CancelFunc
	wait     sync.WaitGroup

	made, failed, joined, quiet, full atomic.Uint64
	openCount                         atomic.Int64

	// Of the goroutine that keeps the journal.
	open     openCaptures
	debounce debounce
}

// Recovery is what was found at the start.
type Recovery struct {
	// Open are the ids of captures that were open when the agent ended; they
	// will be finished.
	Open []string
	// Dropped are those that could not be read, or are too old.
	Dropped []string
}

// Open makes the directories and reads what was left open. Start begins.
func Open(o Options) (*Engine, Recovery, error) {
	o.complete()
	if err := os.MkdirAll(openDir(o.Dir), 0o700); err != nil {
		return nil, Recovery{}, fmt.Errorf("make capture directory: %w", err)
	}
	shelf := NewShelf(o.Dir, o.Keep)
	if err := shelf.sweep(); err != nil {
		return nil, Recovery{}, err
	}
	e := &Engine{o: o, shelf: shelf, queue: make(chan request, queueSize), pictured: make(chan request, picturedSize)}
	// They have room for all that can be open: at most maxOpen.
	e.cuts, e.again = make(chan *pending, maxOpen), make(chan *pending, maxOpen)
	e.drops = make(chan drop)
	e.ctx, e.stop = context.WithCancel(context.Background())
	var recovery Recovery
	var err error
	e.open, recovery, err = loadOpen(shelf, o.Now())
	if err != nil {
		e.stop()
		return nil, Recovery{}, err
	}
	e.openCount.Store(int64(len(e.open)))
	return e, recovery, nil
}

// Start begins to take triggers. Call it once.
func (e *Engine) Start() {
	for _, p := range e.open {
		e.hold(p)
		e.board.show(p, Recording, nil)
	}
	e.wait.Add(3)
	go e.takePictures()
	go e.takeTriggers()
	go e.cutAll()
}

// Close ends the goroutines and waits for them. What is open stays in the
// journal. It is safe to call twice, and without Start.
func (e *Engine) Close() {
	e.stop()
	e.wait.Wait()
}

// Shelf is where the finished captures are.
func (e *Engine) Shelf() *Shelf { return e.shelf }

// Stats returns what was counted.
func (e *Engine) Stats() Stats {
	return Stats{
		Made: e.made.Load(), Failed: e.failed.Load(), Joined: e.joined.Load(),
		Quiet: e.quiet.Load(), Full: e.full.Load(), Open: int(e.openCount.Load()),
	}
}

// offer never waits.
func (e *Engine) offer(r request) bool {
	if slices.Contains(e.o.Off, Kind(r.trigger.Kind)) && r.answer == nil {
		return false
	}
	select {
	case e.queue <- r:
		return true
	default:
		e.full.Add(1)
		return false
	}
}

func (e *Engine) takeTriggers() {
	defer e.wait.Done()
	timer := time.NewTimer(e.untilDue())
	defer timer.Stop()
	for {
		select {
		case <-e.ctx.Done():
			return
		case r := <-e.pictured:
			e.take(r)
		case p := <-e.again:
			e.open = append(e.open, p)
		case d := <-e.drops:
			d.answer <- e.dropped(d.id)
		case <-timer.C:
		}
		e.handOver()
		timer.Reset(e.untilDue())
	}
}

const (
	// idle is how long the timer waits while nothing is open.
	idle = time.Hour
	// lookAgain is how soon a clock that was set is noticed while something is.
	lookAgain = 10 * time.Second
)

func (e *Engine) untilDue() time.Duration {
	wait := idle
	for _, p := range e.open {
		wait = min(wait, p.due.Sub(e.o.Now()), lookAgain)
	}
	return max(wait, 0)
}

// handOver gives what is due to the other goroutine. When that one has too much
// to do, it is tried again a moment later.
func (e *Engine) handOver() {
	now := e.o.Now()
	e.open = slices.DeleteFunc(e.open, func(p *pending) bool {
		// Farther away than any window is long: the clock was set back.
		if p.due.After(now) && p.due.Sub(now) <= longest {
			return false
		}
		// Before it is handed over: from then on it belongs to the other one.
		p.learn(e.known)
		e.board.show(p, Cutting, nil)
		select {
		case e.cuts <- p:
			return true
		default:
			p.due = now.Add(time.Second)
			return false
		}
	})
}

// take decides what becomes of a trigger.
func (e *Engine) take(r request) {
	id, err := e.place(r)
	if r.answer != nil {
		r.answer <- answer{id, err}
	}
}

func (e *Engine) place(r request) (string, error) {
	r.trigger.Container = e.known(r.trigger.Container)
	if asked := !r.window.To.IsZero(); !asked {
		if p := e.open.during(r.trigger, true); p != nil {
			e.joined.Add(1)
			return p.id, e.join(p, r)
		}
	}
	if id, done, err := e.refuse(r); done {
		return id, err
	}
	p, err := e.begin(r)
	if err != nil {
		e.debounce.undo(r.trigger)
		e.failed.Add(1)
		e.o.Failed(Failure{ID: p.id, Triggers: p.triggers, Err: err})
		return "", err
	}
	return p.id, nil
}

// refuse tells whether there is to be no capture of the trigger's own. It is then
// noted in one of others that is open at that time, if there is one.
func (e *Engine) refuse(r request) (id string, done bool, err error) {
	asked, room := !r.window.To.IsZero(), int(e.openCount.Load()) < maxOpen
	if room && (asked || e.debounce.allows(r.trigger)) {
		return "", false, nil
	}
	if p := e.open.during(r.trigger, false); p != nil && !asked {
		e.joined.Add(1)
		return p.id, true, e.join(p, r)
	}
	if !room {
		e.full.Add(1)
		return "", true, ErrBusy
	}
	e.quiet.Add(1)
	return "", true, nil
}

// known completes what a trigger says of its container.
func (e *Engine) known(c bundle.Container) bundle.Container {
	if e.o.Entities == nil || c.ID == "" {
		return c
	}
	entity, ok := e.o.Entities.Lookup(c.ID)
	if !ok {
		return c
	}
	return completed(bundle.Container{
		ID: c.ID, Name: clean(entity.Name), Image: clean(entity.Image), Service: clean(entity.Service), Project: clean(entity.Project),
	}, c)
}

// cutAll cuts what is handed over, one after the other.
func (e *Engine) cutAll() {
	defer e.wait.Done()
	for {
		select {
		case <-e.ctx.Done():
			return
		case p := <-e.cuts:
			e.cutOne(p)
		}
	}
}

func (e *Engine) cutOne(p *pending) {
	ctx, cancel := context.WithTimeout(e.ctx, cutWithin)
	defer cancel()
	made, err := e.cut(ctx, p)
	if e.ctx.Err() != nil && err != nil {
		return // the agent ends: it stays in the journal, and pinned until the store ends
	}
	if err != nil {
		e.cutFailed(p, err)
		return
	}
	p.free()
	e.openCount.Add(-1)
	e.board.finished(p.id)
	e.made.Add(1)
	e.o.Done(made)
}

// maxAttempts is how often a cut is tried, each time a minute later than the time
// before: ten minutes in all, in which somebody may free the disk that is full.
// Then the window is let go, and the journal stays for the next start.
const maxAttempts = 5

func (e *Engine) cutFailed(p *pending, err error) {
	p.attempts++
	failure := Failure{ID: p.id, Triggers: p.triggers, Err: err}
	shown := p.unfinished(Broken, err)
	if p.attempts == maxAttempts {
		p.free()
		e.openCount.Add(-1)
		e.failed.Add(1)
		e.board.put(shown)
		failure.AtStart = true
		e.o.Failed(failure)
		return
	}
	failure.Retry = time.Duration(p.attempts) * time.Minute
	failure.Triggers = shown.Triggers // from here on the capture is another goroutine's
	p.due = e.o.Now().Add(failure.Retry)
	e.again <- p
	e.board.put(shown)
	e.o.Failed(failure)
}

package docker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// patience is for what takes milliseconds on a machine that others load.
const patience = 20 * time.Second

// atOnce is for coming back to an engine that is there again: longestPause and a few
// answers of an engine on such a machine.
const atOnce = 10 * time.Second

var errNotYet = errors.New("not yet")

// tape records what a handler is told.
type tape struct {
	// block, if set, is called with each event before it is recorded.
	block func(Event)

	mu     sync.Mutex // guards what follows
	lines  []string   // one for each call
	events []Event
	known  map[string]*Container // all that were ever put
	engine Engine
	reason error // of the last outage
}

func newTape() *tape { return &tape{known: map[string]*Container{}} }

func (r *tape) write(format string, args ...any) {
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

func (r *tape) Connected(e Engine) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.engine = e
	r.write("connected")
}

func (r *tape) Put(c *Container) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known[c.ID] = c
	r.write("put %s", c.ID)
}

func (r *tape) Gone(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.write("gone %s", id)
}

func (r *tape) Absent(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.write("absent %s", id)
}

func (r *tape) Event(e Event) {
	if r.block != nil {
		r.block(e)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	subject := e.ID
	if e.Container != "" {
		subject = e.Container
	}
	r.write("%s %s", e.Action, subject)
}

func (r *tape) Synced() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.write("synced")
}

func (r *tape) Disconnected(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reason = err
	r.write("disconnected")
}

// all returns the calls so far.
func (r *tape) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.lines)
}

// count tells how often a line was written.
func (r *tape) count(line string) int {
	n := 0
	for _, l := range r.all() {
		if l == line {
			n++
		}
	}
	return n
}

// of returns the events about one container.
func (r *tape) of(id string) []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []Event
	for _, e := range r.events {
		if e.ID == id || e.Container == id {
			list = append(list, e)
		}
	}
	return list
}

// actions are those about one container, in order.
func (r *tape) actions(id string) []string {
	var list []string
	for _, e := range r.of(id) {
		list = append(list, e.Action)
	}
	return list
}

// last returns a container as it was told last.
func (r *tape) last(id string) *Container {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known[id]
}

// before reports whether one line was first written before the other one was.
func (r *tape) before(one, other string) bool {
	lines := r.all()
	at := slices.Index(lines, one)
	return at >= 0 && at < slices.Index(lines, other)
}

// waitFor waits for a line to be written so many times.
func (r *tape) waitFor(t testing.TB, line string, times int) {
	t.Helper()
	testkit.Eventually(t, patience, func() error {
		if n := r.count(line); n < times {
			return fmt.Errorf("%w: %q came %d times of %d; %d lines, last reason %v",
				errNotYet, line, n, times, len(r.all()), r.why())
		}
		return nil
	})
}

func (r *tape) why() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reason
}

// tally counts the events of the containers named, by "id action".
func (r *tape) tally(ids ...string) map[string]int {
	counts := map[string]int{}
	for _, id := range ids {
		for _, e := range r.of(id) {
			if e.Type == typeContainer {
				counts[id+" "+e.Action]++
			}
		}
	}
	return maps.Clone(counts)
}

// watch runs a watcher until the end of the test, or until the function
// returned is called.
func watch(t testing.TB, options WatcherOptions, h Handler) (*Watcher, func()) {
	t.Helper()
	w, err := NewWatcher(options)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.Run(ctx, h)
	}()
	stop := func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return w, stop
}

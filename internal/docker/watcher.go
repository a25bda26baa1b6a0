package docker

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"
)

const (
	// firstPause and longestPause are between attempts to connect. An engine
	// that comes back is to be caught up with within 2 s, and an attempt on a
	// socket that is not there costs microseconds.
	firstPause   = 100 * time.Millisecond
	longestPause = time.Second
	// replayMargin is asked for again before the last event: the engine stamps
	// events before it puts them in order, so an older one may have followed.
	replayMargin = time.Second
)

// WatcherOptions say what to watch.
type WatcherOptions struct {
	// Endpoint is as in ClientOptions.
	Endpoint string
	// Images fills in ImageTags and ImageDigests.
	Images bool
	// EventTypes are container, image, network; nil is all three. Without
	// container nothing would be known to have changed, so it is always in.
	EventTypes []string
	// Timeout is as in ClientOptions.
	Timeout time.Duration
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Stats are totals since the Watcher was made.
type Stats struct {
	// Connected tells whether events are being followed at the moment, and
	// Containers how many are known.
	Connected  bool
	Containers int
	// Connections counts those that got as far as the list of containers,
	// Events what was handed out, Recovered how many of them the engine did not
	// tell, and Repeated what it told twice and was handed out once.
	Connections, Events, Recovered, Repeated uint64
	// Inspects counts questions for one container. Errors are questions without
	// a usable answer, Malformed events that could not be read, and WantsDropped
	// those for which the queue had no room.
	Inspects, Errors, Malformed, WantsDropped uint64
}

type counters struct {
	connected                                atomic.Bool
	containers                               atomic.Int64
	connections, events, recovered, repeated atomic.Uint64
	inspects, errors, malformed, wantsLost   atomic.Uint64
}

// Watcher follows the containers of one engine and tells a Handler. Want and
// Stats may be called from any goroutine, at any time; Run once.
type Watcher struct {
	options WatcherOptions
	client  *Client
	wants   *wants
	counts  counters

	// Of the goroutine of Run:
	unanswered []string // asked for when the connection broke
	handler    Handler
	ledger     *ledger
	since      time.Time           // when the first stream was opened
	synced     bool                // once at least: changes are news from then on
	down       bool                // and the handler knows
	again      map[string]struct{} // asked about by ourselves, and still in wants
}

// NewWatcher checks the options. Nothing is connected before Run.
func NewWatcher(options WatcherOptions) (*Watcher, error) {
	c, err := NewClient(ClientOptions{Endpoint: options.Endpoint, Timeout: options.Timeout})
	if err != nil {
		return nil, err
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.EventTypes == nil {
		options.EventTypes = []string{typeContainer, typeImage, typeNetwork}
	}
	for _, t := range options.EventTypes {
		if uses[t] == nil {
			return nil, fmt.Errorf("watch events of type %q: %w (container, image and network are known)", t, errShape)
		}
	}
	if !slices.Contains(options.EventTypes, typeContainer) {
		options.EventTypes = append([]string{typeContainer}, options.EventTypes...)
	}
	return &Watcher{options: options, client: c, wants: newWants(), ledger: newLedger(), again: map[string]struct{}{}}, nil
}

// Run connects, tells the handler, and connects again after each outage, until
// ctx ends. All calls of the handler are made by the goroutine that called Run.
// Nothing is left running or open when it returns.
func (w *Watcher) Run(ctx context.Context, h Handler) {
	w.handler = h
	defer w.client.Close()
	defer w.counts.connected.Store(false)
	pause := firstPause
	for {
		begun := w.options.Now()
		err := w.connect(ctx)
		if ctx.Err() != nil {
			return
		}
		w.counts.connected.Store(false)
		if !w.down {
			w.down = true
			h.Disconnected(err)
		}
		// One that ends at once each time must not cost an inspect of all
		// containers each 100 ms.
		if w.options.Now().Sub(begun) > longestPause {
			pause = firstPause
		}
		if !wait(ctx, pause) {
			return
		}
		pause = min(2*pause, longestPause)
	}
}

// wait returns false when ctx ended before the time was over.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Want asks for a container that the handler does not know, by its full id. It
// is answered with Put or Absent, soon if there is a connection, else after the
// next one. It is no error to ask twice, or for nonsense, which is ignored; what
// does not fit into the queue is counted and has to be asked again.
func (w *Watcher) Want(id string) {
	if isID(id) && !w.wants.add(id) {
		w.counts.wantsLost.Add(1)
	}
}

// Stats returns the totals by now.
func (w *Watcher) Stats() Stats {
	c := &w.counts
	return Stats{
		Connected: c.connected.Load(), Containers: int(c.containers.Load()),
		Connections: c.connections.Load(), Events: c.events.Load(), Recovered: c.recovered.Load(), Repeated: c.repeated.Load(),
		Inspects: c.inspects.Load(), Errors: c.errors.Load(), Malformed: c.malformed.Load(), WantsDropped: c.wantsLost.Load(),
	}
}

// connect lives as long as one connection and returns why it ended.
func (w *Watcher) connect(ctx context.Context) error {
	engine, err := w.client.Engine(ctx)
	if err != nil {
		return err
	}
	// Before anything is listed: what happens from here on is in the stream.
	opened := w.options.Now()
	want := choice{types: w.options.EventTypes, podman: engine.Runtime == "podman", since: w.from()}
	events, err := w.client.events(ctx, want)
	if err != nil {
		return err
	}
	// A copy, because the stream is read while the events before it are handled.
	want.known = maps.Clone(w.ledger.events.known)
	f := startFeed(events, want, w.options.Now, &w.counts)
	defer f.stop()
	var past []*message
	if w.since.IsZero() {
		w.since = opened
	} else {
		// The stream tells the same again, but when it is done with that it does
		// not say. This answer has an end.
		want.until = w.options.Now()
		past = w.client.past(ctx, want, &w.counts)
	}
	list, err := w.client.List(ctx)
	if err != nil {
		return err
	}
	w.counts.connections.Add(1)
	w.client.ForgetImages() // their events may be lost
	w.down = false
	w.handler.Connected(engine)
	if err := w.sync(ctx, list, past, f); err != nil {
		return err
	}
	w.counts.connected.Store(true)
	return w.follow(ctx, f)
}

// from returns from when on the engine is asked for events: zero is now.
func (w *Watcher) from() time.Time {
	if w.since.IsZero() {
		return time.Time{}
	}
	if from := w.ledger.from(); from.After(w.since) {
		return from
	}
	return w.since
}

// follow hands out events and answers until the stream ends.
func (w *Watcher) follow(ctx context.Context, f *feed) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case m, ok := <-f.messages:
			if !ok {
				return f.err
			}
			events := w.handle(ctx, m)
			w.settle(m.about())
			for _, e := range events {
				w.emit(e)
			}
		case <-w.wants.wake:
			w.answerWant(ctx, timer)
		case <-timer.C:
			w.answerWant(ctx, timer)
		}
	}
}

// answerWant answers one question and sets the timer for the next.
func (w *Watcher) answerWant(ctx context.Context, timer *time.Timer) {
	id, pause := w.wants.take(w.options.Now())
	if id == "" {
		if pause > 0 {
			timer.Reset(pause)
		}
		return
	}
	timer.Reset(0)
	w.answer(ctx, id)
}

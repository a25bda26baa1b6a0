package api

import (
	"context"
	"errors"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// hub encodes what is new once a tick, for all clients. Its goroutine owns the list of
// clients and the position in each source.
type hub struct {
	o       Options
	columns []Column
	step    time.Duration

	join, leave chan *client
	quit, ended chan struct{}
	once        sync.Once

	number            atomic.Int64
	dropped, rejected atomic.Uint64

	clients  map[*client]struct{}
	since    time.Time
	entities uint64
	captures uint64
	feed     *Feed
	missed   uint64
	// hello is the first message of whoever comes before the next tick, or nil: it
	// is the only large one, and somebody may come back again and again.
	hello []byte
}

// errFull refuses a client; see Limits.LiveClients.
var errFull = errors.New("too many live views are open")

func newHub(o Options) *hub {
	h := &hub{
		o: o, clients: map[*client]struct{}{},
		join: make(chan *client), leave: make(chan *client),
		quit: make(chan struct{}), ended: make(chan struct{}),
	}
	if o.Live != nil {
		h.columns, h.step = o.Live.Columns()
	}
	return h
}

func (h *hub) stats() LiveStats {
	return LiveStats{Clients: h.number.Load(), Dropped: h.dropped.Load(), Rejected: h.rejected.Load()}
}

// stop ends all clients. run returns.
func (h *hub) stop() {
	h.once.Do(func() { close(h.quit) })
}

// run serves until stop. It has no ticker without a client.
func (h *hub) run() {
	defer close(h.ended)
	var tick <-chan time.Time
	ticker := time.NewTicker(h.o.Limits.LiveEvery)
	ticker.Stop()
	defer ticker.Stop()
	for {
		select {
		case c := <-h.join:
			if h.admit(c) && tick == nil {
				ticker.Reset(h.o.Limits.LiveEvery)
				tick = ticker.C
			}
		case c := <-h.leave:
			h.remove(c)
		case <-tick:
			h.tick()
		case <-h.quit:
			for c := range h.clients {
				h.remove(c)
				c.cut() // one that does not read must not hold the shutdown up
			}
			return
		}
		if len(h.clients) == 0 && tick != nil {
			ticker.Stop()
			tick = nil
		}
	}
}

func (h *hub) admit(c *client) bool {
	if len(h.clients) >= h.o.Limits.LiveClients {
		h.rejected.Add(1)
		c.admitted <- errFull
		return false
	}
	if len(h.clients) == 0 {
		h.begin()
	}
	if h.hello == nil {
		view := h.o.Live.Snapshot()
		if len(h.clients) == 0 {
			h.since = view.At
		}
		h.hello = appendHello(nil, h, view)
	}
	h.clients[c] = struct{}{}
	h.number.Store(int64(len(h.clients)))
	c.messages <- h.hello // the first one has room
	c.admitted <- nil
	return true
}

// begin finds the present position in all sources: what was before is in the first
// answers of the other endpoints.
func (h *hub) begin() {
	if h.o.Entities != nil {
		_, h.entities = h.o.Entities.Changed(math.MaxUint64)
	}
	if h.o.Captures != nil {
		h.captures = h.o.Captures.Version()
	}
	if h.o.Events != nil {
		feed := h.o.Events.Follow(maxFresh)
		h.feed, h.missed = &feed, feed.Missed()
	}
}

func (h *hub) remove(c *client) {
	if _, ok := h.clients[c]; !ok {
		return // dropped before
	}
	delete(h.clients, c)
	h.number.Store(int64(len(h.clients)))
	close(c.messages)
	if len(h.clients) == 0 {
		h.hello = nil // no tick will say that it is old
	}
	if len(h.clients) == 0 && h.feed != nil {
		h.feed.Close()
		h.feed = nil
	}
}

// tick sends the news of all sources as one message.
func (h *hub) tick() {
	view := h.o.Live.Delta(h.since)
	h.since, h.hello = view.At, nil
	text := appendRows(nil, view)
	text = h.appendEvents(text)
	text = h.appendEntities(text)
	text = h.appendCaptures(text)
	for c := range h.clients {
		select {
		case c.messages <- text:
		default:
			h.dropped.Add(1)
			h.remove(c)
			c.cut()
		}
	}
}

// client is one reader of /api/live.
type client struct {
	messages chan []byte
	admitted chan error

	control *http.ResponseController
	mu      sync.Mutex
	isCut   bool
}

// cut ends a write that hangs, at once.
func (c *client) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.isCut = true
	_ = c.control.SetWriteDeadline(time.Unix(1, 0)) // see pacedWriter.deadline
}

// arm gives the next write its time, unless the client has been cut off.
func (c *client) arm(stall time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.isCut {
		_ = c.control.SetWriteDeadline(time.Now().Add(stall)) // see pacedWriter.deadline
	}
	return !c.isCut
}

func (s *Server) live(w http.ResponseWriter, r *http.Request) *failure {
	if s.o.Live == nil || s.o.Opened != nil {
		return notFound("there are no live values here")
	}
	if paced, ok := w.(*pacedWriter); ok {
		w = paced.ResponseWriter // the deadlines are the client's own here
	}
	c := &client{
		messages: make(chan []byte, s.o.Limits.LiveBehind),
		admitted: make(chan error, 1),
		control:  http.NewResponseController(w),
	}
	if f := s.hub.enter(r.Context(), c); f != nil {
		return f
	}
	defer s.hub.exit(c)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // what a proxy in front must not collect
	if r.Method == http.MethodHead {
		return nil
	}
	c.send(r.Context(), w, s.o.Limits.Stall)
	return nil
}

// enter waits until the hub has taken the client or refused it.
func (h *hub) enter(ctx context.Context, c *client) *failure {
	select {
	case h.join <- c:
	case <-h.quit:
		return unavailable("the recorder stops")
	case <-ctx.Done():
		return queryFailure(ctx.Err())
	}
	if err := <-c.admitted; err != nil {
		return unavailable(err.Error())
	}
	return nil
}

func (h *hub) exit(c *client) {
	select {
	case h.leave <- c:
	case <-h.ended:
	}
}

// send writes until the hub ends it, the client leaves, or does not read.
func (c *client) send(ctx context.Context, w http.ResponseWriter, stall time.Duration) {
	for {
		select {
		case text, ok := <-c.messages:
			if !ok || !c.arm(stall) {
				return
			}
			if _, err := w.Write(text); err != nil {
				return
			}
			if err := c.control.Flush(); err != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

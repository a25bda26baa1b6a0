package containertagprocessor

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// maxHeld bounds what waits for tags, in points or records; the last batch may go
// beyond. A second of 200 containers is about 12,000 points, and only new ones wait.
// Large ones count as several, of itemBytes each: all in all it is 32 MB, a twelfth
// of what the memory_limiter allows.
const (
	maxHeld   = 50_000
	itemBytes = 640
)

// hold keeps data of new containers until their tags are there or their time is
// over. Order is kept within a container: while some of its data is here, later
// data has to come here, too.
type hold[T any] struct {
	// pass tags the data of one container and hands it on. It is called by one
	// goroutine.
	pass func([]T)
	// count counts points or records, large ones as several.
	count func(T) int
	now   func() time.Time

	held atomic.Int64 // items; read without the lock
	wake chan struct{}
	done chan struct{}
	wg   sync.WaitGroup

	mu      sync.Mutex // guards what follows
	closed  bool
	waiting map[string]*heldBack[T]
	order   []string // keys as they came
}

type heldBack[T any] struct {
	data []T
	// items are counted when data comes: once passed it is somebody else's.
	items    int64
	deadline time.Time
	// ready: its tags have arrived.
	ready bool
}

func newHold[T any](pass func([]T), count func(T) int, now func() time.Time) *hold[T] {
	return &hold[T]{
		pass: pass, count: count, now: now,
		wake: make(chan struct{}, 1), done: make(chan struct{}),
		waiting: map[string]*heldBack[T]{},
	}
}

func (h *hold[T]) start() { h.wg.Go(h.run) }

// close hands on all there is and stops.
func (h *hold[T]) close() {
	h.mu.Lock()
	already := h.closed
	h.closed = true
	h.mu.Unlock()
	if already {
		return
	}
	close(h.done)
	h.wg.Wait()
}

// isEmpty is true while nothing at all waits.
func (h *hold[T]) isEmpty() bool { return h.held.Load() == 0 }

// size is the number of items that wait.
func (h *hold[T]) size() int64 { return h.held.Load() }

// has tells whether data of this container waits, so that more must.
func (h *hold[T]) has(key string) bool {
	if h.isEmpty() {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.waiting[key] != nil
}

// accepts tells whether there is room.
func (h *hold[T]) accepts() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.closed && h.held.Load() < maxHeld
}

// add takes data of a container until deadline, unless earlier data of it has
// an earlier one. Whether there is room is asked before. It reports false, and
// takes nothing, after close.
func (h *hold[T]) add(key string, deadline time.Time, data T) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	w := h.waiting[key]
	if w == nil {
		w = &heldBack[T]{deadline: deadline}
		h.waiting[key] = w
		h.order = append(h.order, key)
		h.signal()
	}
	items := max(1, int64(h.count(data))) // a resource without points takes room, too
	w.data = append(w.data, data)
	w.items += items
	h.held.Add(items)
	return true
}

// changed says that there is news about a container; ready that it need not
// wait any longer.
func (h *hold[T]) changed(key string, ready bool) {
	if h.isEmpty() || !ready {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if w := h.waiting[key]; w != nil {
		w.ready = true
		h.signal()
	}
}

func (h *hold[T]) signal() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

func (h *hold[T]) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if next, any := h.release(false); any {
			timer.Reset(max(0, next.Sub(h.now())))
		}
		select {
		case <-h.wake:
		case <-timer.C:
		case <-h.done:
			h.release(true)
			return
		}
	}
}

// release hands on what is ready or due, or everything, and returns when it
// wants to be called again.
func (h *hold[T]) release(all bool) (next time.Time, any bool) {
	for {
		key, next, any := h.due(all)
		if key == "" {
			return next, any
		}
		data, items := h.take(key)
		h.pass(data)
		h.passed(key, items)
	}
}

// due picks a container whose data can go; "" if there is none.
func (h *hold[T]) due(all bool) (key string, next time.Time, any bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	for _, key := range h.order {
		w := h.waiting[key]
		if all || w.ready || !now.Before(w.deadline) {
			w.ready = true // what comes now goes at once
			return key, time.Time{}, false
		}
		if !any || w.deadline.Before(next) {
			next, any = w.deadline, true
		}
	}
	return "", next, any
}

// take returns the data of a container so far. The container stays in waiting
// until passed finds nothing new, so that nothing overtakes.
func (h *hold[T]) take(key string) (data []T, items int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := h.waiting[key]
	data, items = w.data, w.items
	w.data, w.items = nil, 0
	return data, items
}

func (h *hold[T]) passed(key string, items int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held.Add(-items)
	if len(h.waiting[key].data) > 0 {
		return
	}
	delete(h.waiting, key)
	at := slices.Index(h.order, key)
	h.order = slices.Delete(h.order, at, at+1)
}

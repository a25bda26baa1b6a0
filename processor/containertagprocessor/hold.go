package containertagprocessor

import (
	"sync"
	"sync/atomic"
	"time"
)

// maxHeld bounds what waits for tags, in points or records; one resource may go
// beyond. A second of 200 containers is about 12,000 points, and only new ones wait.
const maxHeld = 50_000

// hold keeps data of new containers until their tags are there or their time is
// over. Order is kept within a container: while some of its data is here, later
// data has to come here, too.
type hold[T any] struct {
	// pass tags the data of one container and hands it on. It is called by one
	// goroutine.
	pass func([]T)
	// count counts points or records.
	count func(T) int
	now   func() time.Time

	held atomic.Int64 // items; read without the lock
	wake chan struct{}
	done chan struct{}
	wg   sync.WaitGroup

	mu      sync.Mutex // guards what follows
	closed  bool
	waiting map[string]*heldBack[T]
	order   []string // keys by deadline
}

type heldBack[T any] struct {
	data     []T
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

// add takes data of a container until deadline, unless earlier data of it has
// an earlier one. It reports false, and takes nothing, when there is too much
// already and after close.
func (h *hold[T]) add(key string, deadline time.Time, take func() T) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.held.Load() >= maxHeld {
		return false
	}
	w := h.waiting[key]
	if w == nil {
		w = &heldBack[T]{deadline: deadline}
		h.waiting[key] = w
		h.order = append(h.order, key)
		h.signal()
	}
	data := take()
	w.data = append(w.data, data)
	h.held.Add(int64(h.count(data)))
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
		key, data, next, any := h.take(all)
		if len(data) == 0 {
			return next, any
		}
		h.pass(data)
		h.passed(key, data)
	}
}

// take picks a container whose data can go, and its data so far. The container
// stays in waiting until passed finds nothing new, so that nothing overtakes.
func (h *hold[T]) take(all bool) (key string, data []T, next time.Time, any bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	for _, key := range h.order {
		w := h.waiting[key]
		if all || w.ready || !now.Before(w.deadline) {
			w.ready = true // what comes now goes at once
			data, w.data = w.data, nil
			return key, data, time.Time{}, false
		}
		if !any || w.deadline.Before(next) {
			next, any = w.deadline, true
		}
	}
	return "", nil, next, any
}

func (h *hold[T]) passed(key string, data []T) {
	h.mu.Lock()
	defer h.mu.Unlock()
	items := 0
	for _, d := range data {
		items += h.count(d)
	}
	h.held.Add(-int64(items))
	if len(h.waiting[key].data) > 0 {
		return
	}
	delete(h.waiting, key)
	for i, k := range h.order {
		if k == key {
			h.order = append(h.order[:i], h.order[i+1:]...)
			break
		}
	}
}

package flightrecorderexporter

import "sync"

// queue keeps batches that wait, the oldest first. It is safe for concurrent use by
// any number that put and one that takes.
type queue[T any] struct {
	limit int // of the weight of what waits

	mu      sync.Mutex // guards what follows
	more    sync.Cond  // something waits, or the queue is closed
	waiting []batch[T]
	head    int // where the oldest is; what is before has been taken
	weight  int // of what waits
	closed  bool
	counts  counts
}

// batch is what a pipeline hands on at once.
type batch[T any] struct {
	data T
	// items are its points, records or spans; weight is what they count against
	// the limit, see weigh.
	items, weight int
}

// counts are numbers of items. All but waiting only grow.
type counts struct {
	waiting int
	taken   uint64
	// full were dropped for newer ones, stopped because nobody takes any more.
	full, stopped uint64
}

func newQueue[T any](limit int) *queue[T] {
	q := &queue[T]{limit: limit}
	q.more.L = &q.mu
	return q
}

// put adds a batch, and drops the oldest ones while they weigh too much together. One
// that is too large is kept alone. It never waits for who takes.
func (q *queue[T]) put(b batch[T]) {
	if b.items == 0 {
		return // nothing that could be lost; any number of them would fit
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		q.counts.stopped += uint64(b.items)
		return
	}
	q.makeRoom()
	q.waiting = append(q.waiting, b)
	q.weight += b.weight
	q.counts.waiting += b.items
	for q.weight > q.limit && len(q.waiting)-q.head > 1 {
		q.counts.full += uint64(q.shift().items)
	}
	q.more.Signal()
}

// makeRoom uses the places of what was taken again before the slice would grow, but
// only if half of it is moved: else a full queue would move with every batch. The lock
// is held.
func (q *queue[T]) makeRoom() {
	if len(q.waiting) < cap(q.waiting) || q.head*2 < len(q.waiting) || q.head == 0 {
		return
	}
	kept := copy(q.waiting, q.waiting[q.head:])
	clear(q.waiting[kept:])
	q.waiting, q.head = q.waiting[:kept], 0
}

// shift takes the oldest. There is one, and the lock is held.
func (q *queue[T]) shift() batch[T] {
	first := q.waiting[q.head]
	q.waiting[q.head] = batch[T]{} // so that it does not live as long as the slice
	q.head++
	if q.head == len(q.waiting) {
		q.waiting, q.head = q.waiting[:0], 0
	}
	q.weight -= first.weight
	q.counts.waiting -= first.items
	return first
}

// take waits for a batch and returns the oldest. After close it returns what is left,
// and then false.
func (q *queue[T]) take() (data T, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) == 0 {
		if q.closed {
			return data, false
		}
		q.more.Wait()
	}
	first := q.shift()
	q.counts.taken += uint64(first.items)
	return first.data, true
}

// close lets nothing more in. What waits can still be taken.
func (q *queue[T]) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.more.Broadcast()
}

// abandon drops what waits. It is for a closed queue.
func (q *queue[T]) abandon() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) > 0 {
		q.counts.stopped += uint64(q.shift().items)
	}
}

// stats returns the counts as they are now.
func (q *queue[T]) stats() counts {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.counts
}

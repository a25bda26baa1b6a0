package roster

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/tallymanhq/tallyman/internal/docker"
)

// Item is one event and when it was heard of.
type Item struct {
	Event docker.Event
	// Runtime is the engine's name.
	Runtime  string
	Observed time.Time
}

// Drops counts the events that did not get through.
type Drops struct {
	// Full: the queue had no room.
	Full atomic.Uint64
	// Refused: the next consumer returned an error.
	Refused atomic.Uint64
	// Abandoned: the receiver had to end before they were handed on.
	Abandoned atomic.Uint64
}

// Queue holds events until somebody takes them.
type Queue struct {
	limit int
	want  func(*docker.Event) bool
	drops *Drops
	// wake holds one token while there may be something to take.
	wake chan struct{}

	mu     sync.Mutex // guards items and closed
	items  []Item
	closed bool
}

// NewQueue returns a queue of at most limit events; those that want refuses do
// not enter it. What has no room is counted in drops.
func NewQueue(limit int, want func(*docker.Event) bool, drops *Drops) *Queue {
	return &Queue{limit: limit, want: want, drops: drops, wake: make(chan struct{}, 1)}
}

// add puts an event at the end, or counts it as dropped. It never waits. The
// ones that came first stay: they are what the later ones follow from.
func (q *Queue) add(i Item) {
	if !q.want(&i.Event) {
		return
	}
	q.mu.Lock()
	full := q.closed || len(q.items) >= q.limit
	if !full {
		q.items = append(q.items, i)
	}
	q.mu.Unlock()
	if full {
		q.drops.Full.Add(1)
		return
	}
	q.signal()
}

func (q *Queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default: // one token is enough
	}
}

// Take waits for events and returns all there are, the oldest first. It
// returns none when the queue is closed and empty. One goroutine may call it.
func (q *Queue) Take() []Item {
	for {
		q.mu.Lock()
		items, closed := q.items, q.closed
		q.items = nil
		q.mu.Unlock()
		if len(items) > 0 || closed {
			return items
		}
		<-q.wake
	}
}

// Close lets nothing more in and ends Take when the queue is empty. Detach
// the queue first.
func (q *Queue) Close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.signal()
}

package docker

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// maxWants is how many questions wait. A burst of data from more unknown
	// containers than that is asked again by the data that follow.
	maxWants = 256
	// wantsPerSecond bounds what somebody costs the engine who sends ids of
	// containers that do not exist; 50 inspects of 1 ms are a twentieth of a
	// processor.
	wantsPerSecond = 50
	// wantsBurst lets a compose project start at once.
	wantsBurst = 20
)

// wants is a queue of ids without repeats. Safe for concurrent use, with one
// goroutine that takes.
type wants struct {
	wake    chan struct{} // has a value when there may be something
	limiter *rate.Limiter

	mu     sync.Mutex // guards the fields below
	queue  []string
	queued map[string]struct{}
}

func newWants() *wants {
	return &wants{
		wake: make(chan struct{}, 1), queued: map[string]struct{}{},
		limiter: rate.NewLimiter(wantsPerSecond, wantsBurst),
	}
}

// add returns false when there is no room.
func (w *wants) add(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.queued[id]; ok {
		return true
	}
	if len(w.queue) == maxWants {
		return false
	}
	w.queue = append(w.queue, id)
	w.queued[id] = struct{}{}
	select {
	case w.wake <- struct{}{}:
	default:
	}
	return true
}

// take returns the next id, or how long to wait for it. With neither there is none.
func (w *wants) take(now time.Time) (id string, wait time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		return "", 0
	}
	reservation := w.limiter.ReserveN(now, 1)
	if wait = reservation.DelayFrom(now); wait > 0 {
		reservation.CancelAt(now)
		return "", wait
	}
	id, w.queue = w.queue[0], w.queue[1:]
	delete(w.queued, id)
	return id, 0
}

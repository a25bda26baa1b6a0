package rounds

import (
	"context"
	"sync"
	"time"
)

// Max bounds what waits for a round: several times the containers of a large
// node (the kubelet's default is 110 pods).
const Max = 4096

// Want is what somebody asked for: a container, or with an empty id a pod.
type Want struct{ ID, PodUID string }

// Queue holds wants, each once, until a round answers them. Make it with
// [NewQueue].
type Queue struct {
	due chan struct{} // holds one value when a round is due

	mu    sync.Mutex
	wants map[Want]struct{}
}

// NewQueue returns an empty queue.
func NewQueue() *Queue {
	return &Queue{due: make(chan struct{}, 1), wants: make(map[Want]struct{})}
}

// Add makes a round due. It does not block; what exceeds [Max] is forgotten.
func (q *Queue) Add(w Want) {
	q.mu.Lock()
	q.add(w)
	q.mu.Unlock()
	q.Soon()
}

func (q *Queue) add(w Want) {
	if len(q.wants) < Max {
		q.wants[w] = struct{}{}
	}
}

// Soon makes a round due; two that are due are one.
func (q *Queue) Soon() {
	select {
	case q.due <- struct{}{}:
	default:
	}
}

// Due has a value when a round is due.
func (q *Queue) Due() <-chan struct{} { return q.due }

// Take empties the queue.
func (q *Queue) Take() map[Want]struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.wants) == 0 {
		return nil
	}
	wants := q.wants
	q.wants = make(map[Want]struct{})
	return wants
}

// Return puts back what a broken round could not answer. It makes none due.
func (q *Queue) Return(wants map[Want]struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for w := range wants {
		q.add(w)
	}
}

// Pause waits and tells whether ctx still lives.
func Pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

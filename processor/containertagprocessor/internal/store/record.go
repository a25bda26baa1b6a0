package store

import (
	"time"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
)

// record is the store's mutable place for one container.
type record struct {
	id string
	// told is what each source of containers has said, by its place; nil where
	// it said nothing. gone are the bits of those that said it was removed,
	// answered of those that said anything, "I know no such container" too.
	told           []*entity.Container
	gone, answered uint64
	// asked is when somebody had data of it while nobody knew it.
	asked time.Time
	// died is when the last source said that it is gone; zero while it lives.
	died time.Time
	// merged is told in one; nil while nobody knows it.
	merged *entity.Container
	next   *record // in the queue of the dead
}

func (r *record) known() bool { return r.merged != nil }
func (r *record) dead() bool  { return !r.died.IsZero() }

// podRecord is the same for a pod. pod is what all say of it in one, nil for one
// that only its containers tell of.
type podRecord struct {
	told []*entity.Pod
	gone uint64
	pod  *entity.Pod
	died time.Time
	// members are the ids of its containers.
	members map[string]struct{}
}

// queue is a list in order of death. Who lives again stays in it, and is passed
// over; it is counted once.
type queue struct {
	head, tail *record
	len        int
}

func (q *queue) push(r *record) {
	r.next = nil
	if q.tail == nil {
		q.head = r
	} else {
		q.tail.next = r
	}
	q.tail = r
	q.len++
}

func (q *queue) remove(r *record) {
	var before *record
	for at := q.head; at != nil; before, at = at, at.next {
		if at != r {
			continue
		}
		if before == nil {
			q.head = at.next
		} else {
			before.next = at.next
		}
		if q.tail == at {
			q.tail = before
		}
		at.next = nil
		q.len--
		return
	}
}

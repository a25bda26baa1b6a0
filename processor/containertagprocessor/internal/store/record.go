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
	// merged is told in one; nil while nobody knows it. shown is merged with
	// technology in it.
	merged, shown *entity.Container
	technology    *entity.Technology
	// before and after it in the queue of the dead.
	before, after *record
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
	// asked is when somebody had data of it while nobody knew it; zero once
	// somebody tells of it.
	asked time.Time
}

// queue is a list in order of death. Who lives again leaves it.
type queue struct {
	head, tail *record
	len        int
}

func (q *queue) push(r *record) {
	r.before = q.tail
	if q.tail == nil {
		q.head = r
	} else {
		q.tail.after = r
	}
	q.tail = r
	q.len++
}

// remove takes out one that is in the queue.
func (q *queue) remove(r *record) {
	if r.before == nil {
		q.head = r.after
	} else {
		r.before.after = r.after
	}
	if r.after == nil {
		q.tail = r.before
	} else {
		r.after.before = r.before
	}
	r.before, r.after = nil, nil
	q.len--
}

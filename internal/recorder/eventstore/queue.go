package eventstore

import (
	"cmp"
	"slices"
)

const (
	// queueEvents is how many events a scan keeps while it reads on, and half of
	// what waits at most. A run of merged frames has as many, and they overlap
	// in time: with less, most scans would take several passes.
	queueEvents = runEvents
	// queueBytes bounds what they have, encoded. 40,000 events of the package's
	// benchmark have 10 MB.
	queueBytes = 32 << 20
)

// queue has the events that were read and not given yet. When they are too many
// it lets go of the last ones, and tells from where on another pass has to read.
type queue struct {
	most    int
	waiting []waiting // a heap: the first stands first
	bytes   int
	// cut is set when events were let go: all from the horizon on.
	cut     bool
	horizon key
}

// waiting is an event that is still encoded: decoded, each would hold those of
// its frame in memory.
type waiting struct {
	key
	of     *heldScope
	record []byte
}

// heldScope and heldResource are what events share. The one refers to the other,
// and both count who refers to them.
type heldScope struct {
	of            *heldResource
	scope, schema []byte
	refs          int
}

type heldResource struct {
	segment       *segment // where it is, to tell of damage; nil if in memory
	bytes, schema []byte
	refs          int
}

// key is the place of an event in the order of a scan. Events of equal time
// have one too, so that a pass can begin between them.
type key struct {
	// at is the time, mirrored when the newest come first.
	at             int64
	source, record uint32
}

func (k key) compare(other key) int {
	return cmp.Or(cmp.Compare(k.at, other.at), cmp.Compare(k.source, other.source), cmp.Compare(k.record, other.record))
}

// takes tells whether an event of this key would stay.
func (q *queue) takes(k key) bool { return !q.cut || k.compare(q.horizon) < 0 }

func (q *queue) push(w waiting) {
	q.waiting = append(q.waiting, w)
	q.count(w, 1)
	if len(q.waiting) > 2*q.most || q.bytes > queueBytes {
		q.prune()
		return
	}
	for i := len(q.waiting) - 1; i > 0 && q.less(i, (i-1)/2); i = (i - 1) / 2 {
		q.swap(i, (i-1)/2)
	}
}

func (q *queue) pop() waiting {
	first, last := q.waiting[0], len(q.waiting)-1
	q.swap(0, last)
	q.waiting[last] = waiting{} // lets go of the event
	q.waiting = q.waiting[:last]
	for i := 0; 2*i+1 < last; {
		child := 2*i + 1
		if child+1 < last && q.less(child+1, child) {
			child++
		}
		if !q.less(child, i) {
			break
		}
		q.swap(i, child)
		i = child
	}
	q.count(first, -1)
	return first
}

// prune lets go of the last events, but never of the first one: each pass gets
// on. What is sorted is a heap.
func (q *queue) prune() {
	slices.SortFunc(q.waiting, func(a, b waiting) int { return a.compare(b.key) })
	for last := len(q.waiting) - 1; last > 0 && (last >= q.most || q.bytes > queueBytes/2); last-- {
		q.count(q.waiting[last], -1)
		q.cut, q.horizon = true, q.waiting[last].key
		q.waiting[last] = waiting{}
		q.waiting = q.waiting[:last]
	}
}

// count adds an event to the bytes, or takes it away.
func (q *queue) count(w waiting, by int) {
	const own = 64 // waiting itself
	q.bytes += by * (own + len(w.record))
	if held(&w.of.refs, by) {
		q.bytes += by * (len(w.of.scope) + len(w.of.schema))
		if held(&w.of.of.refs, by) {
			q.bytes += by * (len(w.of.of.bytes) + len(w.of.of.schema))
		}
	}
}

// held counts references and tells whether the first came or the last went.
func held(refs *int, by int) bool {
	before := *refs
	*refs += by
	return before == 0 || *refs == 0
}

func (q *queue) less(i, j int) bool { return q.waiting[i].compare(q.waiting[j].key) < 0 }
func (q *queue) swap(i, j int)      { q.waiting[i], q.waiting[j] = q.waiting[j], q.waiting[i] }

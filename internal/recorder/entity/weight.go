package entity

import "unique"

const (
	// maxRunBytes bounds the tags of one incarnation, keys and values together: 25 of
	// the usual ones take 1.5 KiB, and a label that somebody has filled with JSON some.
	maxRunBytes = 16 << 10
	// maxOthersBytes is what those may have of it whose word is no receiver's, so that
	// they leave room for the name of the container.
	maxOthersBytes = maxRunBytes / 2
	// defaultMaxBytes has room for 50,000 incarnations of 25 usual tags, three of them
	// nobody else's: 70 MB, see TestMemoryOfFullTable.
	defaultMaxBytes = 80 << 20
	// heldTag is what a tag takes once beside its text: its place in the table of
	// package unique and in weight.shared, and what the allocator rounds up. Measured
	// with Go 1.26 by TestMemoryOfSmallTags. usedTag is what it takes in each set.
	heldTag, usedTag = 320, 8
)

// weight is what the texts of all runs take: as they are held, a tag that many have
// only once, and as they are written into the file and into answers, where each has its
// own.
type weight struct {
	held, written int64
	// shared counts the sets that a tag is in.
	shared map[unique.Handle[tag]]uint32
}

// exceeds tells whether one of the two is above a limit.
func (w *weight) exceeds(limit int64) bool { return max(w.held, w.written) > limit }

// take adds the tags of a set.
func (w *weight) take(set tagSet) {
	if w.shared == nil {
		w.shared = map[unique.Handle[tag]]uint32{}
	}
	for _, h := range set {
		w.shared[h]++
		w.held += usedTag
		w.written += h.Value().size()
		if w.shared[h] == 1 {
			w.held += heldTag + h.Value().size()
		}
	}
}

// give takes the tags of a set off.
func (w *weight) give(set tagSet) {
	for _, h := range set {
		w.held -= usedTag
		w.written -= h.Value().size()
		if w.shared[h]--; w.shared[h] == 0 {
			w.held -= heldTag + h.Value().size()
			delete(w.shared, h)
		}
	}
}

// words adds bytes that are nobody else's.
func (w *weight) words(n int64) {
	w.held += n
	w.written += n
}

// setTags replaces the tags of a run, and the fields that are tags, too.
func (t *Table) setTags(r *run, tags tagSet) {
	if !r.gone {
		t.weight.take(tags) // first: most are in both
		t.weight.give(r.tags)
	}
	r.tags = tags
	r.derive()
}

// weigh counts the words of a run anew.
func (t *Table) weigh(r *run) {
	if r.gone {
		return
	}
	n := r.wordBytes()
	t.weight.words(n - r.words)
	r.words = n
}

// unload takes a run off that is given up. It may be called twice.
func (t *Table) unload(r *run) {
	if r.gone {
		return
	}
	r.gone = true
	t.weight.give(r.tags)
	t.weight.words(-r.words)
	r.words = 0
}

// wordBytes is what an entity has of text beside its tags.
func (e *Entity) wordBytes() int64 {
	n := len(e.ID) + len(e.Status) + len(e.Health)
	if e.LastKill != nil {
		n += len(e.LastKill.Executable)
	}
	if e.LastEvent != nil {
		n += len(e.LastEvent.Name) + len(e.LastEvent.Body)
	}
	for _, d := range e.Degraded {
		n += len(d.Reason) + len(d.Executable) + len(d.Text)
	}
	return int64(n)
}

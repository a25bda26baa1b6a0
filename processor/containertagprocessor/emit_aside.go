package containertagprocessor

// setAside is the data of one container that has to wait for its tags.
type setAside[T any] struct {
	found
	data T
}

// waits tells whether a resource has to wait: for its own tags, or behind earlier
// data of the same container.
func waits[T any](v *visit, h *hold[T], f *found) bool {
	if f.entry == nil || !f.entry.pends(v.tagger.now) && !h.has(f.key) {
		return false
	}
	f.crowded = !h.accepts()
	return !f.crowded
}

// putAside lets data wait. Tags that have come since it was looked at are noticed.
func putAside[T any](v *visit, h *hold[T], all []setAside[T]) {
	for _, a := range all {
		if !h.add(a.key, a.entry.waitUntil, a.data) {
			h.pass([]T{a.data}) // it was closed meanwhile
			continue
		}
		if now, _ := v.find(&a.id); now == nil || !now.pends(v.tagger.now) {
			h.changed(a.key, true)
		}
	}
}

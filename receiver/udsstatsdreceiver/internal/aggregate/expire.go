package aggregate

import "time"

// lockedSlots is how many slots of an index, or contexts that are only looked
// at, are visited under one lock: 10 us, and below 200 us where all of them have
// expired (BenchmarkSweep: 9 and 180 ns each).
const lockedSlots = 1024

// sweep removes contexts that were unseen for too long, and what pointed to
// them. It is called after a flush, works five times in an expiry, and gives the
// lock back in between. A sample for a context that is on its way out revives it.
func (t *Table) sweep() {
	t.Lock()
	period := t.settings.Expiry / 5
	isDue := t.sweepSoon || time.Duration(t.second-t.swept)*time.Second >= period
	if isDue {
		t.swept = t.second
		t.sweepSoon = false
	}
	t.Unlock()
	if !isDue {
		return
	}
	if t.eachContext(t.mark) > 0 || t.hasBlockedKeys() {
		t.dropKeys()
		t.eachContext(t.remove)
	}
	// Also if nothing has expired: the counts of some may have been taken since.
	t.eachOwner(t.dropOwner)
}

func (t *Table) hasBlockedKeys() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.blockedKeys > 0
}

// eachContext calls visit for every context and counts for how many it is true.
func (t *Table) eachContext(visit func(ref uint32) bool) int {
	found := 0
	for ref := uint32(1); ; {
		t.Lock()
		for range lockedSlots {
			if ref > t.contexts.last {
				t.Unlock()
				return found
			}
			// A place without a name is free.
			if t.contexts.at(ref).name != 0 && visit(ref) {
				found++
			}
			ref++
		}
		t.Unlock()
	}
}

// mark empties a context that has expired. On the way it moves text out of
// chunks that are mostly of no use.
func (t *Table) mark(ref uint32) bool {
	c := t.contexts.at(ref)
	if c.flags&gone == 0 && t.isExpired(c) {
		t.vacate(c)
	}
	if c.flags&gone != 0 {
		return true
	}
	if t.texts.isSparse(c.where) {
		n := int(c.name) + int(c.labels)
		old := c.where
		t.sight.text = append(t.sight.text[:0], t.texts.get(old, n)...)
		c.where = t.texts.put(t.sight.text)
		t.texts.drop(old, n)
	}
	return false
}

// dropKeys takes the keys of marked contexts out of the raw index, and all that
// are blocked: they will be asked for again if they still come. If the index
// grows meanwhile, its slots are new and the way begins again.
func (t *Table) dropKeys() {
	size := 0
	for p := 0; ; {
		t.Lock()
		if len(t.raw.slots) != size {
			size, p = len(t.raw.slots), 0
		}
		for range lockedSlots {
			if p == size {
				t.Unlock()
				return
			}
			if !t.dropKey(uint32(p)) {
				p++
			}
		}
		t.Unlock()
	}
}

// dropKey is true if slot p was emptied: another entry may have moved there.
func (t *Table) dropKey(p uint32) bool {
	switch ref := t.raw.slots[p].ref; ref {
	case 0:
		return false
	case blocked:
		t.blockedKeys--
	default:
		c := t.contexts.at(ref)
		if c.flags&gone == 0 {
			return false
		}
		t.use(c.owner, usage{keys: -1})
	}
	t.raw.remove(p)
	return true
}

// remove gives back the place of a context that is still marked. No raw key
// leads to it any more.
func (t *Table) remove(ref uint32) bool {
	c := t.contexts.at(ref)
	if c.flags&gone == 0 {
		return false
	}
	t.owners.at(c.owner).contexts--
	t.known.remove(c.hash, ref)
	t.texts.drop(c.where, int(c.name)+int(c.labels))
	t.contexts.put(ref)
	return true
}

// dropOwner forgets an origin without contexts, once its counts were taken.
func (t *Table) dropOwner(ref uint32, o *owner) {
	if o.contexts == 0 && o.payees == 0 && !o.isHeld && !o.isActive && o.counts == (Counts{}) {
		t.close(ref)
	}
}

package aggregate

// owner is an origin with its contexts.
type owner struct {
	origin   Origin
	head     uint32          // the first listed context
	payer    uint32          // the owner to which it is charged: itself, but for those of Charge
	contexts int             // that exist, with those of overflow and those that will be removed
	signed   map[string]bool // names of counters that went down
	counts   Counts
	own      usage // of this origin
	bill     usage // of all origins that are charged to it, with itself
	payees   int   // other owners that are charged to it
	isTaken  bool
	isActive bool
	isHeld   bool // charged to another, and not forgotten
}

// usage is what limits are held against. Contexts that will be removed are no
// part of it.
type usage struct {
	contexts int // but for those of overflow
	overflow int // contexts of overflow
	keys     int // in the raw index
	bytes    int // of text and bodies
}

func (u *usage) add(v usage) {
	u.contexts += v.contexts
	u.overflow += v.overflow
	u.keys += v.keys
	u.bytes += v.bytes
}

func (u usage) negative() usage {
	return usage{-u.contexts, -u.overflow, -u.keys, -u.bytes}
}

// Charge says who pays for an origin: contexts, tag orders and memory of both are
// held together against the limits of one origin. Without it each origin pays
// for itself, and Charge(origin, origin) makes that so again. It may be repeated.
//
// It is for senders that can have many origins: as many as [Limits.Origins] may
// pay for themselves, whatever the others do, and half as many more may be
// charged to another. Of one that finds no place, samples go to the overflow
// contexts of its payer.
//
// A payer that is charged to a third one itself hands on the bill, and an origin
// that others are charged to goes on paying for itself. The table must be locked.
// An origin that is charged to another keeps its place until [Table.Forget] or
// [Table.Move] has ended it.
func (t *Table) Charge(origin, payer Origin) {
	ref, isKnown := t.byOrigin[origin]
	if origin == payer {
		delete(t.refused, origin)
		if isKnown && t.owners.at(ref).payer != ref {
			t.hand(ref, ref)
		}
		return
	}
	if isKnown && t.owners.at(ref).payees > 0 {
		return
	}
	to := t.payingOwner(payer)
	switch {
	case to == 0 || !isKnown && !t.hasPlace(true):
		t.refused[origin] = payer
		return
	case !isKnown:
		ref = t.open(origin)
	case to == ref:
		return
	}
	delete(t.refused, origin)
	t.hand(ref, to)
}

// Forget says that no more samples will come from an origin, which may be unknown.
// Its place is free when its contexts have expired. The table must be locked.
func (t *Table) Forget(origin Origin) {
	delete(t.refused, origin)
	if ref, ok := t.byOrigin[origin]; ok {
		t.owners.at(ref).isHeld = false
	}
}

// hand charges an owner to another one, or to itself.
func (t *Table) hand(ref, to uint32) {
	o := t.owners.at(ref)
	if o.payer != ref {
		t.owners.at(o.payer).payees--
		t.charged--
	}
	t.owners.at(o.payer).bill.add(o.own.negative())
	t.owners.at(to).bill.add(o.own)
	o.payer = to
	o.isHeld = to != ref
	if to != ref {
		t.owners.at(to).payees++
		t.charged++
	}
}

// payingOwner returns who pays in the end for what is charged to an origin, or 0
// if there is no place for it.
func (t *Table) payingOwner(payer Origin) uint32 {
	ref := t.ownerOf(payer)
	if ref == 0 {
		return 0
	}
	return t.owners.at(ref).payer
}

// ownerOf returns the owner of an origin, which begins to pay for itself if it is
// new. It is 0 if there is no place, and for origins that have found none.
func (t *Table) ownerOf(origin Origin) uint32 {
	if ref, ok := t.byOrigin[origin]; ok {
		return ref
	}
	if _, isRefused := t.refused[origin]; isRefused || !t.hasPlace(false) {
		return 0
	}
	return t.open(origin)
}

// standIn returns the owner whose overflow contexts are for an origin that has
// found no place but has a payer, and otherwise 0. On the way the origin gets a
// place if there is one now.
func (t *Table) standIn(origin Origin) uint32 {
	payer, isRefused := t.refused[origin]
	if !isRefused {
		return 0
	}
	if t.hasPlace(true) {
		t.Charge(origin, payer)
		if _, isRefused = t.refused[origin]; !isRefused {
			return 0
		}
	}
	return t.ownerOf(payer)
}

// hasPlace tells whether there may be another owner.
func (t *Table) hasPlace(isCharged bool) bool {
	if !t.room(t.owners.growth(), &t.overflowLimits) {
		return false
	}
	if isCharged {
		return t.charged < t.settings.Limits.Origins/2
	}
	return len(t.byOrigin)-t.charged < t.settings.Limits.Origins
}

func (t *Table) open(origin Origin) uint32 {
	ref := t.owners.take()
	o := t.owners.at(ref)
	o.origin = origin
	o.payer = ref
	o.isTaken = true
	t.byOrigin[origin] = ref
	return ref
}

// close forgets an owner without contexts.
func (t *Table) close(ref uint32) {
	o := t.owners.at(ref)
	t.bodies -= o.own.bytes // of its signed names
	t.hand(ref, ref)
	delete(t.byOrigin, o.origin)
	t.owners.put(ref)
}

// use books what an owner uses, also with its payer.
func (t *Table) use(ref uint32, u usage) {
	o := t.owners.at(ref)
	o.own.add(u)
	t.owners.at(o.payer).bill.add(u)
}

// billOf is what is charged to whoever pays for an owner.
func (t *Table) billOf(ref uint32) *usage {
	return &t.owners.at(t.owners.at(ref).payer).bill
}

// eachOwner visits all owners, lockedSlots of them under one lock.
func (t *Table) eachOwner(visit func(ref uint32, o *owner)) {
	for ref := uint32(1); ; {
		t.mu.Lock()
		for range lockedSlots {
			if ref > t.owners.last {
				t.mu.Unlock()
				return
			}
			if o := t.owners.at(ref); o.isTaken {
				visit(ref, o)
			}
			ref++
		}
		t.mu.Unlock()
	}
}

package join

import (
	"math/rand/v2"
	"time"
)

// none is no slot, no node.
const none = int32(-1)

// slot holds an end from its arrival until it is forgotten.
type slot struct {
	end     End
	arrived time.Duration
	handed  time.Duration // valid once it was
	value   int32         // of the caller, while it waits

	prev, next int32 // of the list that it is in; next of the free ones
	nodes      int32 // in table.views: the first, its siblings the others
	leg        int32 // in table.legs, until it is matched
	met        bool  // another slot has, or had, a view of this one

	// partner is the slot of the other end. taken stays when that is forgotten.
	partner int32
	taken   bool
	// match is the other leg of a proxied connection; unclear: there is more
	// than one that could be.
	match   int32
	unclear bool
	proxy   *proxy
}

// table is what a joiner knows without the caller's values.
type table struct {
	options Options
	now     time.Duration
	// finishing: all that will come has come.
	finishing bool

	slots []slot
	free  int32
	// waiting is in order of arrival, remembered in that of being handed out.
	waiting, remembered list

	views   index
	legs    index
	seed    seed
	proxies map[int]*proxy
	dirty   []uint64 // hashes of legs that came since they were last looked at
	sweep   sweep
	// gapUntil is how long legs are not matched, because some are missing.
	gapUntil time.Duration

	candidates [2][]candidate // scratch of resolve

	stats Stats
}

func newTable(o Options) table {
	return table{
		options: o, free: none, waiting: newList(), remembered: newList(),
		views: newIndex(), legs: newIndex(), proxies: map[int]*proxy{},
		seed: seed{rand.Uint64() | 1, rand.Uint64() | 1, rand.Uint64() | 1},
	}
}

func (t *table) add(now time.Duration, end *End, value int32) (full bool) {
	t.now = max(t.now, now)
	t.stats.Added++
	at := t.slot()
	s := &t.slots[at]
	s.end = *end
	s.end.plain()
	s.arrived, s.value = t.now, value
	s.nodes, s.leg, s.partner, s.match = none, none, none, none
	s.met, s.taken, s.unclear = false, false, false
	t.waiting.push(t.slots, at)
	if s.end.pairs() {
		t.insert(at)
	}
	t.join(at)
	return t.waiting.size >= t.options.MaxWaiting
}

func (t *table) slot() int32 {
	if at := t.free; at != none {
		t.free = t.slots[at].next
		return at
	}
	t.slots = append(t.slots, slot{})
	return int32(len(t.slots) - 1)
}

// gap notes that ends are missing. Those that were told about the same time are
// matched, or not, within twice the time that any waits.
func (t *table) gap() { t.gapUntil = t.now + 2*t.options.Wait }

// advance brings what is known up to date with the time.
func (t *table) advance(now time.Duration) {
	t.now = max(t.now, now)
	t.matchLegs()
}

// finish begins or ends a time in which nothing is waited for.
func (t *table) finish(begin bool) {
	t.finishing = begin
	if begin {
		t.matchLegs()
	}
}

// look returns what is known of the other end, and whether that is the answer.
func (t *table) look(at int32) (answer Found, done bool) {
	s := &t.slots[at]
	switch {
	case !s.end.Wanted || !s.end.pairs():
		return Found{}, true
	case t.finishing:
		return t.answer(at, true)
	case t.now-s.arrived >= t.options.Wait:
		t.stats.WaitedOut++
		return t.answer(at, true)
	case !t.settled(at):
		return Found{}, false
	}
	return t.answer(at, false)
}

// settled reports whether all that came about with the end should be here.
func (t *table) settled(at int32) bool {
	return t.finishing || t.now-t.slots[at].arrived >= t.options.Settle
}

// excess is how many have to go because too many wait: a quarter more than
// needed, so that not every Add is followed by a Take.
func (t *table) excess() int {
	size, most := t.waiting.size, t.options.MaxWaiting
	if size < most {
		return 0
	}
	return size - most*3/4
}

// crowd answers for the oldest that waits.
func (t *table) crowd() Found {
	t.stats.Crowded++
	answer, _ := t.answer(t.waiting.first, true)
	return answer
}

// handed counts an end that was handed out, and keeps it to be found.
func (t *table) handed(at int32, answer Found) {
	s := &t.slots[at]
	switch {
	case !s.end.Wanted:
		t.stats.Unwanted++
	case answer.Ambiguous:
		t.stats.Ambiguous++
	case answer.Proxied:
		t.stats.Proxied++
	case answer.Known:
		t.stats.Paired++
	default:
		t.stats.Unpaired++
	}
	t.waiting.remove(t.slots, at)
	if s.nodes == none && s.proxy == nil {
		t.release(at) // nobody will look for it
		return
	}
	s.handed, s.value = t.now, none
	t.remembered.push(t.slots, at)
}

// forget drops those that have been remembered long enough, and those that are too
// many.
func (t *table) forget() {
	for at := t.remembered.first; at != none; at = t.remembered.first {
		isOld := t.now-t.slots[at].handed >= t.options.Remember
		if !isOld && t.remembered.size <= t.options.MaxRemembered {
			return
		}
		if !isOld {
			t.stats.Forgotten++
			if t.slots[at].leg != none {
				t.gap()
			}
		}
		t.remembered.remove(t.slots, at)
		t.release(at)
	}
}

func (t *table) forgetAll() {
	for at := t.remembered.first; at != none; at = t.remembered.first {
		t.remembered.remove(t.slots, at)
		t.release(at)
	}
}

// release gives a slot back that is in no list any more.
func (t *table) release(at int32) {
	s := &t.slots[at]
	for n := s.nodes; n != none; {
		sibling := t.views.nodes[n].sibling
		t.views.remove(n)
		n = sibling
	}
	t.leave(at)
	if s.partner != none {
		t.slots[s.partner].partner = none
	}
	s.end.Owner, s.proxy = "", nil // what the collector would keep
	s.next = t.free
	t.free = at
}

// list is a list of slots, linked by their prev and next.
type list struct {
	first, last int32
	size        int
}

func newList() list { return list{none, none, 0} }

func (l *list) push(slots []slot, at int32) {
	slots[at].prev, slots[at].next = l.last, none
	if l.last == none {
		l.first = at
	} else {
		slots[l.last].next = at
	}
	l.last = at
	l.size++
}

func (l *list) remove(slots []slot, at int32) {
	prev, next := slots[at].prev, slots[at].next
	if prev == none {
		l.first = next
	} else {
		slots[prev].next = next
	}
	if next == none {
		l.last = prev
	} else {
		slots[next].prev = prev
	}
	l.size--
}

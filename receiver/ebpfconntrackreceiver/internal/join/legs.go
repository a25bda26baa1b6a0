package join

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// legsKey is what the two legs of a connection have in common: the process, and the
// bytes that it carried up to the server and down from it.
type legsKey struct {
	pid      int
	up, down uint64
}

func legsOf(e *End) legsKey {
	if e.Direction == Incoming {
		return legsKey{e.PID, e.Received, e.Sent}
	}
	return legsKey{e.PID, e.Sent, e.Received}
}

// addLeg lets a leg be matched, if it is known when it began.
func (t *table) addLeg(at int32) {
	s := &t.slots[at]
	if begun(&s.end) == 0 {
		return
	}
	hash := t.seed.legs(legsOf(&s.end))
	s.leg = t.legs.insert(node{hash: hash, slot: at})
	t.dirty = append(t.dirty, hash)
}

// begun is when docker-proxy could accept the connection, or when it dialled.
func begun(e *End) time.Duration {
	if e.Direction == Incoming {
		return e.Established
	}
	return e.Started
}

func (t *table) dropLeg(at int32) {
	s := &t.slots[at]
	if s.leg != none {
		t.legs.remove(s.leg)
		s.leg = none
	}
}

// leg is an end of a proxy in a sweep. One that was accepted can have been dialled
// for from begun until until.
type leg struct {
	slot         int32
	begun, until time.Duration
	isSettled    bool
	// doubtful: it may be that of an end for which there were several.
	doubtful bool
	// client is where the leg comes from, owner who that is, if known.
	client netip.Addr
	known  bool
	owner  string
}

// sweep matches the legs of one key. The dialled ones are gone through in order
// of time; accepted ones are open while they can be what was dialled for.
type sweep struct {
	accepted, dialled []leg
	// alike: all accepted legs are one client's.
	alike bool
	open  []*leg // accepted, begun, and not used
	room  []*leg // what open is a part of
	// run is what was matched since there was no accepted leg at all, reach when
	// the last of these goes, and usedReach the last of those that are in run.
	run              []match
	reach, usedReach time.Duration
}

type match struct {
	accepted, dialled *leg
	ok                bool
}

// maxDial is how long docker-proxy may take to accept and dial: it does both at
// once, so that this is the queue of a busy one on a busy host.
const maxDial = time.Second

// matchLegs matches the legs of all keys that something came for.
func (t *table) matchLegs() {
	slices.Sort(t.dirty)
	hashes := slices.Compact(t.dirty)
	again := t.dirty[:0]
	for _, hash := range hashes {
		isAgain := t.collect(hash)
		hasGap := t.now < t.gapUntil
		if isAgain || hasGap {
			again = append(again, hash)
		}
		if len(t.sweep.dialled) == 0 || len(t.sweep.accepted) == 0 {
			continue
		}
		if hasGap {
			t.sweep.giveUp(t)
			continue
		}
		t.sweep.do(t)
	}
	t.dirty = again
}

// collect fills the sweep with the legs of one key. again is true if one of them
// has just come.
func (t *table) collect(hash uint64) (again bool) {
	w := &t.sweep
	w.accepted, w.dialled = w.accepted[:0], w.dialled[:0]
	var key legsKey
	for n := t.legs.first(hash); n != none; {
		at, isOther := t.legs.nodes[n].slot, t.legs.nodes[n].hash != hash
		n = t.legs.nodes[n].next
		if isOther {
			continue
		}
		s := &t.slots[at]
		if len(w.accepted)+len(w.dialled) == 0 {
			key = legsOf(&s.end)
		}
		switch {
		case legsOf(&s.end) != key:
			continue // an accident of hashes: at worst nothing is found
		case t.now-s.arrived > 2*t.options.Wait:
			t.dropLeg(at) // who could ask for it has been handed out
			continue
		}
		settled := t.settled(at)
		again = again || !settled
		s.unclear = false
		if s.end.Direction == Incoming {
			w.accepted = append(w.accepted, t.acceptedLeg(at, settled))
		} else if settled {
			w.dialled = append(w.dialled, leg{slot: at, begun: s.end.Started, isSettled: true})
		}
	}
	byTime := func(a, b leg) int { return cmp.Compare(a.begun, b.begun) }
	slices.SortFunc(w.accepted, byTime)
	slices.SortFunc(w.dialled, byTime)
	return again
}

func (t *table) acceptedLeg(at int32, settled bool) leg {
	e := &t.slots[at].end
	l := leg{
		slot: at, begun: e.Established, until: min(e.Ended, e.Established+maxDial),
		isSettled: settled, client: e.RealRemote.Addr(),
	}
	if y, v := t.resolve(at, t.finishing); v == found {
		l.known, l.owner = true, t.slots[y].end.Owner
	}
	return l
}

// isAlike reports whether two legs are of one client, as far as is known.
func (l *leg) isAlike(m *leg) bool {
	return l.client == m.client && (!l.known || !m.known || l.owner == m.owner)
}

func (w *sweep) do(t *table) {
	w.begin()
	next := 0
	for i := range w.dialled {
		d := &w.dialled[i]
		if w.reach < d.begun {
			w.commit(t)
		}
		for ; next < len(w.accepted) && w.accepted[next].begun <= d.begun; next++ {
			w.open = append(w.open, &w.accepted[next])
			w.reach = max(w.reach, w.accepted[next].until)
		}
		w.place(t, d)
	}
	w.commit(t)
}

// giveUp lets no leg be matched.
func (w *sweep) giveUp(t *table) {
	for _, legs := range [2][]leg{w.accepted, w.dialled} {
		for i := range legs {
			t.slots[legs[i].slot].unclear = true
		}
	}
}

func (w *sweep) begin() {
	w.room = slices.Grow(w.room[:0], len(w.accepted))
	w.open, w.run = w.room, w.run[:0]
	w.reach, w.usedReach = 0, 0
	w.alike = true
	for i := 1; i < len(w.accepted) && w.alike; i++ {
		w.alike = w.accepted[0].isAlike(&w.accepted[i])
		// A leg that nobody is known of says nothing of two others.
		if !w.accepted[0].known && w.accepted[i].known {
			w.accepted[0].known, w.accepted[0].owner = true, w.accepted[i].owner
		}
	}
}

// place finds the accepted leg for a dialled one: the first in time of those that
// it can be, if these are all alike.
func (w *sweep) place(t *table, d *leg) {
	w.close(d.begun)
	switch {
	case len(w.open) == 0 && w.usedReach < d.begun:
		return // there is none, and was none
	case len(w.open) == 0:
		// One is missing: it may be that of any in this run.
		t.slots[d.slot].unclear = true
		for i := range w.run {
			w.run[i].ok = false
			t.slots[w.run[i].dialled.slot].unclear = true
		}
		return
	case !w.isClear():
		t.slots[d.slot].unclear = true
		for _, a := range w.open {
			a.doubtful = true
			t.slots[a.slot].unclear = true
		}
		return
	}
	a := w.open[0]
	w.open = w.open[1:]
	w.usedReach = max(w.usedReach, a.until)
	w.run = append(w.run, match{a, d, true})
}

// close drops open legs that ended before now: all if they differ, else as far as
// the first that has not.
func (w *sweep) close(now time.Duration) {
	if w.alike {
		for len(w.open) > 0 && w.open[0].until < now {
			w.open = w.open[1:]
		}
		return
	}
	w.open = slices.DeleteFunc(w.open, func(a *leg) bool { return a.until < now })
}

// isClear reports whether it does not matter which of the open legs it is.
func (w *sweep) isClear() bool {
	if w.alike {
		return true
	}
	known := w.open[0]
	for _, a := range w.open {
		if a.doubtful || !a.isAlike(known) {
			return false
		}
		if a.known {
			known = a
		}
	}
	return true
}

// commit ends a run: what was matched there is matched for good, if it was there
// long enough for others to have come.
func (w *sweep) commit(t *table) {
	for _, m := range w.run {
		if !m.ok || !m.accepted.isSettled {
			continue
		}
		a, d := m.accepted.slot, m.dialled.slot
		t.dropLeg(a)
		t.dropLeg(d)
		t.slots[a].match, t.slots[d].match = d, a
	}
	w.run = w.run[:0]
}

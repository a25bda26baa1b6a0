package entity

import "time"

// The clock of a host can be set back. What was heard before has times that are still
// to come then, and receivers that took the begin of a container from the old clock
// keep to it. Nothing that is learned afterwards may wait for such a time to be over:
// that can take for ever.

func (t *Table) now() time.Time { return t.opts.Now().Round(0).UTC() }

// clip keeps a time that nobody can have seen yet from ending everything else by
// silence, and gives data without one the present.
func (t *Table) clip(at time.Time) time.Time {
	now := t.now()
	if at.After(now) || at.Unix() <= 0 {
		return now
	}
	return at.Round(0).UTC()
}

// isToCome tells of a time that was noted by a clock that has been set back. Where the
// clock stands, it is one of which a later part of the same table tells.
func (t *Table) isToCome(noted time.Time) bool { return !t.stands && noted.After(t.now()) }

// isNews tells whether something is not older than what was noted at another time.
func (t *Table) isNews(at, noted time.Time) bool { return !at.Before(noted) || t.isToCome(noted) }

// outlives tells whether a run was there after its end, which was guessed.
func (t *Table) outlives(at time.Time, r *run) bool { return at.After(r.Stop) || t.isToCome(r.Stop) }

// ahead is the run of an id that has begun in what is still to come, and has not
// ended as far as is known; nil if there is none. What is heard at a time is about
// that one: no other was begun since the clock was set back.
func (t *Table) ahead(id string, at time.Time) *run {
	runs := t.byID[id]
	if len(runs) == 0 {
		return nil
	}
	last := runs[len(runs)-1]
	if !last.Began().After(at) || !last.Stop.IsZero() && !last.quiet || !t.isToCome(last.Began()) {
		return nil
	}
	return last
}

// makeWay lets a run that begins now be the last of its id.
func (t *Table) makeWay(id string, at time.Time) {
	runs := t.byID[id]
	if len(runs) == 0 {
		return
	}
	if began := runs[len(runs)-1].Began(); began.After(at) && t.isToCome(began) {
		t.settle(id, at.Add(-2*pairWithin)) // what is told of one is not taken for the other's
	}
}

// settle moves what the runs of an id have in what is still to come to a time that is
// not, so that what comes next is after them. How long they ran is lost.
func (t *Table) settle(id string, at time.Time) {
	for _, r := range t.byID[id] {
		if !t.isToCome(r.Began()) {
			continue
		}
		for _, noted := range []*time.Time{&r.Start, &r.FirstSeen, &r.LastSeen, &r.Stop} {
			*noted = earlier(*noted, at) // the zero time stays
		}
		t.touch(r)
	}
}

// sweep ends what nothing was heard of for long. Silence counts from when the
// table was opened: the agent may have been away for longer. While nothing at all
// is heard, the fault is not the containers'.
func (t *Table) sweep() {
	t.rewind()
	for r := range t.open {
		heard := r.LastSeen
		if heard.Before(t.first) {
			heard = t.first
		}
		if t.newest.Sub(heard) > t.opts.GoneAfter {
			t.end(r, r.LastSeen, true)
			r.quiet = true
		}
	}
}

// rewind brings back to the present what the silence is measured by.
func (t *Table) rewind() {
	if t.stands {
		return
	}
	now := t.now()
	t.first, t.newest = earlier(t.first, now), earlier(t.newest, now)
	for r := range t.open {
		r.LastSeen = earlier(r.LastSeen, now)
	}
}

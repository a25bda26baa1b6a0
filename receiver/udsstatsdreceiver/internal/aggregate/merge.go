package aggregate

import (
	"errors"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/dogstatsd"
)

// Merge takes what another table has gathered since it was last flushed or
// merged, as if its samples had been added to t: counters add up, histograms and
// sets unite, of gauges the younger stays. So each reader can have a table, and
// one table all the state. What finds no context in t goes to its overflow
// contexts, and is counted once for each context of from. from must hold deltas and have the seed of t, and two
// tables must not be merged into each other at the same time.
func (t *Table) Merge(from *Table) error {
	if from.settings.Cumulative {
		return errors.New("merge tables: the other one is cumulative")
	}
	if from.settings.Seed != t.settings.Seed {
		return errors.New("merge tables: their seeds differ")
	}
	from.flushing.Lock()
	defer from.flushing.Unlock()
	var errs []error
	for _, owner := range from.takeActive(nil) {
		origin, chain := from.detach(owner)
		for chain != 0 {
			t.Lock()
			chain = from.step(chain, func(ref uint32) bool {
				c := from.contexts.at(ref)
				if err := t.absorb(origin, from, c); err != nil {
					errs = append(errs, err)
				}
				from.settle(c)
				return true
			})
			t.Unlock()
		}
	}
	from.sweep()
	return errors.Join(errs...)
}

// Move gives what one origin has gathered since the last flush to another, as if
// its samples had come from there, and what was counted of it. It is for senders
// that become known later: if it is called before each flush, nothing is ever
// handed out for the first origin. Its contexts are removed with the next flush,
// and it needs no [Table.Forget]. They are charged to who pays for the other
// origin, which may so get up to twice what it may have: they exist already.
func (t *Table) Move(from, to Origin) error {
	t.flushing.Lock()
	defer t.flushing.Unlock()
	if from == to {
		return nil
	}
	t.mu.Lock()
	t.Forget(from)
	owner, ok := t.byOrigin[from]
	ok = ok && t.standIn(to) != owner // it would get back what it gives
	t.mu.Unlock()
	if !ok {
		return nil
	}
	// The owner stays among the active, with an empty list: a flush passes over it.
	_, chain := t.detach(owner)
	var errs []error
	for chain != 0 {
		chain = t.step(chain, func(ref uint32) bool {
			c := t.contexts.at(ref)
			t.enlist(c, -1) // before its new place is looked for
			if err := t.absorb(to, t, c); err != nil {
				errs = append(errs, err)
			}
			t.restart(c)
			c.flags |= gone
			return true
		})
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweepSoon = true
	t.moveCounts(owner, to)
	return errors.Join(errs...)
}

func (t *Table) moveCounts(owner uint32, to Origin) {
	counts := &t.owners.at(owner).counts
	into := &t.nobody
	if *counts == (Counts{}) {
		return
	}
	if ref := t.ownerOf(to); ref != 0 {
		into = &t.owners.at(ref).counts
	} else if ref := t.standIn(to); ref != 0 {
		into = &t.owners.at(ref).counts
	}
	into.add(counts)
	*counts = Counts{}
}

// absorb adds the values of a context, which may be another table's, to the
// context of the same name and tags of an origin.
func (t *Table) absorb(origin Origin, from *Table, c *context) error {
	ref := t.targetOf(origin, from, c)
	if ref == 0 {
		return nil
	}
	t.touch(ref)
	d := t.contexts.at(ref)
	if d.flags&out == 0 {
		d.start = min(d.start, c.start)
	}
	if c.flags&hasLate != 0 {
		t.absorbLate(ref, from.lates.at(c.body).points)
	}
	if c.flags&signed != 0 && d.flags&signed == 0 {
		t.isDown(d) // counted where it happened
	}
	if c.flags&valued == 0 {
		return nil
	}
	isFirst := d.flags&valued == 0
	d.flags |= valued
	return t.absorbValues(d, from, source{c, isFirst})
}

// targetOf finds or makes the context of an origin into which another context
// goes, or 0 if what it holds was dropped and counted.
func (t *Table) targetOf(origin Origin, from *Table, c *context) uint32 {
	text := from.texts.get(c.where, int(c.name)+int(c.labels))
	t.sight.text = append(t.sight.text[:0], text...)
	id := identity{t.ownerOf(origin), c.typ, int(c.name)}
	if id.owner == 0 {
		if id.owner = t.standIn(origin); id.owner != 0 {
			return t.countedOverflow(id, ChargedFull)
		}
		t.nobody[OriginsFull]++
		return 0
	}
	if c.flags&overflowed != 0 {
		return t.overflowFor(id)
	}
	if from == t {
		ref, _ := t.contextOf(id, &t.moveLimits)
		return ref // its body grows by what the other one gives back
	}
	ref, _ := t.contextOf(id, &t.settings.Limits)
	isBody := c.typ != dogstatsd.Counter && c.typ != dogstatsd.Gauge && c.body != 0
	if ref != 0 && isBody && t.lackOfBody(t.contexts.at(ref)) != fits {
		return t.overflowOf(ref)
	}
	return ref
}

// source is a context that is absorbed, and whether it is the first of the
// interval.
type source struct {
	*context
	isFirst bool
}

func (t *Table) absorbValues(d *context, from *Table, c source) error {
	switch c.typ {
	case dogstatsd.Gauge:
		if c.isFirst || c.rest >= d.rest {
			d.number = c.number
		}
		return nil
	case dogstatsd.Set:
		if c.body == 0 {
			return nil
		}
		if d.body == 0 {
			d.body = t.sets.take()
		}
		s := t.sets.at(d.body)
		err := s.merge(from.sets.at(c.body))
		t.book(d, &s.booked, s.bytes())
		return err
	}
	if !d.fits(c.value()) {
		t.owners.at(d.owner).counts[OutOfRange]++
		return nil
	}
	d.add(c.sum)
	d.add(c.rest)
	if c.typ != dogstatsd.Counter && c.body != 0 {
		h := t.histogram(d)
		h.Merge(from.histograms.at(c.body))
		t.book(d, &h.Booked, h.Bytes())
	}
	return nil
}

func (t *Table) absorbLate(ref uint32, points []latePoint) {
	c := t.contexts.at(ref)
	for _, p := range points {
		into := t.latePoint(ref, p.second)
		switch {
		case into == nil:
			t.owners.at(c.owner).counts[LateFull]++
		case c.typ == dogstatsd.Gauge:
			into.value = p.value
		default:
			into.value += p.value
		}
	}
}

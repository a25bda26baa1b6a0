package aggregate

import (
	"iter"
	"time"

	"github.com/axiomhq/hyperloglog"

	"github.com/tallymanhq/tallyman/internal/expohist"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/dogstatsd"
)

const (
	// maxPoints is how many points are handed out at once.
	maxPoints = 10_000
	// maxCounts ends a chunk before that if its histograms are wide: 1 MiB.
	maxCounts = 1 << 17
	// lockedContexts is how many contexts are read under one lock: 5 us of small
	// ones, 25 us of busy histograms (BenchmarkFlush: 35 and 190 ns each).
	lockedContexts = 128
)

// Point is what one context has to say about an interval. Strings stay good for
// ever, all else until the function that was given it returns.
type Point struct {
	Name string
	tags string
	Type dogstatsd.Type
	// Monotonic is for counters: no value of that name was ever negative.
	Monotonic bool
	// Overflow says that the point holds what found no context of its own. Its
	// only tag is [OverflowTag].
	Overflow bool
	// Late says that the values carried their own time, which Start and Time are:
	// the beginning of a second. They are no part of any sum of the context.
	Late bool
	// Start and Time are in Unix nanoseconds: the interval that a sum, a histogram
	// or a set is about. Time is that of the flush also for a gauge.
	Start, Time int64
	// Value is the sum of a counter, the last value of a gauge, the number of
	// members of a set.
	Value float64
	// Histogram is nil unless Type is Histogram, Timer or Distribution.
	Histogram *Histogram
}

// Histogram is an exponential histogram as OTLP has it, with the zero bucket for
// zero only.
type Histogram = expohist.Point

// Buckets are the counts of neighbouring buckets from Offset on.
type Buckets = expohist.Row

// Tags goes over the tags by key. No key comes twice: of equal keys the values
// were joined with commas.
func (p *Point) Tags() iter.Seq2[string, string] { return tagsOf(p.tags) }

// batch is the memory of a flush.
type batch struct {
	points    []Point
	copies    expohist.Copies
	estimates []estimate
}

// estimate is a point whose value is still to be read from a sketch: that takes
// half a millisecond for a large one, and needs no lock.
type estimate struct {
	point  int
	sketch *hyperloglog.Sketch
}

// Flush hands out a point for each context that was touched since the last
// flush, and more for timestamped values. each gets the points of one origin, in
// chunks of at most 10,000, and is called without a lock: it may take its time,
// but must not call Flush, Merge or Move. Origins that are not ready, if that is
// not nil, keep what they have for the next flush; ready is called under the lock.
func (t *Table) Flush(ready func(Origin) bool, each func(Origin, []Point)) {
	t.flushing.Lock()
	defer t.flushing.Unlock()
	for _, owner := range t.takeActive(ready) {
		t.flushOwner(owner, each)
	}
	t.sweep()
}

// takeActive returns the owners that have listed contexts and are ready. The slice
// is good until it is called again.
func (t *Table) takeActive(ready func(Origin) bool) []uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	taken := t.active
	t.active, t.spare = t.spare[:0], taken
	if ready == nil {
		return taken
	}
	// What is taken is moved to the front: nothing is allocated.
	chosen := taken[:0]
	for _, owner := range taken {
		if ready(t.owners.at(owner).origin) {
			chosen = append(chosen, owner)
		} else {
			t.active = append(t.active, owner)
		}
	}
	return chosen
}

func (t *Table) flushOwner(owner uint32, each func(Origin, []Point)) {
	origin, chain := t.detach(owner)
	b := &t.batch
	for chain != 0 {
		b.reset()
		for chain != 0 && b.hasRoom() {
			chain = t.step(chain, func(ref uint32) bool {
				t.harvest(b, t.contexts.at(ref))
				return b.hasRoom()
			})
		}
		b.finish()
		if len(b.points) > 0 {
			each(origin, b.points)
		}
	}
}

// detach takes the list of an owner, to whose next list the reader may write.
func (t *Table) detach(owner uint32) (Origin, uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.owners.at(owner)
	chain := o.head
	o.head = 0
	o.isActive = false
	return o.origin, chain
}

// step visits the next contexts of a detached list under one lock, as long as
// visit is true, and returns where the list goes on.
func (t *Table) step(chain uint32, visit func(ref uint32) bool) uint32 {
	t.Lock()
	defer t.Unlock()
	for n := 0; n < lockedContexts && chain != 0; n++ {
		ref := chain
		c := t.contexts.at(ref)
		chain = c.next
		c.flags &^= listed
		c.next = 0
		if !visit(ref) {
			break
		}
	}
	return chain
}

// harvest reads a context and prepares it for the next interval.
func (t *Table) harvest(b *batch, c *context) {
	both := t.texts.get(c.where, int(c.name)+int(c.labels))
	p := Point{
		Name:     both[:c.name],
		tags:     both[c.name:],
		Type:     c.typ,
		Overflow: c.flags&overflowed != 0,
		Start:    c.start,
		Time:     max(t.now, c.start), // a clock may go back
	}
	if c.typ == dogstatsd.Counter {
		p.Monotonic = c.flags&signed == 0 && !t.owners.at(c.owner).signed[p.Name]
	}
	if c.flags&valued != 0 && t.read(b, c, &p) {
		b.points = append(b.points, p)
	}
	if c.flags&hasLate != 0 {
		b.addLate(p, t.lates.at(c.body).points)
	}
	c.flags |= out
	t.settle(c)
}

// read puts the value of a context into a point. It is false if there is none:
// all that came found no memory, or was out of range.
func (t *Table) read(b *batch, c *context, p *Point) bool {
	switch c.typ {
	case dogstatsd.Counter:
		p.Value = c.value()
	case dogstatsd.Gauge:
		p.Value = c.sum
	case dogstatsd.Set:
		if c.body == 0 {
			return false
		}
		s := t.sets.at(c.body)
		p.Value = float64(s.n)
		if s.isSketch {
			b.estimates = append(b.estimates, estimate{len(b.points), s.sketch})
		}
		return s.n > 0 || s.isSketch
	default:
		if c.body == 0 {
			return false
		}
		p.Histogram = b.copies.Take(t.histograms.at(c.body), c.value())
		return p.Histogram.Count > 0
	}
	return true
}

// settle empties what belongs to one interval only.
func (t *Table) settle(c *context) {
	hadLate := c.flags&hasLate != 0
	c.flags &^= valued | hasLate
	isDelta := !t.settings.Cumulative
	switch c.typ {
	case dogstatsd.Counter:
		t.settleLate(c, hadLate)
		if isDelta {
			c.number = number{}
		}
	case dogstatsd.Gauge:
		t.settleLate(c, hadLate)
	case dogstatsd.Set:
		isDelta = true // a set is about its interval in both cases
		if c.body != 0 {
			s := t.sets.at(c.body)
			s.reset()
			t.book(c, &s.booked, s.bytes())
		}
	default:
		t.settleHistogram(c)
	}
	if isDelta {
		c.start = max(t.now, c.start)
	}
}

// settleLate keeps the memory for late points if the interval has needed it.
func (t *Table) settleLate(c *context, hadLate bool) {
	if !hadLate {
		t.release(c)
		return
	}
	l := t.lates.at(c.body)
	l.points = l.points[:0]
}

func (t *Table) settleHistogram(c *context) {
	if c.body == 0 {
		return
	}
	h := t.histograms.at(c.body)
	t.book(c, &h.Booked, h.Bytes())
	if !t.settings.Cumulative {
		c.number = number{}
		h.Reset()
	}
}

func (b *batch) reset() {
	b.points = b.points[:0]
	b.copies.Reset()
}

// finish reads what was left for after the lock.
func (b *batch) finish() {
	for _, e := range b.estimates {
		b.points[e.point].Value = float64(e.sketch.Estimate())
	}
	clear(b.estimates)
	b.estimates = b.estimates[:0]
}

func (b *batch) hasRoom() bool {
	return len(b.points)+1+maxLate <= maxPoints && b.copies.Counts()+2*expohist.MaxBuckets <= maxCounts
}

func (b *batch) addLate(p Point, points []latePoint) {
	p.Late, p.Histogram = true, nil
	for _, l := range points {
		p.Start = l.second * int64(time.Second)
		p.Time = p.Start
		p.Value = l.value
		b.points = append(b.points, p)
	}
}

package aggregate

import (
	"time"

	"github.com/tallymanhq/tallyman/internal/expohist"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/dogstatsd"
)

// context is one metric with its tags and its origin. It has no pointers, so
// that the garbage collector does not look at it, and 64 bytes: a cache line.
type context struct {
	number              // of a counter or histogram; a gauge has its time in rest
	start        int64  // Unix nanoseconds
	where        text   // the name, then the tags as sight writes them
	hash         uint32 // in the text index
	owner        uint32
	next         uint32 // listed after this one
	seen         uint32 // second of the last touch
	body         uint32 // histogram, set, or late points of a counter or gauge
	fraction     float32
	name, labels uint16 // lengths in bytes
	typ          dogstatsd.Type
	flags        uint8
}

const (
	listed     = 1 << iota // in the owner's list, to be flushed
	valued                 // has values of this interval
	hasLate                // has timestamped points
	signed                 // a counter that went down
	overflowed             // holds what found no context of its own
	gone                   // holds nothing and will be removed
	out                    // was handed out since its start
)

// maxSigned bounds the names that are remembered as not monotonic. Beyond it
// only the context itself knows.
const maxSigned = 1000

// signedBytes is what such a name takes beside its text: a place in a map of
// strings, which may be half empty.
const signedBytes = 40

// touch puts a context on the list of what will be flushed. One that was unseen
// for too long starts anew.
func (t *Table) touch(ref uint32) {
	c := t.contexts.at(ref)
	if c.flags&gone != 0 {
		t.enlist(c, 1)
	}
	if c.flags&gone != 0 || t.isExpired(c) {
		t.restart(c)
	}
	c.seen = t.second
	if c.flags&listed != 0 {
		return
	}
	o := t.owners.at(c.owner)
	c.next = o.head
	o.head = ref
	c.flags |= listed
	if !o.isActive {
		o.isActive = true
		t.active = append(t.active, c.owner)
	}
}

func (t *Table) isExpired(c *context) bool {
	return c.flags&listed == 0 && time.Duration(t.second-c.seen)*time.Second > t.settings.Expiry
}

// restart forgets all values. What the context is stays.
func (t *Table) restart(c *context) {
	t.release(c)
	c.number = number{}
	c.fraction = 0
	c.start = t.now
	c.flags &= listed | overflowed | signed
}

// vacate empties a context that will be removed. What it had is free at once.
func (t *Table) vacate(c *context) {
	t.restart(c)
	c.flags |= gone
	t.enlist(c, -1)
}

// enlist counts a context, or with -1 takes that back.
func (t *Table) enlist(c *context, n int) {
	u := usage{bytes: n * (int(c.name) + int(c.labels))}
	if c.flags&overflowed != 0 {
		u.overflow = n
	} else {
		u.contexts = n
	}
	t.overflow += u.overflow
	t.live += u.contexts
	t.use(c.owner, u)
}

func (t *Table) count(c *context, s *dogstatsd.Sample) {
	w := t.weigh(c, s.Rate)
	for _, v := range s.Values {
		if v < 0 && c.flags&signed == 0 {
			t.goDown(c)
		}
		if v *= w; !c.fits(v) {
			t.owners.at(c.owner).counts[OutOfRange]++
			continue
		}
		c.add(v)
	}
}

func (t *Table) weigh(c *context, rate float64) float64 {
	w, isCapped := weight(rate)
	if isCapped {
		t.owners.at(c.owner).counts[WeightCapped]++
	}
	return w
}

func (t *Table) goDown(c *context) {
	if t.isDown(c) {
		t.owners.at(c.owner).counts[NonMonotonic]++
	}
}

// isDown marks the name as not monotonic, for all contexts that the origin has
// of it: a metric is monotonic or not, whatever its tags. It tells whether that
// is new.
func (t *Table) isDown(c *context) bool {
	c.flags |= signed
	o := t.owners.at(c.owner)
	name := t.texts.get(c.where, int(c.name))
	if o.signed[name] {
		return false
	}
	if len(o.signed) >= maxSigned || t.lackOfBody(c) != fits {
		return true
	}
	if o.signed == nil {
		o.signed = map[string]bool{}
	}
	o.signed[string([]byte(name))] = true // a copy: the name would keep its chunk
	t.bodies += len(name) + signedBytes
	t.use(c.owner, usage{bytes: len(name) + signedBytes})
	return true
}

// observe puts values into a histogram: whole numbers into buckets, and what is
// left of 1/rate to the next.
func (t *Table) observe(ref uint32, s *dogstatsd.Sample) {
	c := t.contexts.at(ref)
	h := t.histogram(c)
	w := t.weigh(c, s.Rate)
	for _, v := range s.Values {
		sum := v * w
		if !c.fits(sum) {
			t.owners.at(c.owner).counts[OutOfRange]++
			continue
		}
		n := uint64(1)
		left := c.fraction
		if w != 1 {
			exact := w + float64(c.fraction)
			n = uint64(exact)
			left = float32(exact - float64(n))
		}
		if !h.Add(v, n) && !t.stretch(c, h, v, n) {
			t.observeElsewhere(ref, v, s.Rate)
			continue
		}
		c.fraction = left
		c.add(sum)
	}
}

func (t *Table) histogram(c *context) *expohist.Histogram {
	if c.body == 0 {
		c.body = t.histograms.take()
		t.histograms.at(c.body).Init()
	}
	return t.histograms.at(c.body)
}

// stretch makes place for a value and adds it. It is false without memory.
func (t *Table) stretch(c *context, h *expohist.Histogram, v float64, n uint64) bool {
	if !h.Grow(v, n, t.lackOfBody(c) == fits) {
		return false
	}
	h.Add(v, n)
	t.book(c, &h.Booked, h.Bytes())
	return true
}

// observeElsewhere puts a value that found no memory into the overflow context.
func (t *Table) observeElsewhere(ref uint32, v, rate float64) {
	if other := t.overflowOf(ref); other != 0 {
		t.observe(other, &dogstatsd.Sample{Values: []float64{v}, Rate: rate})
	}
}

// include puts a member into a set.
func (t *Table) include(ref uint32, hash uint64) {
	c := t.contexts.at(ref)
	if c.body == 0 {
		c.body = t.sets.take()
	}
	s := t.sets.at(c.body)
	// Most members are known, which needs no look at the memory.
	if s.add(hash, false) {
		return
	}
	if !s.add(hash, t.lackOfBody(c) == fits) {
		if other := t.overflowOf(ref); other != 0 {
			t.include(other, hash)
		}
		return
	}
	t.book(c, &s.booked, s.bytes())
}

// overflowOf returns the touched overflow context of a context whose body must
// not grow. It is 0 if there is none, or if that is the one.
func (t *Table) overflowOf(ref uint32) uint32 {
	c := t.contexts.at(ref)
	if c.flags&overflowed != 0 {
		t.owners.at(c.owner).counts[OverflowMemory]++
		return 0
	}
	id := identity{owner: c.owner, typ: c.typ, name: int(c.name)}
	t.sight.text = append(t.sight.text[:0], t.texts.get(c.where, int(c.name))...)
	other := t.countedOverflow(id, t.lackOfBody(c))
	if other != 0 {
		t.touch(other)
		t.contexts.at(other).flags |= valued
	}
	return other
}

// addLate puts values at their own second, where equal seconds meet.
func (t *Table) addLate(ref uint32, s *dogstatsd.Sample) {
	c := t.contexts.at(ref)
	counts := &t.owners.at(c.owner).counts
	if s.Type != dogstatsd.Counter && s.Type != dogstatsd.Gauge {
		counts[LateType]++
		return
	}
	if s.Timestamp > (t.now+int64(t.settings.MaxAhead))/int64(time.Second) {
		counts[Ahead]++
		return
	}
	p := t.latePoint(ref, s.Timestamp)
	if p == nil {
		counts[LateFull]++
		return
	}
	if s.Type == dogstatsd.Gauge {
		p.value = s.Values[len(s.Values)-1]
		return
	}
	w := t.weigh(c, s.Rate)
	for _, v := range s.Values {
		if v < 0 && c.flags&signed == 0 {
			t.goDown(c)
		}
		n := number{sum: p.value}
		if !n.fits(v * w) {
			counts[OutOfRange]++
			continue
		}
		p.value += v * w
	}
}

// latePoint returns the place for a second, nil if there is none.
func (t *Table) latePoint(ref uint32, second int64) *latePoint {
	t.touch(ref)
	c := t.contexts.at(ref)
	if c.body == 0 {
		c.body = t.lates.take()
	}
	l := t.lates.at(c.body)
	if len(l.points) == cap(l.points) && t.lackOfBody(c) != fits {
		return nil
	}
	p := l.at(second)
	if p != nil {
		c.flags |= hasLate
	}
	t.book(c, &l.booked, l.bytes())
	return p
}

// book keeps account of what the body of a context has allocated.
func (t *Table) book(c *context, booked *int32, bytes int) {
	more := bytes - int(*booked)
	if more == 0 {
		return
	}
	t.bodies += more
	t.use(c.owner, usage{bytes: more})
	*booked = int32(bytes)
}

// release gives back the body of a context.
func (t *Table) release(c *context) {
	if c.body == 0 {
		return
	}
	switch c.typ {
	case dogstatsd.Counter, dogstatsd.Gauge:
		t.book(c, &t.lates.at(c.body).booked, 0)
		t.lates.put(c.body)
	case dogstatsd.Set:
		t.book(c, &t.sets.at(c.body).booked, 0)
		t.sets.put(c.body)
	default:
		t.book(c, &t.histograms.at(c.body).Booked, 0)
		t.histograms.put(c.body)
	}
	c.body = 0
}

// countFor counts something of an origin that may be unknown.
func (t *Table) countFor(origin Origin, r Reason) {
	if ref, ok := t.byOrigin[origin]; ok {
		t.owners.at(ref).counts[r]++
		return
	}
	t.nobody[r]++
}

package aggregate

import "github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/dogstatsd"

// Limits bound a table. What counts for an origin is what it pays for, see
// [Table.Charge].
type Limits struct {
	OriginContexts int // of one origin
	// OriginBytes are for the text of an origin's contexts, their histograms, sets
	// and timestamped points; an eighth of Bytes, but not less than 1 MiB, if 0.
	OriginBytes int
	Contexts    int // of all
	Origins     int // that have contexts and pay for themselves; half as many more may be charged to these
	Bytes       int // of all that the table keeps; overflow contexts may take an eighth more
}

// DefaultLimits let a million contexts in 400 MB: 384 MiB for them, and the rest
// for overflow contexts and a flush.
func DefaultLimits() Limits {
	return Limits{OriginContexts: 10_000, OriginBytes: 48 << 20, Contexts: 1_000_000, Origins: 65_536, Bytes: 384 << 20}
}

const (
	// originPart is how many greedy origins it takes to use up all the memory.
	originPart = 8
	// minOriginBytes are 10,000 contexts of 100 bytes.
	minOriginBytes = 1 << 20
	// ownPart is the part of the numbers of contexts that overflow contexts may
	// have on top, and spare that of the bytes.
	ownPart   = 10
	sparePart = 8
)

func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	l.OriginContexts = orDefault(l.OriginContexts, d.OriginContexts)
	l.Contexts = orDefault(l.Contexts, d.Contexts)
	l.Origins = orDefault(l.Origins, d.Origins)
	l.Bytes = orDefault(l.Bytes, d.Bytes)
	l.OriginBytes = orDefault(l.OriginBytes, max(l.Bytes/originPart, minOriginBytes))
	return l
}

func orDefault(value, standard int) int {
	if value == 0 {
		return standard
	}
	return value
}

// forOverflow are the limits of overflow contexts: numbers of their own, and the
// same bytes with some to spare.
func (l Limits) forOverflow() Limits {
	l.OriginContexts = max(1, l.OriginContexts/ownPart)
	l.Contexts = max(1, l.Contexts/ownPart)
	l.OriginBytes += l.OriginBytes / sparePart
	l.Bytes += l.Bytes / sparePart
	return l
}

// forMove are the limits of contexts that exist already, and come to another
// origin: twice those of one, so that they are not lost among others because of
// that. They count, so that the origin gets no new ones.
func (l Limits) forMove() Limits {
	l.OriginContexts *= 2
	l.OriginBytes *= 2
	l.Bytes += l.Bytes / sparePart
	return l
}

// fits stands for no reason at all.
const fits = reasons

// lack is why an owner may have no other context with the text in sight, or fits.
func (t *Table) lack(owner uint32, l *Limits) Reason {
	bill := t.billOf(owner)
	text := len(t.sight.text)
	switch {
	case bill.contexts >= l.OriginContexts:
		return OriginFull
	case bill.bytes+text > l.OriginBytes:
		return OriginMemory
	case t.live >= l.Contexts:
		return TableFull
	case !t.room(t.growth(text), l):
		return MemoryFull
	}
	return fits
}

// lackOfOverflow is the same about another overflow context.
func (t *Table) lackOfOverflow(owner uint32) Reason {
	bill, l := t.billOf(owner), &t.overflowLimits
	text := len(t.sight.text)
	switch {
	case bill.overflow >= l.OriginContexts || t.overflow >= l.Contexts:
		return OverflowFull
	case bill.bytes+text > l.OriginBytes || !t.room(t.overflowGrowth(text), l):
		return OverflowMemory
	}
	return fits
}

// lackOfBody is why the body of a context must not grow, or fits. It may go over
// the limit by one step of growth.
func (t *Table) lackOfBody(c *context) Reason {
	l := &t.settings.Limits
	if c.flags&overflowed != 0 {
		l = &t.overflowLimits
	}
	switch {
	case t.billOf(c.owner).bytes > l.OriginBytes:
		return OriginMemory
	case !t.room(0, l):
		return MemoryFull
	}
	return fits
}

// overdrawn returns the owner whose overflow contexts are for a new sample of an
// origin, if that can be told without a look at the tags, and why. A context may
// exist for these tags in another order: its values go to the overflow too then.
// Who is over its limits must not cost more than others.
func (t *Table) overdrawn(origin Origin, s *dogstatsd.Sample) (owner uint32, why Reason) {
	if len(t.refused) > 0 {
		if ref := t.standIn(origin); ref != 0 {
			return ref, ChargedFull
		}
	}
	ref, isKnown := t.byOrigin[origin]
	if !isKnown {
		return 0, fits
	}
	bill, l := t.billOf(ref), &t.settings.Limits
	switch {
	case bill.contexts >= l.OriginContexts:
		return ref, OriginFull
	case bill.bytes+len(s.Name)+len(s.Tags) > l.OriginBytes:
		return ref, OriginMemory
	}
	return 0, fits
}

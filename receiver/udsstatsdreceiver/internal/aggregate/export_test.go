package aggregate

import "github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/dogstatsd"

// What tests need to see, and nobody else.

// MaxScale and MaxBuckets are what histograms are held against.
const (
	MaxScale   = maxScale
	MaxBuckets = maxBuckets
)

// BucketOf is bucketOf.
func BucketOf(v float64) int32 { return bucketOf(v) }

// Hist is a histogram without a table.
type Hist struct {
	h   histogram
	sum number
}

// NewHist returns an empty histogram.
func NewHist() *Hist {
	h := &Hist{}
	h.h.init()
	return h
}

// Add adds a value n times.
func (h *Hist) Add(v float64, n uint64) {
	if !h.h.add(v, n) {
		h.h.grow(v, n, true)
		h.h.add(v, n)
	}
}

// Merge adds all of another histogram.
func (h *Hist) Merge(from *Hist) { h.h.merge(&from.h) }

// Reset empties the histogram.
func (h *Hist) Reset() { h.h.reset() }

// Bytes is what it takes.
func (h *Hist) Bytes() int { return h.h.bytes() }

// Point is what a flush would hand out.
func (h *Hist) Point() Histogram { return *new(batch).histogram(h.sum, &h.h) }

// SizeOfContext is for the promise of its comment.
func SizeOfContext() int { return contextSize }

// Keys counts the raw keys.
func (t *Table) Keys() int { return t.raw.used }

// Texts counts the chunks of text that are kept.
func (t *Table) Texts() int { return len(t.texts.chunks) - len(t.texts.free) }

// Owners counts the origins that are kept.
func (t *Table) Owners() int { return len(t.byOrigin) }

// Key is the hash of a sample as sent.
func (t *Table) Key(origin Origin, s *dogstatsd.Sample) uint64 { return t.key(origin, s) }

// Usage is what an origin pays for.
type Usage struct{ Contexts, Overflow, Keys, Bytes int }

// Bill is what an origin pays for, nothing if it is unknown.
func (t *Table) Bill(origin Origin) Usage {
	ref, ok := t.byOrigin[origin]
	if !ok {
		return Usage{}
	}
	u := t.owners.at(ref).bill
	return Usage{u.contexts, u.overflow, u.keys, u.bytes}
}

// Bodies is what all bodies have allocated.
func (t *Table) Bodies() int { return t.bodies }

// Refused counts the origins without a place.
func (t *Table) Refused() int { return len(t.refused) }

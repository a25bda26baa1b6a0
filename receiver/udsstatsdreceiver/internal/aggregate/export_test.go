package aggregate

import "github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/dogstatsd"

// What tests need to see, and nobody else.

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

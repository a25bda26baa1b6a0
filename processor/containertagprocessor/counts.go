package containertagprocessor

import "sync/atomic"

// outcome is what became of a resource, as in metadata.yaml.
type outcome uint8

const (
	wasTagged outcome = iota
	notTagged
	noContainer
	excluded
	outcomes
)

// reason is why a resource has no tags.
type reason uint8

const (
	unknownToAll reason = iota
	late
	noSource
	tooMany
	reasons
)

// counts are those of one processor. They are safe for concurrent use.
type counts struct {
	byOutcome [outcomes]atomic.Uint64
	byReason  [reasons]atomic.Uint64
	// refusedItems waited for tags and were not taken by the next component.
	refusedItems atomic.Uint64
}

func (c *counts) count(o outcome) { c.byOutcome[o].Add(1) }

func (c *counts) untagged(r reason) {
	c.byOutcome[notTagged].Add(1)
	c.byReason[r].Add(1)
}

// The names are those of metadata.yaml.
func (o outcome) String() string {
	return [outcomes]string{"tagged", "untagged", "no_container", "excluded"}[o]
}

func (r reason) String() string {
	return [reasons]string{"unknown", "late", "no_source", "too_many"}[r]
}

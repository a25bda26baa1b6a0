package aggregate

// Reason is why something was counted.
type Reason uint8

// The first five are values that went to the overflow context of their name,
// then come values that were dropped, then what else is worth knowing.
const (
	OriginFull     Reason = iota // to the overflow context: who pays for the origin has all the contexts it may have
	OriginMemory                 // to the overflow context: who pays for the origin has all the memory it may have
	ChargedFull                  // to the overflow context of the payer: there is no place for another origin that is charged to one; counted for the payer
	TableFull                    // to the overflow context: there are as many contexts as there may be
	MemoryFull                   // to the overflow context: the memory is used up
	OverflowFull                 // dropped: there is no room for another overflow context
	OverflowMemory               // dropped: the memory is used up that overflow contexts may have
	OriginsFull                  // dropped: there are as many origins as there may be; counted for origin 0
	Blocked                      // dropped: the policy does not want the name
	TooLong                      // dropped: name or tags are longer than 65,535 bytes
	OutOfRange                   // dropped: the sum would be infinite
	LateFull                     // dropped: the context has all the timestamped points it may have
	LateType                     // dropped: a timestamp on something else than a counter or a gauge
	Ahead                        // dropped: the timestamp is too far in the future
	Unremembered                 // kept: the order of its tags is looked up anew each time
	Cleaned                      // kept: a context with text that was not valid, made valid
	NonMonotonic                 // kept: a counter that has gone down for the first time
	WeightCapped                 // kept: a rate below one in 2^20, taken as that
	reasons
)

// String is the reason as an attribute's value.
func (r Reason) String() string {
	names := [reasons]string{
		"origin_contexts", "origin_memory", "charged_origins", "contexts", "memory",
		"overflow_contexts", "overflow_memory", "origins", "blocked",
		"too_long", "out_of_range", "late_points", "late_type", "timestamp_ahead",
		"tag_orders", "invalid_text", "non_monotonic", "weight_capped",
	}
	if r >= reasons {
		return "unknown"
	}
	return names[r]
}

// Kept is true if the value is in its own context all the same, and false if it
// went to an overflow context or was dropped.
func (r Reason) Kept() bool { return r >= Unremembered && r < reasons }

// Counts holds a number for each [Reason].
type Counts [reasons]uint64

// Counts hands out what was counted since the last call, origin by origin.
// Origins without counts are left out. each runs under the lock of the table,
// which is given back now and then, and must only take the numbers.
func (t *Table) Counts(each func(Origin, Counts)) {
	take := func(origin Origin, counts *Counts) {
		if *counts != (Counts{}) {
			each(origin, *counts)
			*counts = Counts{}
		}
	}
	t.mu.Lock()
	take(0, &t.nobody)
	t.mu.Unlock()
	t.eachOwner(func(_ uint32, o *owner) { take(o.origin, &o.counts) })
}

func (c *Counts) add(from *Counts) {
	for r, n := range from {
		c[r] += n
	}
}

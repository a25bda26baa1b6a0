// Package cadence decides what of a steady stream of readings is told on: all that
// changes, and of what stays the same the two ends of each stretch and a reading now
// and then.
//
// Promise: between two readings that are told, one after the other, those that were
// left out are all equal to the first of the two. Whoever draws straight lines
// through what is told, or takes rates of it, gets what all readings would give. The
// first reading and the first one that repeats another are always told, so that a
// rate is known to be zero as soon as it is. When something changes after a silence,
// the last reading before it has to be told as well, at the time when it was made:
// [Steps.Next] says so. Of a stretch without any change at least every n-th reading
// is told, see [New].
//
// Concurrency: a [Steps] belongs to one goroutine. A [Cadence] is a value.
//
// Cost: no allocation, a few bytes for each thing that is read. To compare two
// readings is the caller's business.
//
// Kernel needs: none.
package cadence

// Package aggregate adds up samples of DogStatsD until they are flushed: a
// context for every metric with its tags and its origin, and a point of each
// context that was touched.
//
// Promise: a sample ends in its context, in the overflow context of its name,
// or in [Counts] with the reason. Counters are sums of value/rate with
// compensated rounding. Histograms have exact sums, minima and maxima, every
// value is in the bucket that OTLP says, and no more than 160 buckets for each
// sign. Sets are exact up to 128 members, and estimated beyond. Memory, contexts
// and what one origin may have of them are bounded.
//
// Points are handed out by origin, cumulative (state is kept, only touched
// contexts are handed out, what is unseen for five minutes is forgotten and
// starts anew) or as deltas.
//
// There is one copy of a context, not one for the reader and one for the flush:
// two copies of a million contexts would not fit into the 400 MB that they may
// have. The flush takes the lock for 128 contexts at a time instead, which is
// what a reader waits for at the worst. Each point carries the time of its own
// reading, so that it holds exactly what came until then.
//
// Concurrency: one reader per [Table] calls Lock, Add for each sample of a batch,
// Unlock. All other methods lock by themselves and may be called at any time
// from any goroutine, but not between Lock and Unlock.
//
// Cost: Add of a known context allocates nothing, but for sets with more than
// 128 members. See aggregate_timing_test.go for the figures.
//
// Kernel needs: none.
package aggregate

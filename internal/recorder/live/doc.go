// Package live keeps the headline numbers of every container for the last two
// minutes in memory, for pages that follow them second by second.
//
// Promise: a row per container, and one for the host under the id "". Each has a
// number per [Metric]: gauges as they were measured, counters as rates between the
// last two measurements, and NaN where that is not known: before the second
// measurement, where a counter fell without a new start, and after three times as
// long as usual without data (15 s to 90 s). A row goes when all of it was NaN for two
// minutes. Only what Tallyman's own receivers send is taken.
//
// A second is what [Live.Tick] says: the owner calls it once each second, and it
// copies the newest numbers into the ring.
//
// Bounds: [Options.MaxContainers] rows (2,000) of 9.4 kB each; 200 containers take
// 1.9 MB. Rows that found no place are counted.
//
// Concurrency: a [Live] is safe for concurrent use.
//
// Cost: taking a pass and making its delta allocate nothing once the rows are
// there, and take 21 ns per sample (200 containers, 60 metrics each, AMD EPYC). See
// live_timing_test.go.
//
// Kernel needs: none.
package live

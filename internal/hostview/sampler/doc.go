// Package sampler reads the cgroups of one host in passes and keeps, per
// container, what was last known of it: counters, limits, OOM kills, whether
// it runs on degraded, and its final sample once it is gone.
//
// Any number of [Consumer]s share the passes of one [Sampler]: a consumer that
// asks within half an interval of the last pass gets that pass. Ended
// containers and events go to each consumer's own bounded queue, once; what
// does not fit is counted.
//
// All methods are safe for concurrent use. What a [Pass] holds may be used
// only inside the function that [Consumer.Collect] calls: it runs under the
// sampler's lock.
//
// Cost: one pread(2) per file and container, no allocation in a pass without
// changes; processes are looked at only when their number changed, every slow
// interval, and after an OOM kill.
package sampler

// Package metricstore keeps every sample of the last hours on the host: a
// Prometheus TSDB fed with OTLP metrics and asked with PromQL.
//
// Promise: a sample that Write counted is answered by the next query and is
// there after kill -9. What cannot be kept is counted with its reason, and the
// rest goes on: damaged blocks are moved to the folder corrupt, a damaged log
// is cut at the damage, and [Recovery] says what that cost. The disk is never
// filled: old blocks go first, and when almost nothing is free samples are kept in
// memory only, for two minutes. Series are bounded for each container, for the host
// itself and in all. After End the series of a container have no value any more.
//
// Damage that a reader meets in an open store, whoever it is and by whichever door,
// is answered with [ErrDamaged]. Within seconds the block is replaced by a copy of
// all chunks and series that are whole; one line is logged, and [Stats] tells of it.
// In memory-only mode this waits until there is room.
//
// Names are those of the Prometheus exporter (suffixes for unit and type).
// Labels are container_id, container_name, container_image_name, service_name,
// docker_compose_project and the attributes of the point; the other tags are
// the business of the entity table. When the name, image or service of a container
// becomes known or changes while it is recorded, its series under the old labels end
// with the first sample under the new ones. Data without container.id have the label
// service_instance_id, because two instances would be one series otherwise.
// Sums and histograms with delta temporality are added up; a sum starts at
// zero with its first point and after 15 to 20 minutes of silence. A delta, bound or
// threshold that is no number is dropped; a measured value is kept as it is.
//
// Concurrency: all methods are safe for concurrent use. Writes happen one after
// the other; queries wait for nobody, and may see a part of a batch that is just
// being written. One goroutine, ended by Close, compacts and deletes. A store that
// is open holds a lock on its folder.
//
// Cost, with 12,000 series a second for six simulated hours, a container replaced
// every three minutes (AMD EPYC, both cores busy with other work, GOGC=50,
// GOMEMLIMIT=200MiB): 0.48 us of CPU for a sample, all included, and 0.52 us in a
// shorter run beside twelve other busy processes. Of this the TSDB's append and
// commit are 0.36 us (the same samples given to it alone in the same run), finding
// the series of a point 0.05 to 0.11 us, blocks and retention 0.07 us; garbage
// collection is 0.06 us of it, that of the benchmark's own data included.
// On disk 3.04 bytes for a sample in blocks, 162 MB of log and head. 93 MB of
// anonymous memory at the moment a block is cut, 35 MB when idle. 1.9 s to reopen
// after a kill. 60 queries for the page of a container over six hours take 470 ms,
// 200 ms when asked again. One command gives these figures; it is at BenchmarkHost.
//
// Disks: a budget bounds what the store takes. Beside it, while less than 1 GiB is
// free, or 5 % of a disk smaller than 20 GiB, the oldest block goes every second;
// below 410 MB, or 2 % of such a disk, samples are kept in memory only, and again
// on disk above 614 MB or 3 %. A disk of 2 TB that is 96 % full has 80 GB free:
// nothing happens to it.
//
// Kernel needs: none.
//
// Clocks: blocks are kept for the time that they cover, not for their age, so
// that a jump forwards deletes nothing. When the clock goes back by more than
// the out-of-order window, what was recorded under the later time is closed off
// as blocks of its own and stays until the budget takes it; recording goes on
// under the new time. Where there is no room for these blocks, what was recorded stays
// as it is, and samples are kept in memory only until there is. The end of a container
// that is told with a time after now is now.
//
// Known limitations: a disk that another program fills within the second
// between the check of the free space and the write of head chunks makes the
// TSDB panic; the store catches this, keeps to memory and needs a restart. Series of
// a container from before a restart are not ended when it has other labels after it:
// both are answered for the lookback of 30 s. Damage to the chunks of the last twenty
// minutes, which are in no block yet, is answered with an error and not repaired; the
// TSDB panics when it is to make a block of them, and the store keeps to memory.
// Exemplars and the start time of points are not kept.
package metricstore

// Package procstream knows the processes of a host: what runs in a cgroup, who
// descends from whom, and when each started.
//
// Today it has one tier: /proc, read on demand by a [Reader]. A process that
// starts and ends between two reads is not seen; callers are told nothing they
// could mistake for a complete record. A Reader is not safe for concurrent use.
//
// Cost: 9 µs and 1.3 kB of garbage per [Reader.Stat], 12 µs and 72 bytes per
// [Reader.VPID], nearly all of it the kernel's (BenchmarkReader on an idle
// child, processor time of 200,000 calls each, Linux 6.18, AMD EPYC). Each
// reads one file. Kernel needs: any; the in-namespace pid needs NSpid (4.1).
//
// Formats: proc_pid_stat(5), proc_pid_status(5).
package procstream

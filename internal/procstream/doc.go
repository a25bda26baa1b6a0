// Package procstream knows the processes of a host: what runs in a cgroup, who
// descends from whom, and when each started.
//
// Today it has one tier: /proc, read on demand by a [Reader]. A process that
// starts and ends between two reads is not seen; callers are told nothing they
// could mistake for a complete record. A Reader is not safe for concurrent use.
//
// Cost: about 10 µs per [Reader.Stat] and 15 µs per [Reader.VPID], one file
// each. Kernel needs: any; the in-namespace pid needs NSpid (4.1).
//
// Formats: proc_pid_stat(5), proc_pid_status(5).
package procstream

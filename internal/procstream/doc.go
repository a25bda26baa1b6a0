// Package procstream knows the processes of a host: what runs in a cgroup, who
// descends from whom, when each started, and how it ended.
//
// It has two tiers. A [Stream] is told by the kernel (BPF) of every fork, exec
// and exit, of OOM kills, and of cgroups that are made, removed and entered; it
// carries the ids of the cgroups, so that a process of a millisecond is put down
// to its container. What it loses is counted, and told. A [Reader] reads /proc
// on demand: a process that starts and ends between two reads is not seen.
//
// Neither is safe for concurrent use but for [Stream.Stats]; a Stream calls its
// handlers from one goroutine of its own.
//
// Cost: see docs/benchmarks.md for the Stream, which wakes up ten times a second
// and holds 8 MiB of kernel memory. 9 µs and 1.3 kB of garbage per
// [Reader.Stat], 12 µs and 72 bytes per [Reader.VPID], nearly all of it the
// kernel's (BenchmarkReader on an idle child, processor time of 200,000 calls
// each, Linux 6.18, AMD EPYC).
//
// Kernel needs: the Reader any, the in-namespace pid NSpid (4.1); the Stream
// those of package bpfload.
//
// Formats: proc_pid_stat(5), proc_pid_status(5), bpf/include/process.h.
package procstream

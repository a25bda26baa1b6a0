// Package procstream knows the processes of a host: what runs in a cgroup, who
// descends from whom, when each started, and how it ended.
//
// It has three tiers. A [Stream] is told by the kernel (BPF) of every fork, exec
// and exit, of OOM kills, and of cgroups that are made, removed and entered; it
// carries the ids of the cgroups, so that a process of a millisecond is put down
// to its container. What it loses is counted, and told. A [Connector], for hosts
// that refuse BPF, is told of forks, execs and exits by the kernel's proc
// connector, which gives numbers only; the rest it reads from /proc while it is
// still there. A [Reader] reads /proc on demand: a process that starts and ends
// between two reads is not seen.
//
// None is safe for concurrent use but for the counters of a Stream and a
// Connector, which call their handlers from one goroutine of their own.
//
// # What a Connector does not know
//
// The cgroup of a process that had gone before it was read is that of its parent,
// read again if that is still there. A move to another cgroup is not told: it is
// seen at the next exec and, in the unified hierarchy, at the end of a process
// whose parent has not waited for it yet (in a v1 hierarchy all such processes
// are shown in the root). A runtime that forks, moves and execs a program that
// ends within a millisecond is put down to where the runtime is. A cgroup that
// was neither read nor inherited is 0. Processes of CLONE_PARENT inherit from
// the parent they are given, not from who made them.
//
// OOM kills have no name, CPU time and peak memory of the ended are not given,
// and cgroups that come and go are not told. An event that the kernel had no
// memory for is lost without a sign. A process ends once, with its last thread;
// only if all of it had gone when the end of its first thread was looked at, the
// status is that of the first thread, and a program started by another thread in
// between ends a second time.
//
// Cost: see docs/benchmarks.md for the Stream, which wakes up some 19 times a
// second while anything happens, once otherwise, and holds 4 MiB of kernel memory. 9 µs and 1.3 kB of garbage per
// [Reader.Stat], 12 µs and 72 bytes per [Reader.VPID], nearly all of it the
// kernel's (BenchmarkReader on an idle child, processor time of 200,000 calls
// each, Linux 6.18, AMD EPYC). A Connector wakes up for every event, 90 to
// 140 µs each (BenchmarkConnector, same machine), 100 times as much as a Stream:
// nearly all of it is system calls that read /proc, and being woken. Threads
// that end cost a wake-up each, threads that start nothing. It holds up to 16 MiB
// of kernel memory when it falls behind, and some 260 bytes of its own for each
// living process, of which it remembers 32,768.
//
// Kernel needs: the Reader any, the in-namespace pid NSpid (4.1); the Stream
// those of package bpfload; the Connector CONFIG_PROC_EVENTS, the host's network,
// pid and user namespaces, before Linux 6.6 CAP_NET_ADMIN, and 4.18 for the
// parent of an ended process. CAP_NET_ADMIN also makes its buffer larger than
// net.core.rmem_max, CAP_SYS_PTRACE shows the programs of other users. A
// Connector that is killed stays in the kernel's count of subscribers: it goes on
// preparing messages, for nobody, until the host is restarted.
//
// Formats: proc_pid_stat(5), proc_pid_status(5), cgroups(7),
// bpf/include/process.h, include/uapi/linux/connector.h and cn_proc.h.
package procstream

// Package state takes a picture of a container and its host at one moment:
// what a capture needs and nobody can read later.
//
// What goes first is read first: the files of the cgroup, which the runtime
// removes within milliseconds of the last process, then the processes, then
// their sockets, then the host's own files, then what the kernel has said.
// What is not there is listed in [Snapshot.Missing] with its reason; a picture
// without the cgroup is a normal result.
//
// Secrets: arguments and the kernel's command line go through package redact
// here, so that a picture on disk has none of them. Environments are never read.
//
// Concurrency: a [Camera] is safe for concurrent use.
//
// Cost: about seven files per process, and two per network namespace. The files of
// a cgroup take 3.5 ms, each process 0.1 ms, the sockets of a namespace as long as the
// kernel needs to walk through those of all namespaces: 25 ms on a busy host (AMD
// EPYC, cgroups v1 and v2, see state_timing_test.go). The whole is bounded in time by
// [Options.Within]. Reading the command line of a process
// takes its memory lock (mmap_lock), which a process that is about to be killed for
// want of memory may hold for long: that is why the cgroup's files come before.
//
// Kernel needs: procfs; cgroup v1, v2 or both; /dev/kmsg for the kernel's report. An
// agent that is not root needs CAP_SYS_PTRACE for exe, cwd and sockets of other users'
// processes, CAP_DAC_READ_SEARCH for how many files they have open, and CAP_SYSLOG for
// the kernel's report; what it lacks stands in [Snapshot.Missing].
package state

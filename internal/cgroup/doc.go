// Package cgroup reads control groups into plain structs: CPU, memory, swap,
// IO, pids, pressure, memory events and limits, from cgroup v1, v2 and hybrid
// hosts alike. It knows nothing of containers.
//
// [Detect] finds the hierarchies from mountinfo. A [Reader] reads one cgroup
// through kept descriptors: a steady-state Read is one pread(2) per file and
// no allocation. On hybrid hosts CPU time and pressure come from the unified
// mount and the rest from the v1 controllers, as the kernel has them there.
//
// A file that this kernel does not have leaves its [Part] out of the sample;
// content that cannot be parsed is counted in [Stats], leaves its Part out,
// and never yields a number. A cgroup removed while it is read is [ErrGone].
//
// A [Host] is immutable and safe for concurrent use. A Reader, and the Sample
// it fills, belong to one goroutine at a time.
//
// Kernel needs: any Linux with cgroups. Files added later and used where
// present: cgroup.pressure files (4.20), memory.peak (5.19).
//
// Formats: https://docs.kernel.org/admin-guide/cgroup-v2.html and
// https://docs.kernel.org/admin-guide/cgroup-v1/memory.html.
package cgroup

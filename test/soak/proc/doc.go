// Package proc reads from /proc what a process costs: processor time, memory,
// threads, and descriptors by what they are.
//
// Concurrency: all functions are safe for concurrent use.
//
// Cost: a system call per descriptor, and a walk over the page tables for Pss,
// about 1 ms for 150 MB.
//
// Kernel needs: root or the same user; smaps_rollup is there since 4.14.
package proc

// Package selftest holds the tests of the emulated guest itself: that it is what test/vm promises. It has no code of
// its own, and its tests carry the build tag vm because no other host has to look like the guest.
//
// Concurrency and cost: the tests run one after the other and take under a second. Kernel needs: cgroup v2 with the
// controllers cpu, io, memory and pids; pressure information (4.20) is not asked for.
package selftest

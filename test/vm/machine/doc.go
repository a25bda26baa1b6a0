// Package machine boots a Debian stock kernel in an emulated computer and judges what its serial console tells. It is
// what the commands test/vm and test/vm/docker have in common: the table of pinned kernels and their cache, QEMU, the
// marker lines on the console, and the verdict over them.
//
// Promise: a kernel is in the cache as a whole or not at all, and what apt does not offer is ErrKernelAbsent with the
// package's name. Boot never outlives its deadline or its process. A run passes only if every package reported exit
// code 0 and at least one passed test and the end line arrived whole; every other outcome has an error of its own.
//
// Concurrency: functions and values may be used from several goroutines, except Phases and Report. Several processes
// may share a cache.
//
// Cost: 27 MB of download and 110 MB of disk per kernel, once. A machine keeps one processor busy.
//
// Needs: Linux on amd64 with qemu-system-x86_64 (5.2 or newer, for NVMe name spaces) and dpkg-deb, and apt-get with a
// Debian source for the first run of each kernel. No KVM, no root.
package machine

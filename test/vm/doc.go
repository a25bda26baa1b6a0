// Command vm boots a Debian stock kernel in an emulated machine and runs test binaries of this repository in it,
// so that code which depends on the kernel is tried on kernels and cgroup layouts the build host does not have.
//
//	go run ./test/vm -suite cgroup -kernel 6.1
//
// # Promise
//
// The guest has a pure cgroup v2 hierarchy at /sys/fs/cgroup with cpu, io, memory and pids enabled below the root,
// root rights, a real block device behind /tmp, and TALLYMAN_VM=1 and TALLYMAN_REQUIRE=1 in the environment.
// The command exits 0 only if every package of the suite reported exit code 0 and at least one passed test, and the
// end line arrived whole. A kernel panic or oops, a missing binary, a truncated console and a run beyond the
// deadline are errors, each with a name of its own.
//
// It is a command and not a test with a build tag for three reasons: the console is streamed while the guest runs
// (go test holds it back when it runs several packages), the deadline and the phases are its own and not those of
// the testing package, and the suite and the kernel are arguments. The parts worth testing without a machine (the
// console parser, module order, the tables) have ordinary tests. What it shares with test/vm/docker is package machine.
//
// # Concurrency
//
// One process, one machine. Several runs may share a cache folder: a kernel appears there by one rename.
//
// # Cost
//
// About 27 MB of download and 110 MB of disk per kernel, once. Emulation is single-threaded on purpose: guests with
// two virtual processors have crashed at boot without hardware virtualisation. 1 GiB of memory while the guest runs.
//
// # Needs
//
// Linux on amd64 with qemu-system-x86_64, a static busybox and dpkg-deb; apt-get with a Debian source for the first
// run of each kernel. No KVM, no root.
package main

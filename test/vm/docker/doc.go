// Command docker boots what most users run, in an emulated machine: Debian with systemd, Docker with the systemd cgroup
// driver, and nothing but cgroup v2. In it the agent is installed from its package, whose unit starts it with the default
// configuration, and the tests of test/vm/docker/guest hold it against the kernel, the engine and systemd; then the
// packages themselves.
//
//	make test-vm-docker              # or, with the host's programs in place:
//	go run ./test/vm/docker -v       # with the whole console
//
// # Promise
//
// The agent under test is the one scripts/build.sh makes from the working tree, which this command calls. The command
// exits 0 only if the guest's tests reported exit code 0 and at least one passed, and the end line arrived whole.
// Everything else has a name: those of package machine, a program the host lacks, a disk that could not be made.
// The console of the last run is kept in a file; its end is printed when the run did not pass.
//
// # Concurrency
//
// One process, one machine. Several runs may share a cache folder: a disk image appears there by one rename, and what
// a guest writes to it is thrown away. They share the console file, too: the last one wins.
//
// # Cost
//
// Once: 27 MB of download and 110 MB of disk for the kernel, 110 MB and 600 MB for the disk image. Each run: 2 GiB of
// memory, one processor.
//
// # Needs
//
// Linux on amd64 with qemu-system-x86_64 and mke2fs; for the first run root, debootstrap, unshare, dpkg-deb and a Debian mirror
// among apt's sources. No KVM.
package main

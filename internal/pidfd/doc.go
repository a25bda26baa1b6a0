// Package pidfd asks the kernel about processes by their descriptors, also about
// those that have ended: which cgroup they left, and how.
//
// Concurrency: all functions are safe from any goroutine.
//
// Kernel needs: SO_PASSPIDFD (6.5) to get descriptors with datagrams,
// PIDFD_GET_INFO (6.13) and PIDFD_INFO_EXIT (6.15; descriptors of dead senders in
// some releases only after 6.17). [Probe] tries all of it.
package pidfd

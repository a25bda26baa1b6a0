// Package sockdiag asks the kernel for the TCP sockets of a network namespace, by
// NETLINK_SOCK_DIAG: its listeners, and the connections that are open with what
// they have counted so far. A [Door] asks for those that wait for others alone, of
// UDP too.
//
// For connections it seeds the map of listeners when BPF begins to look, takes BPF's
// place where that is refused, and counts the bytes of what stays open beside it: a
// [Poller] compares what is there now with what was there before.
//
// Promise: [Dump] returns each listener and each connection that was there all the
// time (but see the limitations), with its cgroup (where the kernel tells: 5.8),
// bytes, segments and round trip time. A Poller alone is best effort: a connection
// that comes and goes between two looks is never seen, of one that has gone the
// counters are those of the last look, it is told at the second look without it,
// and how it ended is not known. [Owners] tells which process has a socket, as long
// as there are fewer descriptors than it may look at.
//
// Beside somebody who tells of each end, such as BPF, a Poller is exact: what it
// told of a connection and what [Poller.Forget] leaves of its final counters are
// its final counters, neither doubled nor lost. For that a look is begun before its
// Dump, and what is forgotten from then on is not there for its Compare: the kernel
// takes a socket out of its tables before it tells of the end, so that only a dump
// which had begun by then can have it. The news of an end may come until the second
// look that begins after it, and as long after the last look that saw it as the
// patience of [NewPatientPoller] says. Later news find nothing, and are then counted
// in full.
//
// The kernel reads the state of a socket a moment before its counters: a FIN that
// comes in between is counted as one byte received. A Poller never tells that byte:
// the last one of those that have come since the look before waits for the next.
//
// Concurrency: Dump and Owners are functions without state. A Door belongs to one
// goroutine. A Poller is safe for concurrent use; Compare calls back under its lock.
//
// A socket keeps the namespace it was made in from going away: Dump closes its own
// before it returns, a Door has to be closed. The descriptor of the namespace that
// they are given does the same, so close that too.
//
// Cost: a Dump takes 0.6 ms, and 4.2 us, 1 kB and three allocations for each
// socket; Compare 0.15 us for each connection, of which it keeps 350 bytes; Owners
// 4 us for each descriptor (AMD EPYC, 2 cores, Linux 6.18; other work on the same
// machine made each up to four times as slow). See sockdiag_timing_test.go. To enter
// another namespace takes a thread, 0.06 ms. A Door's question takes 0.04 ms, and 1
// us for each socket: the kernel goes over a table of listeners, not of connections.
//
// Known limitations: the kernel goes over its table in steps, and can leave out a
// connection whose neighbours in it go meanwhile. Left out twice in a row, or cut
// off by a limit twice, it is told as ended and then as new, with all its bytes
// again. A FIN_WAIT2 socket that no process has any more has no counters, and is left
// out. Of one that ends without news the byte that waits is told at the end, and may
// have been a FIN. Before 4.19 what is sent may have our own FIN in it.
//
// Kernel needs: CONFIG_INET_DIAG and CONFIG_INET_TCP_DIAG (modules inet_diag and
// tcp_diag, which the kernel loads by itself), for UDP CONFIG_INET_UDP_DIAG
// (udp_diag); nothing for the own namespace, CAP_SYS_ADMIN to enter another;
// CAP_SYS_PTRACE for the descriptors of other users' processes.
//
// Formats: sock_diag(7), include/uapi/linux/inet_diag.h.
package sockdiag

// Package peers knows who is at an address: a container, the host, or nobody
// known, which is then a group of addresses.
//
// A [Table] holds the addresses of every network namespace that has containers and
// of the host's, and which of them are on one link, as the kernel tells by
// rtnetlink. Many namespaces may have the same address. The one that is meant is
// the asking namespace's own, or else the one on a link with it, or else the one
// whose link is in the same namespace as a link of the asking one; if several are
// left the answer is [Ambiguous], never a guess. In a namespace that several
// containers share, the server's port tells which of them is meant where the
// listener is known; otherwise the answer has them all.
//
// Promise: an address that was read is answered from the next [Table.Refresh] on,
// and for the grace period after it has gone, unless somebody living has it then.
// Of those who have gone the last one is answered. A loopback address is the asking
// namespace's own. What is nobody's is in the group with the longest prefix.
//
// Concurrency: Lookup and its like are safe from any goroutine, take no lock and
// never wait: they read a finished snapshot. Refresh and Run are for one goroutine.
//
// Cost: Lookup takes 0.1 us and allocates nothing; both ends of a connection with
// their edges 0.6 us with 100 containers and 0.8 us with 1000. A Refresh enters
// each namespace that is due, 0.2 ms each, and makes the snapshot anew: 0.7 ms and
// 430 kB for 1000 containers (AMD EPYC, 2 cores, Linux 6.18; two to four times as
// much with other work on the machine). See peers_timing_test.go.
//
// Known limitations: macvlan and ipvlan interfaces, VLANs and tunnels are on no
// link that is known, so that two of them with the same address are ambiguous. An
// address that comes and goes between two refreshes is never seen. Who asks from a
// namespace that has gone and whose number another has got asks from that one.
//
// Kernel needs: network namespaces; RTM_GETNSID with a descriptor (4.0). Nothing for
// the process' own namespace; CAP_SYS_ADMIN enters another, CAP_SYS_PTRACE finds it.
//
// Formats: rtnetlink(7), include/uapi/linux/{rtnetlink,if_link,if_addr,net_namespace}.h.
package peers

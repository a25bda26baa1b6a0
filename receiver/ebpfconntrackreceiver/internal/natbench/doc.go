// Command natbench measures what it costs to know of every connection and who is
// behind its translated addresses: by the pull resolver, and by a table that the
// kernel's conntrack events keep. `make bench-conntrack` builds and runs it; what it
// prints is the section on connections of docs/benchmarks.md.
//
//	scripts/bench-conntrack.sh              5 rounds of 20,000 connections, about 3 minutes
//	scripts/bench-conntrack.sh -quick       one short round, to see that it works
//
// Three network namespaces are made: a client, a router that forwards the published
// port and masquerades (DNAT and SNAT), a server. The client makes connections, 8 at
// a time, one after the other: connect, send 16 bytes, get 32, close. The tracker is
// a process in the router's namespace, where the agent would be. Rounds of four
// trackers take turns:
//
//   - none: the load alone, which is subtracted from the others.
//   - records: connstream, which tells of both ends of each connection.
//   - pull: records, and each batch's tuples asked of the pull resolver.
//   - ctnetlink: records, and the same asked of the table.
//
// So pull minus records is what the resolver costs, and ctnetlink minus records what
// the table costs. When the tracker has nothing more to do, the router's conntrack is
// flushed: else the table's second event of each connection would come after the
// round, which ends when there is again nothing to do.
//
// CPU time is taken twice: of the whole machine (/proc/stat) less that of all
// processes that take no part, and of the processes that take part together with
// ksoftirqd. The first one has interrupts and all the kernel's threads in it, and
// the inaccuracy of two sums that are taken in different ways. The kernel's work for a tracker is
// in the load's own system time, and so in both.
// Every answer is checked: the client's socket has to be told the server behind the
// published port, the server's the published port and the client behind the
// masquerade.
//
// It is here and not in test/bench because it uses internal packages of the
// receiver. It needs root, ip, nft and conntrack.
package main

// Package join finds the other ends: among the ends of TCP connections that the
// kernel told of as they closed, the two of one connection, and the two connections
// that one docker-proxy served.
//
// An address does not say who had it where containers live for a moment, where two
// networks use the same addresses, or where docker-proxy is in between. Its own end
// of the connection does.
//
// # How two ends are known to be of one connection
//
// They are ends in different directions, and have a view in common: the connection
// as the client's socket has it, as the server's has it, or from the one's own
// address to the other's. An end that conntrack had an answer for knows all of
// them, so that one end's answer is enough, and none where nothing is translated.
// If an end's answer says who is at the other end, the other end must be that. A
// view with a loopback address is of one network namespace. Nobody has received
// more than the other one sent. They were there at the same time: the client was
// established before the server, and the server before the client ended, or as
// much later as the client's handshake took.
//
// If more than one end fits, those of exact times are taken before those that were
// late, and among these those with both views of conntrack in common. If there is
// still more than one on either side, and they are not all of one owner and address,
// the answer is Ambiguous.
//
// # How the legs of docker-proxy are matched
//
// A process of docker-proxy serves one published port and dials one address. So the
// client that reached it is told the container by the process alone. Whom the
// container is told depends on the connection: the leg that was dialled began while
// the one that was accepted was there, within a second of its beginning, and the
// bytes crossed. Each leg is used once. If several fit and come from one client, the
// first in time is taken; if they come from different ones, or one is missing,
// the answer is Ambiguous.
//
// # Promise
//
// Every end that is added is handed out exactly once. Nobody is told to be at the
// other end who is not: what is not certain is Ambiguous or not found. This holds
// for all ends of which the joiner knows when it answers. It can be wrong where of
// two connections with the same addresses and ports, at the same time, in two
// isolated networks, one end each comes more than Settle before the others, or never;
// and where of two connections through one docker-proxy, of different clients, at
// the same time and with the same bytes, one leg each comes more than Settle before
// the others. After [Joiner.Lost], or when MaxRemembered makes it forget, legs are
// not matched for a while.
//
// Memory is bounded by Options.MaxWaiting and MaxRemembered, if Take follows an Add
// that says full: an end takes up to 500 bytes, with the index, without T.
//
// # What it does not know
//
// A proxy process that is of a direction nobody saw (Unknown) has no legs. The number
// of a process that ended, given to the docker-proxy of another container within
// Remember, is noticed by another published port or container address, not if both
// are the same. A connection that was reset has often carried different bytes on
// its legs: the container is then told docker-proxy's own end. Two translators, one
// behind the other, are seen through only if each end's answer names the real
// other end. Of more than 64 uses of one pair of addresses and ports within
// Remember only the last are looked at.
//
// Concurrency: one goroutine, or a lock around all methods.
//
// Cost: nothing is allocated for an end once the tables have grown. For each end
// 0.3 µs of CPU if it is not wanted, 0.7 µs if it waits in vain, 1.4 µs if it is one
// of two under NAT, and 1.8 µs behind docker-proxy, where half of the ends are its own
// (BenchmarkJoin, 10,000 ends every 100 ms and 50,000 remembered, on a 2-core AMD
// EPYC that others kept busy; most of it is memory that is in no cache).
//
// Kernel needs: none.
package join

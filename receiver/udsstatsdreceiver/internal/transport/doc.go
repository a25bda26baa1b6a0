// Package transport receives DogStatsD from sockets: datagrams and streams over
// Unix sockets, and UDP. It knows nothing of what is in them.
//
// Promise: a [Socket] hands over datagrams in batches, with who sent each as the
// kernel saw it, and closes what the sender did not ask for. A [Listener] hands
// over the frames of each connection, with who connected. Both tell in a [Report]
// what they got of what was asked for: above all how many datagrams wait for a
// reader, which is proven at start by filling a queue of the same making. A
// socket file of somebody else is never removed: see [ListenUnix]. A [Store]
// keeps sockets, and with them the datagrams in their queues, over a restart.
//
// # Queue
//
// The kernel bounds the queue of a Unix datagram socket by the
// net.unix.max_dgram_qlen of the network namespace in which the socket was made,
// and never looks at it again. The socket is made in a new namespace where that
// number is large, and used from ours: a socket with a path is found by its file.
// This needs CAP_SYS_ADMIN and a /proc/sys that can be written. Where that is
// missing the queue is the host's, 10 by default.
//
// # Waiting
//
// The descriptor is not given to Go's poller, which would be woken for every
// datagram. While there is traffic the queue is emptied every 5 ms; after 50 ms
// without any the reader waits in poll(2). A shallow queue would overflow in
// 5 ms: there the reader always waits in poll(2).
//
// Concurrency: everything exported may be called from several goroutines. Handlers
// must not call Close of what calls them, which waits for them.
//
// Cost: 512 KiB of buffers for each [Socket.Run], 64 KiB for each connection of a
// Listener; nothing is allocated per datagram or frame. See the benchmarks.
//
// Kernel needs: SO_PASSPIDFD and SO_PEERPIDFD are of Linux 6.5; SO_PASSRIGHTS, by
// which senders are kept from attaching descriptors, of 6.16. Before that attached
// descriptors are closed as they come in.
//
// Known limitations: between the look at a file and its replacement another agent
// may have made a socket there; the later one wins. A process that dies between
// bind and rename leaves a file with a name of a dot and ten letters behind.
//
// Formats: unix(7), cmsg(3), sd_notify(3), sd_listen_fds(3).
package transport

// Package origin finds out which container sent a datagram.
//
// Promise: an answer by the kernel's word is right, or there is none. A process
// number is given again, and a datagram may wait in the queue longer than its
// sender lives, so a number alone proves nothing. What proves it, by tier:
//
//   - [TierStream]: the process stream of package hostview tells of every start,
//     move and end. Every process that held the number while the datagram may
//     have been sent is looked at; if they are of different containers the
//     answer is [ReasonReused]. The stream comes up to 100 ms late: until then
//     the answer is a pending [Origin], to be asked again with
//     [Resolver.Settle] at flush.
//   - [TierPIDFD]: the datagram carries a descriptor of its sender (SO_PASSPIDFD,
//     see [Resolver.WantPIDFD]), which names the cgroup also of one that has gone.
//   - [TierProc]: /proc/PID/cgroup, best effort: who has gone is unresolved, and
//     a number that was given again between sending and looking names the new
//     process. Such answers are counted in [Stats].
//
// In all tiers a process that started before the queue was last seen empty, and
// still lives, is proven by /proc at once: the usual case.
//
// [Resolver] is shared and safe for concurrent use. [Senders], its cache for one
// socket, is for one goroutine. An [Origin] is immutable, and there is one
// pointer for each as long as somebody holds it, so the pointer is an identity.
//
// Cost: 3 to 7 ns for a known sender and 0 allocations, 0.8 µs per batch, 19 ns
// for a client's text seen before, and 33 µs for a new sender, most of it the
// kernel's, of a cgroup file with ten lines (BenchmarkResolve, Begin, Claim,
// NewSender; Linux 6.18, AMD EPYC). One descriptor per remembered process, 4,096
// at most for each socket. One goroutine, and with the stream some 100 bytes for
// each process that started since, or ended in the last minute.
//
// Kernel needs: pidfd_open(2) (5.3) to remember senders from one batch to the
// next, and CAP_DAC_READ_SEARCH to name a cgroup that is newer than its inotify
// event. The pidfd tier needs PIDFD_GET_INFO with PIDFD_INFO_EXIT (6.15), and
// descriptors of dead senders: [Open] tries both with a child that sends and
// exits. The stream's needs are hostview's, and that this process is in the
// host's first pid namespace.
//
// Known limitations: on hybrid hosts the cgroup id of a descriptor is of the
// unified hierarchy; a runtime that puts its containers only into cgroup v1
// hierarchies leaves dead senders of the pidfd tier with [ReasonCgroup]. A
// process of the host in a pid namespace of its own, in a cgroup that says
// nothing, counts as one of the host. Client fields are not looked at while the
// kernel's word is pending.
package origin

// Package nat tells who is really at the other end of a connection: it looks
// the tuple of a socket up in the kernel's connection tracking (conntrack) and
// returns the same connection as its other end knows it.
//
// # What an answer says
//
// Conntrack keeps two tuples of each connection: the original one, as the first
// packet had it when it came in, and the reply one, which an answer to that
// packet has. Without translation one is the other turned around. A socket's
// own tuple (local address to remote address) is one of the two, and the other
// one, turned so that it reads from the socket's side, is [Answer.Real]:
//
//   - The socket is the client, its tuple the original one: Real.Remote is who
//     is behind the address that it dialled, Real.Local is as whom the server
//     sees it.
//   - The socket is the server's, its tuple the reply one: Real.Local is the
//     address that was dialled, Real.Remote is who dialled it.
//
// Only tuples are compared. The status bits of an entry say that translation
// was set up, not that it changed anything, and differ between kernels.
//
// # Where to look
//
// Every network namespace has a conntrack of its own, and a published port is
// translated in the host's. A container's packets get there with the tuple that
// its socket has, so the socket's tuple is looked up in the host's namespace as
// it is. Let c1 and c2 be containers, gw the host's address on their bridge,
// host its address outside, ext another host:
//
//	client          dialled         original            reply
//	ext             host:8080       ext:p -> host:8080  c2:80 -> ext:p
//	host            host:8080       host:p -> host:8080 c2:80 -> host:p
//	c1 (hairpin)    host:8080       c1:p -> host:8080   c2:80 -> gw:p'
//	c1              ext:443         c1:p -> ext:443     ext:443 -> host:p'
//
// In the third case the port is forwarded to c2 and the sender masqueraded, so
// that the reply comes back through the host. The client's socket (c1:p,
// host:8080) is told c2:80, and the server's (c2:80, gw:p') is told that c1:p
// dialled host:8080. In the last case it is not known inside ext what host:p'
// stands for, but a socket of c1 is told that it looks like host:p'.
//
// Some namespaces translate by themselves: Docker's name server at 127.0.0.11,
// the sidecar of a service mesh. Those are asked for with a [Namespace], and for
// what leaves it the answer's Real is then looked up in the host's.
// Addresses of a loopback interface mean something else in each namespace: such
// a tuple of another namespace than the one asked is not looked up at all.
// Two namespaces that use one address behind different translations cannot be
// told apart by tuple; conntrack itself needs zones for that, see [Query.Zone].
//
// A port that docker-proxy serves is two connections, and neither of them is
// translated. Containers on one bridge reach each other without the host's
// conntrack (unless br_netfilter is loaded): nothing is found, and nothing was
// translated. IPVS keeps no conntrack entries unless net.ipv4.vs.conntrack is set.
//
// # How
//
// [Open] tries, best first: [ModePull], a BPF program that is attached to nothing
// and is run for each batch of questions; [ModeCtnetlink], a table kept by the
// kernel's events, with a question to the kernel about what it does not hold;
// [ModeOff]. All three are a [Resolver], and [NewCache] remembers answers
// in front of any of them.
//
// Promise: an answer is what conntrack said of exactly this tuple, or Found is
// false. Everything is bounded, and [Stats] counts what was lost.
//
// Concurrency: a Resolver may be used by any number of goroutines. Batches are
// worked off one after the other.
//
// Cost, CPU time on a loaded 2-core host (Linux 6.18, AMD EPYC; go test -bench .
// ./receiver/ebpfconntrackreceiver/internal/nat, and make bench-conntrack):
//
//   - Pull: 0.7 µs and no allocation per lookup in batches of 1,000; 4 µs per batch
//     and, where the resolver was opened for another namespace than the process'
//     own, 40 µs more for the way to its thread. One allocation per call, three with
//     the thread. Loading takes 0.07 s: 2,000 instructions are verified. Nothing while nobody
//     asks. For a connection with both ends asked about 2 µs of the agent.
//   - Table: 0.3 µs per lookup and 1.7 µs per connection for its two events here, but
//     31 µs of the agent with reading them, and 56 µs of the host with making them,
//     asked about or not. 6 µs per entry of a dump. 560 bytes per entry: 37 MB when
//     full, as by default.
//   - A question to ctnetlink: 10 µs and 30 allocations, 16 µs alone.
//   - [Cache]: 370 bytes per entry.
//
// Kernel needs: pull: bpf_skb_ct_lookup (Linux 6.0, as part of 6.1 tested), BTF
// also of the module nf_conntrack, CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN; zones
// other than 0 since 6.11. ctnetlink: CONFIG_NF_CT_NETLINK and CAP_NET_ADMIN.
// Another namespace than the process' own needs CAP_SYS_ADMIN.
package nat

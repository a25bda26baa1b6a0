// Package policy decides who asks on the filter's socket and what they may
// see: the identity of a peer, the rules of the configuration, the profiles,
// visibility and quotas.
//
// [Identifier] turns a Unix connection into an [Identity]: the agent itself, a
// process of the host, a process in a container, or nobody that can be proven.
// It promises that an identity was true of the process that called connect,
// and that the process still lived when it was looked at. Where it cannot
// prove that, the identity is unknown and says why; it never guesses.
//
// A uid is no identity: root in a container is uid 0 as well. What counts is
// the cgroup, read between taking a descriptor of the peer (SO_PEERPIDFD,
// kernel 6.5) and asking that descriptor whether the peer still lives. Before
// 6.5 the start time takes the place of the descriptor; see [Identifier.Peer]
// for what that leaves open.
//
// Of containers within containers the outermost counts that does not also hold
// the agent. Whoever is root in a container that may write its cgroups can make
// one below its own under any name, also under the id of another container;
// only what encloses it is out of its reach. The engine that is served knows
// just that outermost one anyway. For the same reason a container's directory
// below a systemd service counts only if the service holds the agent too:
// systemd gives such subtrees to their users, who may name directories there
// as they like.
//
// [New] compiles a valid [Config] into a [Policy]; [Policy.Client] says once
// per connection which rule an identity falls under. All types are safe for
// concurrent use, except that a [Peer] belongs to one goroutine.
//
// Cost: an identity reads two or three files of /proc (see the benchmarks); a
// decision is a map access. Quotas remember a fixed number of clients.
//
// Kernel needs: SO_PEERCRED, /proc of the own pid namespace. To tell processes
// of the host from those in containers the agent needs the host's pid and
// cgroup namespaces (pid: host, cgroup: host).
//
// Known limitations: a process of another container runtime whose cgroups have
// no known form counts as the host's if it shares the host's pid namespace. A
// cgroup that an administrator has given to a user by chown, outside of any
// systemd service, lets that user take the name of a container. Before kernel
// 6.5 a number that is used again between connect and accept is noticed only
// if the new process started after the accept. A user of the host who has
// subordinate uids has a quota for each of them. host_gid is the group of the
// process at connect, not one of its further groups.
package policy

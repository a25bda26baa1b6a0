// Package watch follows the containers of a host and describes them as targets:
// what the engine says of them, what others say, and what their processes do.
//
// Promise: engine or kernel, either is enough. The engine tells of names, labels and
// addresses as soon as they change; the cgroups of a hostview tell of containers
// that no engine knows of. What the engine does not tell is taken from the view's
// board of identities, on which container_tag writes what runtimes and the kubelet
// say: it comes when it comes, and each change of it is told. Once said it counts
// until the container ends.
//
// A container is looked at when it appears, after each program that it starts, a few
// times soon after that, and then every five seconds: its processes, what they listen
// at, its addresses. Where a view can tell that it has used no processor time since the
// last look, the next is left out, up to five in a row. Whatever has changed is told as a
// whole list, by the goroutine of Run.
//
// A container is told of while it runs, of which engine and kernel may say that it
// is over. Sandboxes of pods are none. One that the engine has running while no process of it
// is in our /proc is told of as the engine describes it, and counted (Stats.Unseen).
//
// Of a namespace that is the host's, or that several containers share, only
// sockets of the container's own processes count; their owners are found by their
// descriptors. Of a namespace of its own all count, also those whose owner
// may not be asked; who is on its loopback is not searched for. Where it is not known which namespace it is (Stats.Blind), all
// count if the engine says that the container has addresses in networks of its
// own, and nobody else is in them; otherwise none whose owner is not known.
//
// Its addresses are those that engine or identity say, and then a container has no say in
// where others connect to. Where neither says any, those of its namespace are believed,
// but none if the engine says that it has no network (none), none of a namespace that
// belongs to another user namespace than ours or that of the host's first process, and
// only those to which our own network has a route of their own, not the default one, by
// a pair, a bridge or the like. So it does not lead to a cloud's metadata, or
// to the host itself. In the host's network a socket counts if the host has the address
// that it is bound to.
//
// In a network that several containers share, what the image announces is no endpoint:
// only sockets of the container's own are (SharedNetwork of the target). One that is joined
// to the sandbox of its pod alone does not share it.
//
// Concurrency: Run once; Stats by any goroutine. One goroutine looks at all containers, one
// after the other.
//
// Cost: a look is one read of cgroup.procs, two small files and a link for each process
// (64 at most), one link and two dumps of its network namespace. Where nobody says its addresses
// it is two more files, and for each address (64 at most) one or two questions to the kernel. A
// command line is read when a program starts and once more 5 s
// later, up to 16 KiB. Descriptors are read when there is a socket whose owner has not
// been searched for, and again after a new process if there is one whose owner was not found. Of a
// container that starts programs all the time, five in a minute bring its next look
// forward. Command lines are looked at to recognise programs; kept is which words of
// the table they have.
//
// Who listens is asked by sock_diag, 0.25 ms for each namespace and round; where that may
// not be, by the files of /proc/PID/net, 9 ms on a host of 23 GB, as the kernel walks the
// connections of all namespaces for them (benchmarks Servers and ScanTable).
//
// Kernel needs: CONFIG_INET_TCP_DIAG, CONFIG_INET_UDP_DIAG and CAP_SYS_ADMIN, else /proc
// with its net directory; other users' processes need CAP_SYS_PTRACE. Without a hostview,
// CONFIG_PROC_CHILDREN. Where nobody says addresses, Linux 4.9 for whose a namespace is (before
// it none is believed), and 4.13 for what is the default route.
//
// Known limitations: who enters the network of a container that sleeps (nsenter) and
// listens there is seen half a minute later at the latest, and so is an address that such a
// container is given from outside while nobody says any. A container of which nobody says any address and that may change its
// network (CAP_NET_ADMIN) can name the address of another container, also one on a bridge
// that the host's own network is a part of, and have that one asked in its name. Of a rootless
// engine, of one that maps users, and of pods with users of their own (hostUsers: false),
// no address is known unless engine, runtime or kubelet says it; nor is one of an engine
// whose containers hang on a card or a VLAN (macvlan, ipvlan), or to an agent in a network of its own that
// reaches them by its default route. A container on the host's network is taken to be reached over
// the loopback, which an agent in a network of its own does not. Without a hostview the
// processes of a container are the descendants of its first one, so that what is
// started by exec is not seen, and they are found only if their cgroup is named
// by the container's id (rootless Docker without systemd does not). Of rootless Docker the addresses
// are told, though they cannot be reached. A process whose memory map is locked in a
// stall can hold up all looks when it is new, as its command line waits for that lock. A program that
// executes its own file again under the same name, with other words, is recognised by the old ones unless
// there is a process stream.
package watch

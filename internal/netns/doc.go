// Package netns knows the network namespaces of a host: which there are, which
// containers share one, and the counters the kernel keeps for each.
//
// A namespace is known by the inode number of /proc/PID/ns/net, so one that
// several containers share is there once. It belongs to the pod's sandbox, or
// else to the container that started first. The host's namespace is that of
// process 1 below the given root: the reader may itself be in any other.
//
// Everything is read through /proc/PID/net of a member. A [Tracker] keeps the
// directory of one process of each container open, which does not keep the
// process or its namespace alive. The files in it are opened for each read and
// closed again, because an open one does keep the namespace, with its devices,
// from going away (fs/proc/proc_net.c, seq_open_net).
//
// A Tracker is for one goroutine; its [Tracker.Stats] may be asked by any.
//
// Cost: see docs/benchmarks.md. One descriptor for each container.
//
// Kernel needs: network namespaces; /proc/PID/ns/net of other users'
// processes needs CAP_SYS_PTRACE. Conntrack needs CONFIG_NF_CONNTRACK_PROCFS.
//
// Formats: proc_pid_net(5), Documentation/networking/snmp_counter.rst.
package netns

// Package doctor finds out what a host lets the agent do, and says so in words
// that help: what was found, what it means for what the agent can show, and
// what to do about it.
//
// A check is data: [Checks] lists them, [Run] runs them one after the other.
// Nothing is guessed. What can be tried is tried (BPF programs are loaded and
// attached, the Docker engine is asked); what cannot be decided is [Unknown],
// with the raw error. A check that panics is Unknown too, with the stack. All
// checks are about this process: its user, capabilities, namespaces and limits.
// Run it the way the agent runs.
//
// Nothing on the host is changed, and no file made or removed. BPF programs, and a
// network namespace, are there for some milliseconds. The kernel may load the
// modules that answer questions about sockets and conntrack, as it does for the
// agent.
//
// Run may be called by any number of goroutines. A check that does not end in
// its time is left behind: its goroutine goes on until its system call returns.
//
// Cost: 0.15 s of processor time and 28 MB of memory for tallymanctl doctor as
// root (Linux 6.18, two cores), nearly all of it for the BPF programs.
//
// Kernel needs: none. What is missing is what is told.
package doctor

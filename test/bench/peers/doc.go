// Command peers measures what it costs to watch the containers of a host: our
// agent and others, one after the other, over the same idle Docker containers,
// in one run. `make bench-peers` builds all of them and runs it; the result
// replaces a section of docs/benchmarks.md.
//
//	scripts/bench-peers.sh                          57 and 207 containers, about 35 minutes
//	scripts/bench-peers.sh -quick                   7 containers, 10 s, one round, prints only
//	scripts/bench-peers.sh -only cgroup,cadvisor    some of the rows, prints only
//
// For each row the program is started, waited for until it has read every
// container in each of its passes, and left alone for the length of a window.
// Counted are user and system time of the program and its children and, where
// somebody else works for it, of the Docker engine: dockerd, containerd and the
// shims, less what they use when nobody asks. Rows are a table, see variants.go.
// The peers are built from nested modules (cadvisor/, collector/), so that what
// they need never enters the product's go.mod.
//
// It needs root, dockerd, the static busybox and a machine that does nothing
// else. The engine is a private one; it, the containers and the programs are
// gone when the command ends, also after Ctrl-C.
package main

// Package plan decides what is to be collected from a container: it puts what its
// labels ask for (hints) over what the operator's rules want (rules), and holds
// labels against the list of receivers that they may start.
//
// Promise: [New] reports every mistake of a configuration at once, each with its
// key; [Plan.Of] depends on nothing but the container and, where that asks for its
// output, on whether the file is there, so that what the receiver runs and what
// `tallymanctl discover` shows are the same. What cannot be is told in the verdict
// with its rule, and keeps nothing else from being collected. Recognition starts
// nothing: it is a field for rules.
//
// A container opts out by label, whether labels may start something or not: of
// everything, or of a signal, which then neither rules nor prometheus.io collect. An
// opt-out that cannot be read counts, and is a [Refusal] in either case.
//
// Concurrency: a Plan is not changed after New and may be used by any number of
// goroutines. Cost: that of the rules, each tried on each port of the container, and one
// look at the file system for a container that asks for its output.
//
// Kernel needs: none.
package plan

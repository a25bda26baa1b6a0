// Package agent starts the built agent as a user would, on free ports and with
// everything it keeps in one folder, for programs that look at it from outside for
// a while: the soak and the benchmark of the idle agent.
//
// Concurrency: all methods may be called from any goroutine, but for Reload and
// Stop, which are for one.
//
// Cost: one process, and one goroutine that waits for it.
//
// Kernel needs: none of its own.
package agent

// Package identities is the board where it is written what containers are called and
// what is said about them: who asks runtimes and the kubelet writes there, who
// discovers applications reads. It is the way of package findings, the other way
// round.
//
// Promise: that of package board, with a [Writer] for each who asks. Nothing is on the
// board that a process said of itself: no environment, no command line.
//
// Concurrency, cost and limitations: those of package board.
//
// Kernel needs: none.
package identities

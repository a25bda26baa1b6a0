// Package findings is the board where it is written what containers were
// recognised as: who recognises them writes there, who tags them reads.
//
// Promise: that of package board. That a container was looked at and nothing was
// recognised is also written there, by an empty list, and is not the same as not to
// know, which is nil. The board is never full while one or two write who discover: each
// looks at 2000 containers at most (package watch).
//
// Concurrency, cost and limitations: those of package board.
//
// Kernel needs: none.
package findings

// Package notice writes what the store knows of containers on the board of the
// hostview, where the receiver discovery reads it.
//
// Promise: while somebody reads the board, each living container that a source knows
// is on it, and each change of it. A container that has ended is taken away; so is all
// that was written when nobody reads any more, and at the end of Run. What is written is
// what sources were told: names, image, labels, addresses and the pod, nothing of the
// environment and no command line. Two writers at one board do not take back each
// other's words. What finds no room on the board is counted.
//
// Concurrency: Run once for each [Writer]. The board is written to by the goroutine
// that tells the store something, under the store's lock.
//
// Cost: while nobody reads, a goroutine that waits. Else one small struct for each
// container; its maps are the store's.
//
// Kernel needs: none.
package notice

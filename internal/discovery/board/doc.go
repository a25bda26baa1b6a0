// Package board is where components that look at the same host tell each other what
// they know of its containers: one writes, another reads, and neither knows the other.
// What is on a board is the matter of who makes it (findings, identities).
//
// Promise: a reader is told of all that is there when it comes, and then of each
// change once, in the order in which they were made. What is the same again is no
// change. A [Board] holds 4096 containers; those beyond are refused and counted. A
// [Writer] takes back its own words alone. Whether anybody reads can be told, so that
// what nobody wants to know is not written.
//
// Concurrency: all methods may be called by any goroutine. Readers are called by
// the goroutine that changes something (and by [Board.Subscribe] itself), one call
// at a time and under the board's lock: they return soon, and do not use the board
// themselves.
//
// Cost: no goroutine; a map of the containers that somebody has told of, with what each
// writer says.
//
// Kernel needs: none.
//
// Known limitations: where several write of one container, one word counts, and the
// others are not looked at: the one that was new last, and when it is taken back the
// one before. They are not put together. Who writes by [Board.Put] is one writer.
package board

// Package rounds has what sources share that ask for everything again and again:
// a queue of what somebody wants to know, which makes the next round due, and a
// pause between rounds.
//
// Concurrency: a [Queue] may be used by any number of goroutines; one of them
// takes.
//
// Kernel needs: none.
package rounds

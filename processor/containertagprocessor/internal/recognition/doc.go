// Package recognition is the source of what containers were recognised as by what
// they do. It recognises nothing itself: it reads the board of the hostview, where
// the receiver discovery writes.
//
// Promise: the surest recognition of a container is told, and each change of it. A
// container that has ended keeps the last one for as long as its other tags stay.
//
// Concurrency: see [entity.Source]. The store is told by the goroutine that writes
// on the board, and by that of Run at the start.
//
// Cost: nothing but the memory of what is on the board. The view is the one that
// container_tag holds anyway to match processes to containers, by which no process
// stream is started. Where nobody discovers on the same root, the board stays
// empty.
//
// Kernel needs: none.
package recognition

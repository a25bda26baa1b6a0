// Package store puts together what several sources know of containers, pods and
// the host, and tells its subscribers what has changed.
//
// Promise: sources are merged field by field, the one named first wins. The dead
// stay known for a while, so that late data still finds its tags. What nobody
// knows is remembered for a while as well, so that it is not asked for with every
// datum. Everything is bounded; what does not fit is counted.
//
// Concurrency: all methods are safe for concurrent use. Subscribers are called
// one at a time, in the order of the changes.
//
// Kernel needs: none.
package store

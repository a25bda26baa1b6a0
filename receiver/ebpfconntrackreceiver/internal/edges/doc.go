// Package edges adds up connections until they are flushed: who talks to whom.
//
// There is an edge for each container, direction, peer and server port, and a
// total for each container and direction, which has histograms too. A peer is a
// container, an interface of the host, or the group of addresses that the rest
// was put into: never an address of a client and never a client's port.
//
// Promise: every record ends in the total of its container and in its edge, or in
// the overflow edge of its container and direction if there are too many. Records
// of more containers than may be are added up in one container without a name.
// What went elsewhere is counted in [Stats] with the reason. Sums are cumulative:
// an edge starts with the flush before its first record, and starts anew when it
// comes back after it was forgotten. Memory is bounded: an edge takes about 200
// bytes, a container 1 kB and up to 8 kB more for its histograms.
//
// Concurrency: all methods of a [Table] are safe for concurrent use. Add takes one
// lock for a batch. Flush takes it for one container at a time and never while it
// calls back.
//
// Cost: both ends of a connection, added to what is known, take 0.3 us with 10
// containers, 0.4 us with 100 and 0.6 us with 1000, and allocate nothing; a flush
// takes 40 ns for each edge (AMD EPYC, 2 cores; up to three times as much with
// other work on the machine). See edges_timing_test.go.
//
// Kernel needs: none.
package edges

// Package limit keeps senders within their rates: a token bucket for each
// origin and one for all together.
//
// Promise: an origin passes at most burst messages at once and rate per second
// after that, whatever the others do. What an origin is refused costs the common
// bucket nothing, and what the common bucket refuses costs the origin nothing.
// The table is bounded; who was not seen for longest is forgotten, and begins
// with a full bucket when it comes back, which is counted.
//
// Concurrency: nothing here is safe for concurrent use. Who shares a [Limiter]
// holds a lock around a batch, not around each message.
//
// Cost: 2 ns for a bucket; 4 ns for the limiter if the origin is that of the last
// message, 17 to 22 ns if another (BenchmarkBucket, BenchmarkAllow, AMD EPYC);
// no allocations but for new origins, about 150 bytes each.
//
// Kernel needs: none. Times are the caller's, so that one clock serves a batch.
package limit

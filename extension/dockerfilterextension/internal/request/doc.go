// Package request reads Docker Engine API requests so strictly that nothing a
// client sent needs to be read a second time.
//
// [Parse] takes one request head and yields a [Request]: an operation of the
// table, a reference, and typed parameters. Whatever is not in the one
// canonical form is a [Refusal] with the status, message and reason to answer
// with. [Request.Upstream] builds the request for the engine from those parts
// alone.
//
// A [Gate] stands between a client's connection and net/http.Server. It cuts
// the stream into heads, queues what Parse says of each, and shows net/http a
// head of its own making in its place, so that the server's parser never sees
// a byte of the client. The handler fetches the outcome with [Gate.Pop].
//
// Checks are made in the order below and the first that does not hold
// answers; the policy comes between the fourth and the fifth (see
// [Refusal.Early]):
//
//  1. framing and the method token: 400
//  2. form of the target and its path: 400
//  3. a method other than GET and HEAD: 403
//  4. a body, an upgrade, an expectation: 400
//  5. an operation that is not in the table: 403
//  6. the query: 400
//
// Parse keeps no state and may be called from any goroutine. A Request belongs
// to one goroutine at a time. A Gate has the concurrency of a net.Conn. A
// request without filters costs under 1 µs and two or three allocations
// (request_timing_test.go).
package request

// Package guard keeps a receiver that a label has started to its own container.
//
// The settings of such a receiver lead to the container, but the container
// answers what it likes: a redirect to an address that only the host reaches, or a
// page without an end. Receivers of the Collector that speak HTTP make their client
// of confighttp, which has no settings against that, but takes middlewares from the
// extensions of the host.
//
// Promise: a receiver that [Configure] knows, started with [Guard.Host], sends
// requests to one address and port and nowhere else, by no proxy; follows no
// redirect; and reads no more than 1 MiB of an answer and 64 KiB of its headers,
// uncompressed, since it asks for no compression and takes none. What is refused is an
// error of that request, which the receiver tells in its own words. With [ShortLog]
// it tells at most 1.3 KB of what a container has said at once.
//
// A Guard is no extension of the distribution: nobody else sees it.
//
// Known limitations: it guards the one HTTP client that a configuration has at its
// top. What a receiver does without confighttp it does not see. How long an answer
// may take is the client's timeout.
//
// Concurrency: all may be called by any goroutine. Cost: a copy of the request.
// Kernel needs: none.
package guard

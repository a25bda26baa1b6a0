// Package api serves what the recorder keeps over HTTP: a subset of the Prometheus
// API that is enough for Grafana, and below /api/ what the web view and tallymanctl
// need besides: live values, containers, events, captures, the agent itself.
//
// Promise: without a token or client certificates nothing listens beyond the host.
// A page from elsewhere can neither read nor change anything through somebody's
// browser, whether by DNS rebinding or by a forged request. Whoever reads slowly or
// asks too much is cut off and counted, and costs nobody else anything but the
// bounded share that [Limits] give. A query ends with the request that asked for it;
// what its text alone could cost is refused before it is parsed (expression.go).
// An opened capture is served by the same code, read-only and with the clock at the
// end of its window.
//
// Answers of /api/v1 are byte for byte what Prometheus writes for the same result.
// All other times are seconds since 1970 with up to three decimals, too.
//
// The package knows the stores only by the interfaces in sources.go. Their methods
// are called from many goroutines at once.
//
// Concurrency: a [Server] is safe for concurrent use between Start and Shutdown.
//
// Cost: a result is encoded into one buffer of 32 KiB and sent as it fills. Live
// values are encoded once a second for all clients together, and not at all without
// one.
//
// Known limitations: users of this host are not told apart on loopback. Without a token
// each may read everything and ask for captures, and may keep the places and turns of the
// others busy; where that matters, serve a Unix socket only. With a token, the cookie of a
// browser is sent to other servers on the same name, whatever their port. What a query
// holds in memory is bounded by the engine's own limit, times Limits.Queries.
//
// Kernel needs: none.
package api

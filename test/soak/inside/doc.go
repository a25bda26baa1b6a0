// Package inside is what `make soak` adds to the agent that it watches: the state
// of the Go runtime and its profiles, on a Unix socket of which only the soak knows.
// It is not in the product; scripts/soak.sh adds a file to package main for one
// build (go build -overlay). Without [SocketEnv] it does nothing.
//
// It can be told to leak on purpose ([LeakEnv]), which shows that the soak would
// find a leak of that size.
//
// Concurrency: requests are served side by side. [Read] is safe for concurrent use.
//
// Cost: a request reads counters that the runtime keeps anyway, about 50 µs.
//
// Kernel needs: none.
package inside

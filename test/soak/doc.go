// Command soak lets the built agent work hard for a long time and says whether it
// grows. `make soak` builds both and runs it; docs/soak.md says how to read what it
// prints.
//
//	SOAK_DURATION=20m scripts/soak.sh                      20 minutes
//	SOAK_DURATION=6h scripts/soak.sh -lap 2m               longer, and finer
//	SOAK_DURATION=90s scripts/soak.sh -lap 10s             a smoke test: counts only
//	SOAK_DURATION=80s scripts/soak.sh -lap 10s -leak goroutines   must fail
//
// The agent has the default configuration, but for ports and folders, and a Docker
// engine of its own to look at. A run is a row of laps. Each begins with SIGHUP, upon
// which the agent starts all its components anew, and with a restart of the engine;
// all the while cgroups and containers come and go, and DogStatsD and TCP connections
// flood in. In the second half of each lap, when the agent runs as before, samples
// are taken that are compared with those of the other laps: memory, heap, goroutines,
// threads, descriptors by kind. Package judge decides what has grown.
//
// It needs root, dockerd, the static busybox and iproute2. The engine, the containers,
// the cgroups and the agent are gone when the command ends, also after Ctrl-C.
//
// Concurrency: one goroutine drives, one samples, and each load has its own.
//
// Cost: two processors, about 1 GB of memory, and what the agent keeps on disk.
package main

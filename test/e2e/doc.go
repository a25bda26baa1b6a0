// Package e2e starts the built agent, bin/tallyman, with the real
// otelcol-config.yaml on the real host, and checks what users are promised:
// the numbers on :9464 agree with the kernel and with the Docker engine,
// containers come and go, a killed worker makes a container degraded, a bad
// configuration names its field, and nothing is lost on the way to a backend.
//
// It tests the binary of TALLYMAN_BINARY (an absolute path); without that it
// runs scripts/build.sh once and tests bin/tallyman. The tallymanctl beside it
// is started too.
//
// Promise: nothing but the kernel is shared with the agent's code. kernel_test.go
// reads cgroup files on its own; only the test kit is imported.
//
// Concurrency: every test has its own agents, on free ports, with their state
// in a temporary directory, so most tests run in parallel.
//
// Cost: fifteen minutes on 2 cores, nearly all of it waiting. TestRecorder* looks at
// the pages of the flight recorder with Debian's chromium.
//
// Kernel and privileges: root and Docker (a private engine is started where
// none answers), any cgroup layout; see internal/testkit for skips.
package e2e

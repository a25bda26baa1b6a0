// Package testkit gives tests the real thing: cgroups of the running kernel,
// a Docker engine, Debian's programs as images for it, an OTLP endpoint, golden
// telemetry and leak checks. Only tests and test/ programs import it; it imports
// nothing of this repository, so any package may use it from its own tests.
//
// Promise: whatever a test gets from here (cgroup, process, container, sink)
// is gone when the test ends, also when it fails. What the host lacks skips
// the test and names the feature and the oldest kernel that has it; with
// TALLYMAN_REQUIRE=1 (set where everything is expected to be installed) the
// same lack fails the test, so that skips cannot rot.
//
// Concurrency: the package holds no state. Test processes that need an engine
// share one per machine through a lock file (see Docker). VerifyNoLeaks looks
// at the whole process, so tests that use it do not call t.Parallel.
//
// Cost: a cgroup takes about a millisecond per hierarchy, a private engine one
// to two seconds once per `go test ./...`, a container half a second, an image of
// packages that were fetched before a second and another for each 40 MB.
//
// Kernel and privileges: root for cgroups and for a private engine; cgroup v1,
// v2 and hybrid are all fine. Everything else runs as a plain user.
package testkit

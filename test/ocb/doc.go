// Package ocb builds somebody else's collector: with the Collector's own builder, in a
// folder of its own, from two receivers of this module and nothing else of ours. It
// does what docs/distribution.md tells people to do, with the files that are shown there,
// then starts the result and looks whether data arrives.
//
// Promise: what a component needs of this module comes with it. The collector that is
// built has no extension, processor or exporter of ours; the build has none of this
// repository's Go flags.
//
// Concurrency: one test, which builds in a temporary directory.
//
// Cost: 15 seconds on 2 cores when most of the Collector is in Go's build cache, which it
// is after the agent was built; two minutes when it is not.
//
// Kernel and privileges: root and Docker (a private engine is started where none
// answers); a module proxy, or what it would say in the module cache.
package ocb

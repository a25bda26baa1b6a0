// Package engine is the source of tags from an engine that speaks Docker's API:
// Docker itself, or podman's compatible socket.
//
// Promise: one inspect per change of a container; of the environment only what
// is asked for is kept.
//
// Concurrency: see [entity.Source].
//
// Kernel needs: none.
package engine

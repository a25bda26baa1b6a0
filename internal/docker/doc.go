// Package docker is what components know of a container engine that speaks
// Docker's API: a thin wrapper of its Go client, and a watcher that follows
// containers and events over restarts of the engine.
//
// Promise: nothing is polled; one inspect per change of a container. Answers are
// bounded in size. After a gap (the engine or the filter in front of it was
// away) what happened meanwhile is told once: from the engine's own memory of
// events, and else from how the containers have changed.
//
// Concurrency: a [Watcher] calls its [Handler] from the goroutine of Run alone.
// All else may be used from any goroutine.
//
// Cost: one open stream. A connection costs one list and an inspect of each
// container, four at a time.
//
// A handler that is too slow for the engine makes a gap too: the connection is
// given up when 4096 events wait. dockerd remembers 256 events and forgets them
// when it ends; it never tells of containers that ended while it was away.
// Podman remembers all.
//
// Known limitations: of what happened in a gap that the engine does not remember
// only the last end and the last start of a container are seen, and no kill,
// restart, or change of its networks. Of more than 8192 events within 2 s, those
// that the engine tells out of order in a gap may be lost. Events are handled one
// after the other, so an engine that holds an inspect back delays those behind
// it, 10 s at most. The clock of an engine on another machine has to be right to
// a second.
//
// Kernel needs: none.
package docker

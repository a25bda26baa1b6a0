// Package docker is what components know of a container engine that speaks
// Docker's API: a thin wrapper of its Go client, and a watcher that follows
// containers and events over restarts of the engine.
//
// Promise: nothing is polled; one inspect per change of a container. Answers are
// bounded in size. After a gap (the engine or the filter in front of it was
// away) what happened meanwhile is told once: from the engine's own memory of
// events, and else from how the containers have changed.
//
// Kernel needs: none.
package docker

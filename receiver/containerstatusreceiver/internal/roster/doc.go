// Package roster keeps what a watcher of a container engine tells: which
// containers there are and how they are, whether the engine answers, and the
// events that nobody has taken yet.
//
// Promise: the watcher never waits for a reader. What does not fit into a queue
// of events is counted. Everything is safe for concurrent use.
//
// Cost: a pointer and two times for each container.
package roster

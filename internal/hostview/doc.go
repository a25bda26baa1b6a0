// Package hostview is the one shared look at a host: its cgroup hierarchies,
// the containers in them, and the samplers that read them.
//
// Components that look at the same root share one [View]: [Acquire] makes it or
// counts one more holder, [View.Release] gives it back, and the last holder
// stops its goroutine. This package owns the only mutable package-level state
// of the repository, the table of views.
//
// A view also runs the process stream once somebody asks for it, and keeps the
// tables of containers and processes up to date before it tells the samplers.
// Where the kernel does not allow that, [View.Tier] says why.
//
// All functions and methods are safe for concurrent use.
//
// Cost: one goroutine, one inotify descriptor and one watch per directory that
// holds containers, per view; with the stream one more goroutine. Kernel needs: mounted cgroups.
package hostview

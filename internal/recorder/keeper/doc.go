// Package keeper is a whole flight recorder in one folder: it opens the stores, hands
// them what comes, shares the disk among them, makes captures, and serves them all.
//
// Promise: what comes is looked at for triggers first, so that the picture of a
// container is taken before its cgroup is gone. Trouble with the disk or with one of
// the stores is told once, shown on every page, and costs neither the process nor the
// other stores anything. A folder has one recorder at a time.
//
// The budget of the disk is shared: 60 % metrics, 20 % events, 20 % captures.
//
// Concurrency: a Keeper is safe for concurrent use between Open and Close. One
// goroutine looks after it once a second.
//
// Kernel needs: procfs and cgroups for pictures of containers (package capture/state).
package keeper

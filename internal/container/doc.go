// Package container is the one place that knows what a cgroup path means:
// which container, pod, service or virtual machine a directory is, and which
// cgroup id and path belong to whom, also shortly after their end.
//
// [ParsePath] and [ParseProcCgroup] turn text into an [Identity]. They are
// total: foreign bytes give [ClassHost] or [ClassUnknown], never a panic and
// never an id that only looks like one. The innermost container wins; what
// lives inside a container belongs to it.
//
// [Index] answers "who is this path, cgroup id, container id" for the living
// and, for a grace period, for the dead. It is safe for concurrent use, its
// answers are immutable snapshots, and its memory is bounded by the cgroups
// that exist plus a fixed number of dead ones.
//
// [Discovery] keeps an Index equal to one cgroup hierarchy: inotify on parent
// directories, a reconcile walk for whatever inotify did not tell. All its
// callbacks run one after the other, never at the same time.
//
// Cost: parsing a path is below 2 µs and allocates only to unescape names; an
// index lookup is one read lock and one map access. Discovery costs one watch
// (about 1 KiB of kernel memory) per directory that can get children, none per
// childless container; a reconcile walk is one stat per directory and one
// listing per parent, about 2 µs per container.
//
// Kernel needs: none beyond cgroups. Without inotify, or without watches to
// spare, only the delay grows to the reconcile interval.
//
// Known limitations: a directory created below a container that had no child
// directory is seen by the next reconcile walk; a directory created and
// removed before it could be looked at is reported with Inode 0; of several
// incarnations that came and went under one path before the first was looked
// at, only the last is reported.
package container

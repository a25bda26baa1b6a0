// Package hostfs reads kernel files below a configurable host root.
//
// It promises whole-file reads into a caller's buffer and kept descriptors
// that survive what procfs and cgroupfs do to them: a file that vanished is
// [ErrGone], a file that refuses positioned reads is reopened, and no more
// than a budget of descriptors is held. It parses nothing.
//
// Roots are values and safe to copy. A [File] belongs to one goroutine at a
// time; a [Budget] may be shared by any number of goroutines.
//
// Cost: a read through a kept descriptor is one pread(2) for content below
// 2 KiB, two above, and allocates nothing; above the budget it is open, two
// reads and close.
package hostfs

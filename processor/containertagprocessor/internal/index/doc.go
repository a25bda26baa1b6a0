// Package index is a map that is read without locks and written rarely.
//
// Promise: a read costs a hash and two loads of pointers, and never waits for
// a writer. A write copies one shard, a 64th of the whole.
//
// Concurrency: all methods are safe for concurrent use.
//
// Kernel needs: none.
package index

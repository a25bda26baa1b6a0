// Package sinktest has an entity.Sink for the tests of sources: it keeps what it
// was told, in order. Only tests import it.
//
// A [Recorder] may be used by any number of goroutines.
//
// Kernel needs: none.
package sinktest

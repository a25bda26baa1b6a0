package inside

import "runtime/metrics"

// State is what the Go runtime says of a process.
type State struct {
	// Goroutines that live.
	Goroutines uint64
	// HeapLive is what the last collection found reachable, in bytes: the heap
	// without garbage, so that it does not depend on when it is asked for.
	HeapLive uint64
	// Stacks is the memory of goroutines' stacks, in bytes.
	Stacks uint64
	// Total is all memory that the runtime has mapped and not given back, in bytes.
	Total uint64
	// Collections is the number of garbage collections since the start.
	Collections uint64
}

// Names as package runtime/metrics documents them.
const (
	nameGoroutines  = "/sched/goroutines:goroutines"
	nameHeapLive    = "/gc/heap/live:bytes"
	nameStacks      = "/memory/classes/heap/stacks:bytes"
	nameTotal       = "/memory/classes/total:bytes"
	nameReleased    = "/memory/classes/heap/released:bytes"
	nameCollections = "/gc/cycles/total:gc-cycles"
)

// Read returns the state of the process that it is called in.
func Read() State {
	names := []string{nameGoroutines, nameHeapLive, nameStacks, nameTotal, nameReleased, nameCollections}
	samples := make([]metrics.Sample, len(names))
	for i, name := range names {
		samples[i].Name = name
	}
	metrics.Read(samples)
	value := func(i int) uint64 {
		if samples[i].Value.Kind() != metrics.KindUint64 {
			return 0 // a runtime that has another name for it
		}
		return samples[i].Value.Uint64()
	}
	return State{
		Goroutines: value(0), HeapLive: value(1), Stacks: value(2), Total: value(3) - value(4), Collections: value(5),
	}
}

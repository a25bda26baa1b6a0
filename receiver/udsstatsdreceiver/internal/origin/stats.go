package origin

import (
	"maps"
	"sync"
	"sync/atomic"
)

// Stats are counts since [Open]. They count questions and not datagrams: a
// known sender is not asked for again.
type Stats struct {
	// Exact are answers that are proven, BestEffort those of /proc that a number
	// given again at the wrong moment would make wrong.
	Exact, BestEffort uint64
	// Pending is how many had to wait for the process stream or for the
	// directory of a cgroup, Settled how many of these were answered.
	Pending, Settled uint64
	// Unresolved counts by reason, those that waited in vain included.
	Unresolved map[Reason]uint64
	// Evicted senders found no room in the cache of a socket.
	Evicted uint64
	// Gaps is how often the process stream lost events, Remembered how many
	// processes are known by it.
	Gaps       uint64
	Remembered int
}

type counters struct {
	exact, bestEffort, pending, settled, evicted, gaps atomic.Uint64

	mu         sync.Mutex // guards what follows
	unresolved map[Reason]uint64
}

func (c *counters) addUnresolved(reason Reason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unresolved[reason]++
}

func (c *counters) snapshot() Stats {
	s := Stats{
		Exact: c.exact.Load(), BestEffort: c.bestEffort.Load(),
		Pending: c.pending.Load(), Settled: c.settled.Load(),
		Evicted: c.evicted.Load(), Gaps: c.gaps.Load(),
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Unresolved = maps.Clone(c.unresolved)
	return s
}

package keeper

import "github.com/tallymanhq/tallyman/internal/recorder/metricstore"

// Stats is the recorder in numbers, as of the last second.
type Stats struct {
	// Samples and Events count what was kept since Open; Series are those of the
	// last 20 minutes.
	Samples, Events, Series uint64
	// MemoryOnly: the disk takes no metrics.
	MemoryOnly bool
	// Lost counts what was not kept, by store (metrics, events, containers) and
	// reason.
	Lost map[string]map[string]uint64
	// Disk is bytes by part (metrics, events, containers, captures).
	Disk map[string]uint64
	// Captures counts triggers by what became of them.
	Captures map[string]uint64
}

// Stats returns them.
func (k *Keeper) Stats() Stats {
	l, _ := k.watch.last()
	b := l.metrics.Bytes
	captures := k.engine.Stats()
	return Stats{
		Samples: l.metrics.Samples, Events: l.events.Taken, Series: uint64(l.metrics.Series),
		MemoryOnly: l.metrics.Mode == metricstore.MemoryOnly,
		Lost: map[string]map[string]uint64{
			"metrics": l.metrics.Dropped, "events": l.events.Dropped, "containers": l.entities.Dropped,
		},
		Disk: map[string]uint64{
			"metrics": uint64(b.Blocks + b.Log + b.Head + b.Corrupt), "events": uint64(l.events.Bytes),
			"containers": uint64(l.entities.FileBytes), "captures": l.captures.bytes,
		},
		Captures: map[string]uint64{
			"made": captures.Made, "failed": captures.Failed, "joined": captures.Joined, "quiet": captures.Quiet,
			"busy": captures.Full,
		},
	}
}

package cgroupreceiver

import (
	"sync/atomic"
	"time"

	"github.com/tallymanhq/tallyman/internal/cadence"
	"github.com/tallymanhq/tallyman/internal/hostview/sampler"
)

// telling remembers of each target what was read last, so that what has not changed
// need not be told again: 1 KiB for each that is there. All but leftOut belongs to
// the scrape.
type telling struct {
	targets map[*sampler.Target]*lastReading
	host    struct {
		hostReading
		at    time.Time
		steps cadence.Steps
	}
	// now is the reading that is being looked at.
	now reading
	// pass counts passes, begun the targets that were ever seen.
	pass, begun uint64
	// leftOut counts the readings that were not told.
	leftOut *atomic.Uint64
}

// lastReading is what was read last of one target, told or not.
type lastReading struct {
	reading
	at    time.Time
	steps cadence.Steps
	pass  uint64
}

func newTelling() telling {
	return telling{targets: map[*sampler.Target]*lastReading{}, leftOut: new(atomic.Uint64)}
}

// of returns the last reading of a target, one without a time if it is new.
func (t *telling) of(target *sampler.Target) *lastReading {
	last := t.targets[target]
	if last == nil {
		last = &lastReading{steps: cadence.Begin(t.begun)}
		t.begun++
		t.targets[target] = last
	}
	last.pass = t.pass
	return last
}

// end forgets a target and returns its last reading, nil if there is none.
func (t *telling) end(target *sampler.Target) *lastReading {
	last := t.targets[target]
	delete(t.targets, target)
	return last
}

// forget gives up the targets that were not in this pass: the end of some may not
// have found room in the sampler's queue.
func (t *telling) forget() {
	for target, last := range t.targets {
		if last.pass != t.pass {
			delete(t.targets, target)
		}
	}
}

// keep copies a reading; the memory of its list is used again.
func (l *lastReading) keep(at time.Time, now *reading) {
	io := append(l.io[:0], now.io...)
	l.reading, l.at = *now, at
	l.io = io
}

package sampler

import (
	"time"
)

// EventKind is what happened to a container.
type EventKind uint8

// The kinds of events.
const (
	Started EventKind = iota + 1
	Stopped
	OOMKilled
	BecameDegraded
	Recovered
)

// Event is something that happened to a container. Target may be gone; its
// fields are as they were when the event was made only where the event
// repeats them.
type Event struct {
	Kind   EventKind
	At     time.Time
	Target *Target
	// Victim is the process of OOMKilled, BecameDegraded and Recovered; zero
	// fields are unknown.
	Victim Victim
	// Survived: the first process lived on (OOMKilled); meaningful only if
	// SurvivedKnown.
	Survived, SurvivedKnown bool
	// Count is the number of processes that were killed or have failed
	// (BecameDegraded), or that were killed as one (OOMKilled with Group).
	Count int
	// Group: memory.oom.group made the OOM killer take them all (OOMKilled).
	// Victim is the first process if that was among them.
	Group bool
	// Reason is of BecameDegraded and Recovered.
	Reason Reason
	// Duration is how long it was degraded (Recovered).
	Duration time.Duration
}

// Victim is a killed process.
type Victim struct {
	PID, VPID  int
	Executable string
	RSS        uint64
	// Init says whether it was the container's first process; meaningful
	// only if InitKnown.
	Init, InitKnown bool
}

// queue is what waits for one consumer.
type queue struct {
	events  []Event
	ended   []*Target
	dropped uint64
}

func (q *queue) addEvent(e Event) {
	if len(q.events) >= queueMax {
		q.dropped++
		return
	}
	q.events = append(q.events, e)
}

func (q *queue) addEnded(t *Target) {
	if len(q.ended) >= queueMax {
		q.dropped++
		return
	}
	q.ended = append(q.ended, t)
}

func (q *queue) clear() {
	clear(q.events)
	clear(q.ended)
	q.events, q.ended = q.events[:0], q.ended[:0]
}

package capture

import (
	"slices"
	"time"

	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/state"
)

// Kind is why a capture is made.
type Kind string

// The kinds.
const (
	OOM       Kind = "oom"
	Degraded  Kind = "degraded"
	Exit      Kind = "exit"
	NearLimit Kind = "near_limit"
	Manual    Kind = "manual"
)

const (
	// before and after are the window around a trigger, and longest bounds what
	// joining triggers make of it. Ten minutes show what led to it, two what came
	// of it; half an hour of the default scope is still some MB.
	before, after, longest = 10 * time.Minute, 2 * time.Minute, 30 * time.Minute
	// maxTriggers bounds what joins one capture; more are counted.
	maxTriggers = 64
	// maxOpen bounds the captures that are open at once.
	maxOpen = 8
	// maxQuiet bounds the memory of the de-bounce.
	maxQuiet = 4096
)

// quiet is how long after a capture of a container another trigger of that kind
// opens none. It still joins one that is open.
func quiet(kind Kind) time.Duration {
	switch kind {
	case OOM, Degraded, Exit:
		return 10 * time.Minute
	case NearLimit:
		// Being near the limit is often a habit: as rare as pressure triggers.
		return 15 * time.Minute
	}
	return 0
}

// request is a trigger on its way to the engine.
type request struct {
	trigger bundle.Trigger
	// into is the number, from 1, of the trigger that tells of the same incident; 0
	// if there is none.
	into int
	// window is set for those who ask for one; they join no other capture.
	window bundle.Window
	host   bool
	more   []string // further containers
	// around are the containers that are looked at where nobody has named one.
	around []string
	answer chan<- answer
	// pictures were taken when it came.
	pictures []*state.Snapshot
}

// past is how old a window must be for a picture of now to be none of it.
const past = time.Minute

// isPast tells whether somebody asks for a time that is over.
func (r *request) isPast() bool {
	return !r.window.To.IsZero() && r.trigger.At.Sub(r.window.To) > past
}

type answer struct {
	id  string
	err error
}

// quietKey is whose triggers are de-bounced together. Of ends it has the service in
// place of the container: a service that crashes comes back under another id.
type quietKey struct {
	kind      Kind
	container string
}

func quietKeyOf(t bundle.Trigger) quietKey {
	if Kind(t.Kind) == Exit {
		return quietKey{Exit, family(t.Container)}
	}
	return quietKey{Kind(t.Kind), t.Container.ID}
}

// Where jobs run, each in a container of its own name, some always fail. maxExits
// bounds the captures that ends open on the host within fewWithin, so that those do not
// push all others off the shelf. maxAsked does the same for records that ask for one:
// whoever can send OTLP can ask, of a container of its own each time.
const (
	maxExits  = 3
	maxAsked  = 4
	fewWithin = 30 * time.Minute
)

// most is how many captures triggers of a kind may open on the host within fewWithin; 0
// is no bound.
func most(kind Kind) int {
	switch kind {
	case Exit:
		return maxExits
	case Manual: // by a record: who asks for a window is not asked here
		return maxAsked
	}
	return 0
}

// debounce remembers the last capture of each container and kind.
type debounce struct {
	last map[quietKey]time.Time
	// few are when the newest captures were opened by kinds that may open a few only.
	few map[Kind][]time.Time
}

// allows tells whether a trigger may open a capture, and remembers that it did.
func (d *debounce) allows(t bundle.Trigger) bool {
	key := quietKeyOf(t)
	last, known := d.last[key]
	// The distance: a clock that was set back by hours must not silence a
	// container for hours.
	if known && t.At.Sub(last).Abs() < quiet(key.kind) {
		return false
	}
	if limit := most(key.kind); limit > 0 {
		opened := slices.DeleteFunc(d.few[key.kind], func(at time.Time) bool { return t.At.Sub(at).Abs() >= fewWithin })
		if len(opened) >= limit {
			return false
		}
		if d.few == nil {
			d.few = map[Kind][]time.Time{}
		}
		d.few[key.kind] = append(opened, t.At)
	}
	d.forget(t.At)
	if d.last == nil {
		d.last = map[quietKey]time.Time{}
	}
	d.last[key] = t.At
	return true
}

// undo takes back that a trigger has opened a capture.
func (d *debounce) undo(t bundle.Trigger) {
	delete(d.last, quietKeyOf(t))
	if opened := d.few[Kind(t.Kind)]; opened != nil {
		d.few[Kind(t.Kind)] = slices.DeleteFunc(opened, func(at time.Time) bool { return at.Equal(t.At) })
	}
}

// forget drops what has no effect any more once there is much of it.
func (d *debounce) forget(now time.Time) {
	if len(d.last) < maxQuiet {
		return
	}
	for key, at := range d.last {
		if now.Sub(at).Abs() >= quiet(key.kind) {
			delete(d.last, key)
		}
	}
	if len(d.last) >= maxQuiet {
		clear(d.last) // thousands of containers die: one capture too many is no harm
	}
}

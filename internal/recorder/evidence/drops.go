package evidence

import (
	"slices"
	"sync"
	"time"
)

const (
	// noteEvery is the shortest time between two notes that are kept, and
	// maxNotes how many are: longer than the longest window (30 min) and the time
	// that captures wait for each other.
	noteEvery = 30 * time.Second
	maxNotes  = 100
)

// drops remembers when how much had been dropped. It is safe for concurrent use.
type drops struct {
	count func() map[string]uint64
	now   func() time.Time

	mu    sync.Mutex
	notes []note // the oldest first
}

type note struct {
	at    time.Time
	count map[string]uint64
}

// newDrops begins with a note without a time: the start.
func newDrops(count func() map[string]uint64) drops {
	return drops{count: count, now: time.Now, notes: []note{{}}}
}

func (d *drops) note() {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	// A clock that was set back makes notes of the future, which say nothing.
	d.notes = slices.DeleteFunc(d.notes, func(n note) bool { return n.at.After(now) })
	if len(d.notes) > 0 && now.Sub(d.notes[len(d.notes)-1].at) < noteEvery {
		return
	}
	if len(d.notes) >= maxNotes {
		d.notes = slices.Delete(d.notes, 0, 1)
	}
	d.notes = append(d.notes, note{now, d.count()})
}

// since is what was dropped from a time on, or from a while before, to the other or a
// while after.
func (d *drops) since(from, to time.Time) map[string]uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	end := d.count()
	for _, n := range slices.Backward(d.notes) {
		if !n.at.Before(to) && !n.at.IsZero() {
			end = n.count
		}
	}
	var before note
	for _, n := range d.notes {
		if !n.at.After(from) {
			before = n
		}
	}
	result := map[string]uint64{}
	for reason, n := range end {
		if n > before.count[reason] {
			result[reason] = n - before.count[reason]
		}
	}
	return result
}

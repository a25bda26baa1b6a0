package peers

import (
	"time"

	"github.com/tallymanhq/tallyman/internal/netns"
)

// maxSkipped readings in a row are left out of a namespace in which nothing happens.
const maxSkipped = 5

func (t *Table) activityOf(n *netns.Namespace) netns.Activity {
	if t.o.Activity == nil {
		return netns.Activity{}
	}
	return t.o.Activity(n)
}

// isQuiet tells whether a reading would find what the last one has, and if so counts
// as one. Interfaces are given to a container from outside, without its doing
// anything: the host's show that.
func (t *Table) isQuiet(s *space, now time.Time) bool {
	if s.readAt.Before(t.plugged.Add(settleFor)) {
		return false // an interface comes first, its address some 100 ms later
	}
	at := t.activityOf(s.ns)
	switch {
	case !at.IsKnown || at != s.activity:
		return false
	case s.skipped >= maxSkipped:
		s.skipped = 0
		return false
	}
	s.skipped++
	s.lookedAt = now
	return true
}

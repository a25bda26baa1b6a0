package ebpfconntrackreceiver

import (
	"time"

	"github.com/tallymanhq/tallyman/internal/netns"
)

// maxSkipped looks in a row are left out of a namespace in which nothing happens.
// What its activity does not show is known after a minute, then: who came in from
// outside and listens at a port in place of another.
const maxSkipped = 5

func (l *looks) activityOf(n *netns.Namespace) netns.Activity {
	if l.activity == nil {
		return netns.Activity{}
	}
	return l.activity(n)
}

// isQuiet tells whether a look would find what the last one has: there was no
// connection, no container has run since, and no socket came or went. If so, it
// counts as one.
func (s *space) isQuiet(now netns.Activity) bool {
	isSame := now.IsKnown && now == s.activity && s.poller.Len() == 0 && len(s.active) == 0
	switch {
	case !isSame:
		return false
	case s.skipped >= maxSkipped:
		s.skipped = 0
		return false
	}
	s.skipped++
	s.looked = time.Now()
	return true
}

package watch

import (
	"strings"
	"time"
)

// maxSkipped looks in a row are left out at a container that does nothing. What shows
// only then, half a minute late: who came in from outside (nsenter) and listens, and
// an address that is given from outside while nobody says any.
const maxSkipped = 5

// isQuiet tells whether a look would find what the last one has: the container has
// been looked at often enough, and has not run since. If not, it is to be looked at.
func (w *Watch) isQuiet(s *subject) bool {
	used, isMetered := w.cpuTime(s)
	isSame := isMetered && s.isMetered && used == s.used
	s.used, s.isMetered = used, isMetered
	switch {
	case !isSame || s.target == nil || s.isBlind() || s.isSettling() || s.looks <= len(early):
		return false
	case s.skipped >= maxSkipped:
		s.skipped = 0
		return false
	}
	return true
}

// isSettling: a command line is to be read once more, by a look that finds nothing new.
func (s *subject) isSettling() bool {
	for _, c := range s.found.commands {
		if !c.isSettled {
			return true
		}
	}
	return false
}

// cpuTime is the processor time that a container has used.
func (w *Watch) cpuTime(s *subject) (sum time.Duration, isKnown bool) {
	if w.meter == nil || s.group == nil {
		return 0, false
	}
	above := ""
	for _, path := range s.group.paths { // in order, so that those below one follow it
		if above != "" && strings.HasPrefix(path, above+"/") {
			continue // in its time already
		}
		above = path
		used, ok := w.meter.CPUTime(path)
		if !ok {
			return 0, false
		}
		sum += used
	}
	return sum, true
}

// rest counts a look that was left out.
func (s *subject) rest(now time.Time, every time.Duration) {
	s.skipped++
	s.due = now.Add(every)
}

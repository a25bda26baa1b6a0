package eventstore

import (
	"slices"
	"sync"
	"time"
)

// maxExpired is how many segments may go by age at a time, which is every ten
// minutes. One more than come, so that the age holds in the long run; not
// more, so that a clock that jumps forth and back costs little.
const maxExpired = 2

// pin keeps the segments that have events of a window.
type pin struct{ from, to int64 }

// Pin keeps the events from one time to the other until release is called.
// The budget may then be exceeded up to its double. Release can be called
// twice.
func (s *Store) Pin(from, to time.Time) (release func()) {
	p := &pin{from: from.UnixNano(), to: to.UnixNano()}
	s.mu.Lock()
	s.pins[p] = struct{}{}
	s.mu.Unlock()
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.pins, p)
		s.fit()
	})
}

func (s *Store) isPinned(of *segment) bool {
	first, last := of.span()
	for p := range s.pins {
		if first <= p.to && last >= p.from {
			return true
		}
	}
	return false
}

// fit removes the oldest segments until the budget holds.
func (s *Store) fit() {
	for s.used() > s.o.MaxBytes && s.removeOldest() {
	}
	for s.used() > 2*s.o.MaxBytes && len(s.segments) > 0 {
		s.removeAt(0)
	}
}

func (s *Store) used() (bytes int64) {
	for _, each := range s.segments {
		bytes += each.size
	}
	if s.current != nil {
		bytes += s.current.size
	}
	return bytes
}

// removeOldest removes the oldest segment that is not pinned, if there is one.
func (s *Store) removeOldest() bool {
	i := slices.IndexFunc(s.segments, func(each *segment) bool { return !s.isPinned(each) })
	if i < 0 {
		return false
	}
	s.removeAt(i)
	return true
}

// expire removes what is older than MaxAge.
func (s *Store) expire() {
	if s.o.MaxAge <= 0 {
		return
	}
	limit := s.o.Now().Add(-s.o.MaxAge).UnixNano()
	for range maxExpired {
		i := slices.IndexFunc(s.segments, func(each *segment) bool {
			return each.closed < limit && !s.isPinned(each)
		})
		if i < 0 {
			return
		}
		s.removeAt(i)
	}
}

func (s *Store) removeAt(i int) {
	gone := s.segments[i]
	s.segments = slices.Delete(s.segments, i, i+1)
	s.doom(gone)
}

// doom removes the file of a segment when nobody reads it any more.
func (s *Store) doom(gone *segment) {
	gone.doomed = true
	if gone.readers > 0 {
		return
	}
	if err := gone.remove(); err != nil {
		s.o.Log.Warn("an event segment stays on disk", "path", gone.path, "error", err)
	}
}

// release ends the reading of segments. The caller holds no lock.
func (s *Store) release(read []*segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, each := range read {
		each.readers--
		if each.doomed && each.readers == 0 {
			s.doom(each)
		}
	}
}

package aggregate

import "github.com/axiomhq/hyperloglog"

const (
	// exactMembers is where a set becomes an estimate.
	exactMembers = 128
	// firstPlaces holds two members: many sets have one or two in an interval.
	firstPlaces = 4
	// sketchBytes is what a HyperLogLog of precision 14 takes when it is dense. It
	// is smaller before, but how much is its own affair.
	sketchBytes = 16 << 10
)

// set counts distinct hashes: exactly, in a hash table of at most half its size,
// then by HyperLogLog, whose standard error is 0.8 %.
type set struct {
	places []uint64 // 0 is empty
	n      int
	// sketch holds all members while isSketch.
	sketch   *hyperloglog.Sketch
	isSketch bool
	booked   int32 // bytes, see Table.book
}

// add takes a member's hash. Without room it allocates nothing, and is false if
// it would have to.
func (s *set) add(hash uint64, room bool) bool {
	if s.isSketch {
		s.sketch.InsertHash(hash)
		return true
	}
	hash = max(hash, 1)
	at, known := s.find(hash)
	switch {
	case known:
		return true
	case s.n == exactMembers:
		if !room {
			return false
		}
		s.estimate()
		s.sketch.InsertHash(hash)
		return true
	case 2*(s.n+1) > len(s.places):
		if !room {
			return false
		}
		s.grow()
		at, _ = s.find(hash)
	}
	s.places[at] = hash
	s.n++
	return true
}

// find returns the place of a hash, or the empty one where it belongs.
func (s *set) find(hash uint64) (at int, known bool) {
	mask := len(s.places) - 1
	if mask < 0 {
		return 0, false
	}
	for at = int(hash>>1) & mask; s.places[at] != 0; at = (at + 1) & mask {
		if s.places[at] == hash {
			return at, true
		}
	}
	return at, false
}

func (s *set) grow() {
	old := s.places
	s.places = make([]uint64, max(firstPlaces, 2*len(old)))
	for _, hash := range old {
		if hash != 0 {
			at, _ := s.find(hash)
			s.places[at] = hash
		}
	}
}

func (s *set) estimate() {
	s.sketch = hyperloglog.New14()
	for _, hash := range s.places {
		if hash != 0 {
			s.sketch.InsertHash(hash)
		}
	}
	s.isSketch = true
}

// merge adds the members of another set of the same seed.
func (s *set) merge(from *set) error {
	if !from.isSketch {
		for _, hash := range from.places {
			if hash != 0 {
				s.add(hash, true)
			}
		}
		return nil
	}
	if !s.isSketch {
		s.estimate()
	}
	return s.sketch.Merge(from.sketch)
}

// reset forgets the members. It keeps a table that was an eighth full or more.
func (s *set) reset() {
	if !s.isSketch && 8*s.n < len(s.places) {
		s.places = nil
	}
	clear(s.places)
	s.n = 0
	s.sketch = nil
	s.isSketch = false
}

// bytes is what the set has allocated, at the most.
func (s *set) bytes() int {
	n := 8 * cap(s.places)
	if s.sketch != nil {
		n += sketchBytes
	}
	return n
}

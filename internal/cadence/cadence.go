package cadence

import "time"

// Cadence is how much of what does not change is told: each n-th reading.
type Cadence struct{ every uint64 }

// New is the cadence of what is read every interval and is to be told at least once
// in unchanged while it stays the same. Where unchanged is shorter than two intervals,
// which 0 is as well, every reading is told.
func New(interval, unchanged time.Duration) Cadence {
	if interval <= 0 {
		return Cadence{every: 1}
	}
	return Cadence{every: max(1, uint64(max(0, unchanged)/interval))}
}

// Steps are the readings of one thing, seen one after the other. The zero value has
// seen none.
type Steps struct {
	// count goes up with each reading; it begins somewhere else for each thing.
	count uint64
	told  bool // one was
	flat  bool // the last one that was told was equal to the one before
	quiet bool // the last one was left out
}

// Begin returns steps whose turn to be told without a change is another one than
// that of steps with other numbers: of n things each reading tells n/every.
func Begin(number uint64) Steps { return Steps{count: number} }

// Next takes a reading: changed says whether it differs from the one before. It
// returns whether it is to be told and, if so, whether the one before has to be told
// first: it was left out.
func (s *Steps) Next(c Cadence, changed bool) (tell, before bool) {
	s.count++
	switch {
	case !s.told || changed:
		before = s.quiet
		s.told, s.flat, s.quiet = true, false, false
	case !s.flat:
		s.flat = true
	default:
		s.quiet = c.every > 1 && s.count%c.every != 0
	}
	return !s.quiet, before
}

// Quiet reports whether the last reading was left out.
func (s *Steps) Quiet() bool { return s.quiet }

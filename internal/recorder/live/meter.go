package live

import "time"

const (
	// holdTimes: a number counts until three measurements are missing.
	holdTimes = 3
	// leastHold is three times what receivers are silent for while nothing changes
	// (unchanged_interval, 5 s by default and never more than 10 s); holdUnknown is
	// three of the usual collection intervals of 10 s; mostHold keeps the page
	// honest.
	leastHold   = 15 * time.Second
	holdUnknown = 30 * time.Second
	mostHold    = 90 * time.Second
	// setBack is how much older a point must be than the last one for the clock
	// to have been set back, rather than for the point to be late.
	setBack = 30 * time.Second
)

// reading is a sum of points of one time. Times are in ns since 1970.
type reading struct {
	at, start int64
	sum       float64
}

// meter is a slot of a row: what was measured last, and before.
type meter struct{ now, before reading }

// add takes a point. It returns false if the point is late.
func (m *meter) add(p reading) bool {
	switch {
	case p.at > m.now.at:
		m.before, m.now = m.now, p
	case p.at == m.now.at:
		m.now.sum += p.sum
		m.now.start = min(m.now.start, p.start)
	case m.now.at-p.at > int64(setBack):
		m.before, m.now = reading{}, p
	default:
		return false
	}
	return true
}

// rate is the growth per second, or NaN.
func (m *meter) rate() float32 {
	switch {
	case m.before.at == 0:
		return nan()
	case m.now.start > m.before.at && m.now.at > m.now.start:
		// It began anew in between.
		return perSecond(m.now.sum, m.now.at-m.now.start)
	case m.now.sum < m.before.sum:
		return nan()
	}
	return perSecond(m.now.sum-m.before.sum, m.now.at-m.before.at)
}

func perSecond(v float64, ns int64) float32 {
	return float32(v / time.Duration(ns).Seconds())
}

// share is how much of the growth of two counters is the first one's, or NaN.
func share(of, rest *meter) float32 {
	if of.before.at == 0 || of.now.at != rest.now.at || of.before.at != rest.before.at {
		return nan()
	}
	a, b := of.now.sum-of.before.sum, rest.now.sum-rest.before.sum
	switch {
	case a < 0 || b < 0:
		return nan()
	case a+b == 0:
		return 0
	}
	return float32(a / (a + b))
}

// value is a number with when it was measured, and how long before that the
// last one was; 0 stands for never.
type value struct {
	number   float32
	measured int64
	gap      int64
}

func (v *value) set(number float32, m *meter) {
	v.number, v.measured, v.gap = number, m.now.at, 0
	if m.before.at != 0 {
		v.gap = m.now.at - m.before.at
	}
}

// at is the number as long as it counts, then NaN.
func (v *value) at(now int64) float32 {
	hold := int64(holdUnknown)
	if v.gap > 0 {
		hold = min(max(holdTimes*v.gap, int64(leastHold)), int64(mostHold))
	}
	age := now - v.measured
	if v.measured == 0 || age > hold || age < -int64(setBack) {
		return nan()
	}
	return v.number
}

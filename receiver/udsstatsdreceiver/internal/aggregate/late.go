package aggregate

import (
	"cmp"
	"slices"
)

// maxLate bounds the timestamped points of a context in one interval: two
// minutes of seconds. Clients send one for each second at the most.
const maxLate = 120

// late are the timestamped points of a context, in order of their seconds.
type late struct {
	points []latePoint
	booked int32 // bytes, see Table.book
}

type latePoint struct {
	second int64
	value  float64
}

const latePointBytes = 16

// at returns the place for a second. It is nil if there is no more.
func (l *late) at(second int64) *latePoint {
	i, known := slices.BinarySearchFunc(l.points, second, func(p latePoint, second int64) int {
		return cmp.Compare(p.second, second)
	})
	if !known {
		if len(l.points) == maxLate {
			return nil
		}
		l.points = slices.Insert(l.points, i, latePoint{second: second})
	}
	return &l.points[i]
}

// bytes is what the list has allocated.
func (l *late) bytes() int { return latePointBytes * cap(l.points) }

package aggregate

import "math"

// histogram is an exponential histogram without its sum, which the context has.
// Its count is that of all buckets.
type histogram struct {
	min, max float64 // the one above the other while there are no values
	zero     uint64
	positive buckets
	negative *buckets // nil without negative values
	scale    int8
	booked   int32 // bytes, see Table.book
}

func (h *histogram) init() {
	h.min, h.max, h.scale = math.Inf(1), math.Inf(-1), maxScale
}

// add counts a value n times, and is false if that needs grow.
func (h *histogram) add(v float64, n uint64) bool {
	switch {
	case v > 0:
		if !h.positive.add(bucketOf(v)>>(maxScale-h.scale), n) {
			return false
		}
	case v == 0:
		h.zero += n
	default:
		if h.negative == nil || !h.negative.add(bucketOf(-v)>>(maxScale-h.scale), n) {
			return false
		}
	}
	h.min = min(h.min, v)
	h.max = max(h.max, v)
	return true
}

// grow makes place for a value that is not zero, n times. Without room it
// allocates nothing, and is false if it would have to.
func (h *histogram) grow(v float64, n uint64, room bool) bool {
	side := &h.positive
	if v < 0 {
		if h.negative == nil {
			if !room {
				return false
			}
			h.negative = &buckets{}
		}
		side = h.negative
	}
	bucket := bucketOf(math.Abs(v))
	return h.include(side, bucket>>(maxScale-h.scale), room) &&
		side.reserve(int(bucket>>(maxScale-h.scale)-side.first), n, room)
}

// include makes a row reach to a bucket of the present scale.
func (h *histogram) include(side *buckets, bucket int32, room bool) bool {
	shift := 0
	low, high := side.span(bucket, shift)
	for high-low >= maxBuckets {
		shift++
		low, high = side.span(bucket, shift)
	}
	if !room && !side.fits(int(high-low+1)) {
		return false
	}
	h.coarsen(shift)
	side.extend(low, high)
	return true
}

func (h *histogram) coarsen(shift int) {
	h.positive.coarsen(shift)
	if h.negative != nil {
		h.negative.coarsen(shift)
	}
	h.scale -= int8(shift)
}

// merge adds another histogram, which it may coarsen.
func (h *histogram) merge(from *histogram) {
	h.coarsen(max(0, int(h.scale-from.scale)))
	from.coarsen(max(0, int(from.scale-h.scale)))
	h.zero += from.zero
	h.min = min(h.min, from.min)
	h.max = max(h.max, from.max)
	h.mergeRow(&h.positive, &from.positive, from)
	if from.negative != nil {
		if h.negative == nil {
			h.negative = &buckets{}
		}
		h.mergeRow(h.negative, from.negative, from)
	}
}

// mergeRow reaches for both ends first: that settles the scale.
func (h *histogram) mergeRow(into, row *buckets, from *histogram) {
	if row.len() == 0 {
		return
	}
	for _, end := range []func() int32{
		func() int32 { return row.first },
		func() int32 { return row.first + int32(row.len()) - 1 },
	} {
		h.include(into, end(), true)
		from.coarsen(int(from.scale - h.scale))
	}
	for i := range row.len() {
		if n := row.at(i); n != 0 {
			into.raise(int(row.first-into.first)+i, n)
		}
	}
}

// reset forgets the values and keeps the memory.
func (h *histogram) reset() {
	h.positive.reset()
	if h.negative != nil {
		h.negative.reset()
	}
	h.zero = 0
	h.init()
}

// bytes is what the histogram has allocated.
func (h *histogram) bytes() int {
	n := cap(h.positive.counts)
	if h.negative != nil {
		n += bucketsBytes + cap(h.negative.counts)
	}
	return n
}

// bucketsBytes is the size of a buckets on 64-bit machines.
const bucketsBytes = 32

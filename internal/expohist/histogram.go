package expohist

import "math"

// Histogram is an exponential histogram without its sum, which its owner has:
// that may have to be a weighted one. Its count is that of all buckets. Call
// Init before anything else.
type Histogram struct {
	min, max float64 // the one above the other while there are no values
	zero     uint64
	positive buckets
	negative *buckets // nil without negative values
	scale    int8
	// Booked is a note of the owner, such as how many bytes it has put down to
	// somebody; nothing here reads or changes it. It lies in a gap of the struct:
	// in one around it, it would cost each histogram 8 bytes.
	Booked int32
}

// Init makes an empty histogram at the finest scale.
func (h *Histogram) Init() {
	h.min, h.max, h.scale = math.Inf(1), math.Inf(-1), MaxScale
}

// Add counts a value n times, and is false if that needs Grow. It never
// allocates. The value must be finite.
func (h *Histogram) Add(v float64, n uint64) bool {
	switch {
	case v > 0:
		if !h.positive.add(bucketOf(v)>>(MaxScale-h.scale), n) {
			return false
		}
	case v == 0:
		h.zero += n
	default:
		if h.negative == nil || !h.negative.add(bucketOf(-v)>>(MaxScale-h.scale), n) {
			return false
		}
	}
	h.min = min(h.min, v)
	h.max = max(h.max, v)
	return true
}

// Record counts a value n times and allocates what that needs.
func (h *Histogram) Record(v float64, n uint64) {
	if !h.Add(v, n) {
		h.Grow(v, n, true)
		h.Add(v, n)
	}
}

// Grow makes place for a value that is not zero, n times. Without room it
// allocates nothing, and is false if it would have to.
func (h *Histogram) Grow(v float64, n uint64, room bool) bool {
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
	return h.include(side, bucket>>(MaxScale-h.scale), room) &&
		side.reserve(int(bucket>>(MaxScale-h.scale)-side.first), n, room)
}

// include makes a row reach to a bucket of the present scale.
func (h *Histogram) include(side *buckets, bucket int32, room bool) bool {
	shift := 0
	low, high := side.span(bucket, shift)
	for high-low >= MaxBuckets {
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

func (h *Histogram) coarsen(shift int) {
	h.positive.coarsen(shift)
	if h.negative != nil {
		h.negative.coarsen(shift)
	}
	h.scale -= int8(shift)
}

// Merge adds another histogram, which it may coarsen for that.
func (h *Histogram) Merge(from *Histogram) {
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
func (h *Histogram) mergeRow(into, row *buckets, from *Histogram) {
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

// Reset forgets the values and keeps the memory.
func (h *Histogram) Reset() {
	h.positive.reset()
	if h.negative != nil {
		h.negative.reset()
	}
	h.zero = 0
	h.Init()
}

// Bytes is what the histogram has allocated, without itself.
func (h *Histogram) Bytes() int {
	n := cap(h.positive.counts)
	if h.negative != nil {
		n += bucketsBytes + cap(h.negative.counts)
	}
	return n
}

// bucketsBytes is the size of a buckets on 64-bit machines.
const bucketsBytes = 32

package expohist

import (
	"encoding/binary"
	"math"
)

// MaxBuckets is how many there are of each sign at the most: what OpenTelemetry's
// own SDKs keep.
const MaxBuckets = 160

// firstBuckets is the least that is allocated: 8 bytes is Go's smallest size.
const firstBuckets = 8

// buckets are counters in a row. All have the width that the largest needs.
type buckets struct {
	counts []byte // little endian
	first  int32  // the bucket of the first counter
	width  uint8  // of a counter, as a power of two of bytes: 0 to 3
}

func (b *buckets) len() int { return len(b.counts) >> b.width }

// add counts n more in a bucket, and is false if that is out of the range or
// needs wider counters.
func (b *buckets) add(bucket int32, n uint64) bool {
	i := uint32(bucket - b.first)
	if b.width == 0 && n == 1 && uint64(i) < uint64(len(b.counts)) && b.counts[i] != math.MaxUint8 {
		b.counts[i]++
		return true
	}
	if uint64(i) >= uint64(b.len()) {
		return false
	}
	sum := b.at(int(i)) + n
	if sum>>(8<<b.width) != 0 {
		return false
	}
	b.set(int(i), sum)
	return true
}

// raise adds n to a counter of the row, which it widens if it must.
func (b *buckets) raise(i int, n uint64) {
	b.reserve(i, n, true)
	b.set(i, b.at(i)+n)
}

// reserve makes the counters wide enough for n more in one of them. Without room
// it allocates nothing, and is false if it would have to.
func (b *buckets) reserve(i int, n uint64, room bool) bool {
	sum := b.at(i) + n
	for sum>>(8<<b.width) != 0 {
		if !room && cap(b.counts) < 2*len(b.counts) {
			return false
		}
		b.widen()
	}
	return true
}

func (b *buckets) at(i int) uint64 {
	switch b.width {
	case 0:
		return uint64(b.counts[i])
	case 1:
		return uint64(binary.LittleEndian.Uint16(b.counts[2*i:]))
	case 2:
		return uint64(binary.LittleEndian.Uint32(b.counts[4*i:]))
	}
	return binary.LittleEndian.Uint64(b.counts[8*i:])
}

func (b *buckets) set(i int, n uint64) {
	switch b.width {
	case 0:
		b.counts[i] = uint8(n)
	case 1:
		binary.LittleEndian.PutUint16(b.counts[2*i:], uint16(n))
	case 2:
		binary.LittleEndian.PutUint32(b.counts[4*i:], uint32(n))
	default:
		binary.LittleEndian.PutUint64(b.counts[8*i:], n)
	}
}

// widen doubles the width, in place where there is room: from the end, so that
// nothing is overwritten before it is read.
func (b *buckets) widen() {
	n := b.len()
	old := *b
	b.width++
	if cap(b.counts) >= n<<b.width {
		b.counts = b.counts[:n<<b.width]
	} else {
		b.counts = make([]byte, n<<b.width, roundUp(n)<<b.width)
	}
	for i := n - 1; i >= 0; i-- {
		b.set(i, old.at(i))
	}
}

// fits tells whether extend to n counters needs no allocation.
func (b *buckets) fits(n int) bool { return n<<b.width <= cap(b.counts) }

// extend makes the row reach from bucket low to bucket high, which includes all
// that it has.
func (b *buckets) extend(low, high int32) {
	old := b.counts
	size := int(high-low+1) << b.width
	if cap(old) >= size {
		b.counts = old[:size]
	} else {
		b.counts = make([]byte, size, roundUp(int(high-low+1))<<b.width)
	}
	before := 0
	if len(old) > 0 {
		before = int(b.first-low) << b.width
	}
	copy(b.counts[before:], old)
	clear(b.counts[:before])
	clear(b.counts[before+len(old):])
	b.first = low
}

// span is the range of buckets with one more, at a scale that is coarser by shift.
func (b *buckets) span(bucket int32, shift int) (low, high int32) {
	low, high = bucket, bucket
	if n := b.len(); n > 0 {
		low = min(low, b.first)
		high = max(high, b.first+int32(n)-1)
	}
	return low >> shift, high >> shift
}

// coarsen merges 2^shift neighbours into one.
func (b *buckets) coarsen(shift int) {
	n := b.len()
	if n == 0 || shift == 0 {
		return
	}
	first := b.first >> shift
	for i := range n {
		to := int((b.first+int32(i))>>shift - first)
		if count := b.at(i); count != 0 && to != i {
			b.set(i, 0)
			b.raise(to, count)
		}
	}
	last := (b.first + int32(n) - 1) >> shift
	b.first = first
	b.counts = b.counts[:int(last-first+1)<<b.width]
}

// reset forgets the counts and keeps the memory.
func (b *buckets) reset() {
	b.counts = b.counts[:0]
	b.width = 0
}

// roundUp leaves room for some more, so that a row grows in few steps.
func roundUp(n int) int {
	size := firstBuckets
	for size < n {
		size *= 2
	}
	return max(n, min(size, MaxBuckets))
}

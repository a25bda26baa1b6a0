package aggregate

import "unsafe"

// slabSize keeps a slab of contexts (64 bytes each) at 32 KiB: the largest size
// that Go's allocator hands out without rounding up to whole pages.
const (
	slabBits = 9
	slabSize = 1 << slabBits
)

// pool hands out numbered places for values of one type. A place never moves
// while it is taken. The number 0 is nobody's.
type pool[T any] struct {
	slabs [][]T
	free  []uint32
	last  uint32 // the highest number that was ever taken
}

func (p *pool[T]) at(ref uint32) *T {
	ref--
	return &p.slabs[ref>>slabBits][ref&(slabSize-1)]
}

// take returns a zeroed place.
func (p *pool[T]) take() uint32 {
	if n := len(p.free); n > 0 {
		ref := p.free[n-1]
		p.free = p.free[:n-1]
		return ref
	}
	if int(p.last)>>slabBits == len(p.slabs) {
		p.slabs = append(p.slabs, make([]T, slabSize))
	}
	p.last++
	return p.last
}

func (p *pool[T]) put(ref uint32) {
	var zero T
	*p.at(ref) = zero
	p.free = append(p.free, ref)
}

// bytes counts the slabs.
func (p *pool[T]) bytes() int {
	var zero T
	return len(p.slabs) * slabSize * int(unsafe.Sizeof(zero))
}

// growth is how many bytes the next take allocates.
func (p *pool[T]) growth() int {
	if len(p.free) > 0 || int(p.last)>>slabBits < len(p.slabs) {
		return 0
	}
	var zero T
	return slabSize * int(unsafe.Sizeof(zero))
}

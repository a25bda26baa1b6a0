package aggregate

// blocked stands in the raw index for keys that the policy does not want.
const blocked = ^uint32(0)

// rawIndex finds the context of a raw key: open addressing with linear probing,
// at most three quarters full. Two keys of equal 64 bits would be taken for the
// same; the seed is secret, and for a million keys the odds are 3 in 10^8.
type rawIndex struct {
	slots []rawSlot // a power of two
	mask  uint32
	used  int
}

// rawSlot is three 32-bit fields, so that it takes 12 bytes and not 16.
type rawSlot struct {
	low, high uint32
	ref       uint32 // 0 is empty
}

const (
	rawSlotBytes = 12
	// firstSlots is what an index begins with: 12 kB.
	firstSlots = 1024
)

// find returns the context of a key, blocked, or 0.
func (x *rawIndex) find(key uint64) uint32 {
	low, high := uint32(key), uint32(key>>32)
	for p := low & x.mask; int(p) < len(x.slots); p = (p + 1) & x.mask {
		s := &x.slots[p]
		if s.ref == 0 {
			return 0
		}
		if s.low == low && s.high == high {
			return s.ref
		}
	}
	return 0
}

// insert adds a key that is not there.
func (x *rawIndex) insert(key uint64, ref uint32) {
	if x.growth() > 0 {
		x.grow()
	}
	x.place(rawSlot{uint32(key), uint32(key >> 32), ref})
	x.used++
}

func (x *rawIndex) place(s rawSlot) {
	p := s.low & x.mask
	for x.slots[p].ref != 0 {
		p = (p + 1) & x.mask
	}
	x.slots[p] = s
}

func (x *rawIndex) grow() {
	old := x.slots
	x.slots = make([]rawSlot, max(firstSlots, 2*len(old)))
	x.mask = uint32(len(x.slots) - 1)
	for _, s := range old {
		if s.ref != 0 {
			x.place(s)
		}
	}
}

// remove empties slot p and moves up what had to give way to it. Afterwards
// another entry may be at p.
func (x *rawIndex) remove(p uint32) {
	hole := p
	for {
		p = (p + 1) & x.mask
		s := x.slots[p]
		if s.ref == 0 {
			break
		}
		// An entry may move to the hole if that is not before its own place.
		if (p-s.low)&x.mask >= (p-hole)&x.mask {
			x.slots[hole] = s
			hole = p
		}
	}
	x.slots[hole] = rawSlot{}
	x.used--
}

func (x *rawIndex) bytes() int { return len(x.slots) * rawSlotBytes }

// growth is how many bytes the next insert allocates.
func (x *rawIndex) growth() int {
	if 4*(x.used+1) <= 3*len(x.slots) {
		return 0
	}
	return max(firstSlots, 2*len(x.slots)) * rawSlotBytes
}

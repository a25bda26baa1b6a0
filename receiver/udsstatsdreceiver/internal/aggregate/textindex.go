package aggregate

// textIndex finds a context by what it is: the same probing as rawIndex, but
// equal hashes are not enough, the text is compared too. It is asked at first
// sight of a raw key only.
type textIndex struct {
	slots []textSlot // a power of two
	mask  uint32
	used  int
}

type textSlot struct {
	hash uint32
	ref  uint32 // 0 is empty
}

const textSlotBytes = 8

// find returns the first context with that hash for which same is true, or 0.
func (x *textIndex) find(hash uint32, same func(ref uint32) bool) uint32 {
	for p := hash & x.mask; int(p) < len(x.slots); p = (p + 1) & x.mask {
		s := x.slots[p]
		if s.ref == 0 {
			return 0
		}
		if s.hash == hash && same(s.ref) {
			return s.ref
		}
	}
	return 0
}

func (x *textIndex) insert(hash, ref uint32) {
	if x.growth() > 0 {
		old := x.slots
		x.slots = make([]textSlot, max(firstSlots, 2*len(old)))
		x.mask = uint32(len(x.slots) - 1)
		for _, s := range old {
			if s.ref != 0 {
				x.place(s)
			}
		}
	}
	x.place(textSlot{hash, ref})
	x.used++
}

func (x *textIndex) place(s textSlot) {
	p := s.hash & x.mask
	for x.slots[p].ref != 0 {
		p = (p + 1) & x.mask
	}
	x.slots[p] = s
}

// remove takes out the entry of a context, which is there.
func (x *textIndex) remove(hash, ref uint32) {
	p := hash & x.mask
	for x.slots[p].ref != ref {
		p = (p + 1) & x.mask
	}
	hole := p
	for {
		p = (p + 1) & x.mask
		s := x.slots[p]
		if s.ref == 0 {
			break
		}
		if (p-s.hash)&x.mask >= (p-hole)&x.mask {
			x.slots[hole] = s
			hole = p
		}
	}
	x.slots[hole] = textSlot{}
	x.used--
}

func (x *textIndex) bytes() int { return len(x.slots) * textSlotBytes }

// growth is how many bytes the next insert allocates.
func (x *textIndex) growth() int {
	if 4*(x.used+1) <= 3*len(x.slots) {
		return 0
	}
	return max(firstSlots, 2*len(x.slots)) * textSlotBytes
}

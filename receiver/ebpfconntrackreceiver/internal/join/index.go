package join

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// index finds slots by hash. Of equal hashes the one that came last is first.
type index struct {
	buckets []int32 // first node of each, by the hash's lower bits
	nodes   []node
	free    int32
	used    int
}

// node is one slot under one hash.
type node struct {
	hash       uint64
	slot       int32
	prev, next int32 // in the bucket; the first's prev is ^bucket
	sibling    int32 // of the same slot; next of the free ones
	mask       uint8 // what the slot is there
}

// firstBuckets is a power of two, and little enough for a host that is idle.
const firstBuckets = 64

func newIndex() index {
	x := index{buckets: make([]int32, firstBuckets), free: none}
	for i := range x.buckets {
		x.buckets[i] = none
	}
	return x
}

// insert adds n, of which hash, slot, sibling and mask are set.
func (x *index) insert(n node) int32 {
	if x.used >= len(x.buckets) {
		x.grow()
	}
	at := x.free
	if at == none {
		x.nodes = append(x.nodes, node{})
		at = int32(len(x.nodes) - 1)
	} else {
		x.free = x.nodes[at].sibling
	}
	x.nodes[at] = n
	x.link(at)
	x.used++
	return at
}

func (x *index) link(at int32) {
	n := &x.nodes[at]
	bucket := int32(n.hash & uint64(len(x.buckets)-1))
	n.prev, n.next = ^bucket, x.buckets[bucket]
	if n.next != none {
		x.nodes[n.next].prev = at
	}
	x.buckets[bucket] = at
}

func (x *index) remove(at int32) {
	n := &x.nodes[at]
	if n.prev >= 0 {
		x.nodes[n.prev].next = n.next
	} else {
		x.buckets[^n.prev] = n.next
	}
	if n.next != none {
		x.nodes[n.next].prev = n.prev
	}
	*n = node{sibling: x.free}
	x.free = at
	x.used--
}

// first returns the first node in the bucket of hash, not all of which have it.
func (x *index) first(hash uint64) int32 { return x.buckets[hash&uint64(len(x.buckets)-1)] }

// grow doubles the buckets and keeps the order in them.
func (x *index) grow() {
	old := x.buckets
	x.buckets = make([]int32, 2*len(old))
	for i := range x.buckets {
		x.buckets[i] = none
	}
	for _, at := range old {
		last := none
		for ; at != none; at = x.nodes[at].next {
			last = at
		}
		for at = last; at >= 0; {
			prev := x.nodes[at].prev
			x.link(at)
			at = prev
		}
	}
}

// seed makes hashes that nobody outside can foresee: ports and addresses are for
// others to choose.
type seed [3]uint64

func mix(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}

func (s seed) view(v *view, netns uint64) uint64 {
	a, b := halves(v.source.Addr())
	c, d := halves(v.destination.Addr())
	ports := uint64(v.source.Port())<<16 | uint64(v.destination.Port())
	h := mix(a^s[0], b^s[1])
	h = mix(h^c, d^s[2])
	return mix(h^ports^s[0], netns^s[1])
}

func (s seed) legs(k legsKey) uint64 {
	return mix(mix(k.up^s[0], k.down^s[1])^uint64(k.pid), s[2])
}

func halves(a netip.Addr) (high, low uint64) {
	b := a.As16()
	return binary.LittleEndian.Uint64(b[:8]), binary.LittleEndian.Uint64(b[8:])
}

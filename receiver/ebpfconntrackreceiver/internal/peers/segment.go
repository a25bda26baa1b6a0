package peers

import "slices"

// segment is what one frame reaches: a bridge with its ports' other ends, or a
// pair alone. It is named after the namespace with the bridge, or with the end of
// the pair that is nobody's but the host's, and the interface there. The zero
// segment is none that is known.
type segment struct {
	parent uint64 // inode
	index  uint32
}

// connect finds out which interfaces are on one segment. It begins at the
// namespaces that have bridges, and the host: each end of a pair there tells the
// number of its other end and of the namespace that has it, as numbered from
// there. The kernel is asked which of the known namespaces has that number.
func (t *Table) connect(open Opener) {
	for _, s := range t.spaces {
		clear(s.segments)
	}
	parents := 0
	for _, s := range t.spaces {
		if !s.isParent() {
			continue
		}
		if parents++; parents > maxParents && !s.ns.Host {
			t.remember(func(stats *Stats) { stats.DroppedParents++ })
			continue
		}
		t.identify(s, open)
		t.join(s)
	}
}

// isParent: it has ports of bridges whose other ends are elsewhere. Routed pairs
// are known of the host only: the other end of any pair looks the same.
func (s *space) isParent() bool {
	return s.ns.Host || slices.ContainsFunc(s.links, func(l link) bool { return l.isPort() })
}

func (l *link) isPort() bool { return l.peerNSID >= 0 && l.master != 0 }

// identify asks for the numbers that a parent has for those spaces that were read
// just now, unless all numbers it mentions are known.
func (t *Table) identify(parent *space, open Opener) {
	strangers := t.strangers(parent)
	if len(strangers) == 0 {
		return
	}
	r, err := t.enter(parent.ns, open)
	if err != nil {
		return // it has gone, or Refresh has said what is wrong
	}
	defer r.close()
	for _, s := range strangers {
		if err := s.introduce(parent, r, open); err != nil {
			t.remember(func(stats *Stats) { stats.ReadErrors++; stats.Last = err })
		}
	}
}

// introduce asks a parent for the number of a space.
func (s *space) introduce(parent *space, r *routing, open Opener) error {
	f, err := open(s.ns)
	if err != nil {
		return nil // as above
	}
	defer f.Close()
	nsid, err := r.nsid(f)
	if err == nil && nsid >= 0 {
		s.nsids[parent.inode] = nsid
	}
	return err
}

// strangers are the spaces that may be at the other end of a parent's pair, where
// nobody is known to be.
func (t *Table) strangers(parent *space) []*space {
	known := t.children(parent)
	isComplete := !slices.ContainsFunc(parent.links, func(l link) bool {
		return l.peerNSID >= 0 && known[l.peerNSID] == nil
	})
	if isComplete {
		return nil
	}
	var all []*space
	for _, s := range t.spaces {
		if _, isKnown := s.nsids[parent.inode]; !isKnown && s.isFresh && s != parent {
			all = append(all, s)
		}
	}
	return all
}

// children are the spaces that have a number in a parent.
func (t *Table) children(parent *space) map[int32]*space {
	all := map[int32]*space{}
	for _, s := range t.spaces {
		if nsid, isKnown := s.nsids[parent.inode]; isKnown {
			all[nsid] = s
		}
	}
	return all
}

// join puts the interfaces at both ends of a parent's pairs on their segments,
// and its bridges.
func (t *Table) join(parent *space) {
	known := t.children(parent)
	for i := range parent.links {
		l := &parent.links[i]
		if l.peerNSID < 0 || l.master == 0 && !parent.ns.Host {
			continue
		}
		at := segment{parent.inode, l.index}
		if l.master != 0 {
			at.index = l.master
			parent.segments[l.master] = at
		}
		parent.segments[l.index] = at
		if child := known[l.peerNSID]; child != nil {
			child.segments[l.peer] = at
		}
	}
}

// allSegments are those that a space is on.
func (s *space) allSegments() []segment {
	var all []segment
	for _, at := range s.segments {
		if !slices.Contains(all, at) {
			all = append(all, at)
		}
	}
	return all
}

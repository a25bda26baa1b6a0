package peers

import (
	"net/netip"
	"slices"
)

// loopback is what the kernel calls the interface with loopback addresses.
const loopback = "lo"

// Lookup tells who is at an address. It is false if that is Unknown: the address
// is not valid.
func (t *Table) Lookup(q Question) (Peer, bool) {
	addr := q.Addr.Addr().Unmap().WithZone("")
	now := t.snapshot.Load()
	from := now.views[q.From]
	if from != nil && addr.IsLoopback() {
		return t.answer(&holder{view: from, iface: loopback}, q.Addr.Port()), true
	}
	if all := now.holders[addr]; len(all) > 0 {
		h := pick(all, from)
		if h == nil {
			return Peer{Kind: Ambiguous}, true
		}
		return t.answer(h, q.Addr.Port()), true
	}
	if name := t.group(addr); name != "" {
		return Peer{Kind: Group, Group: name}, true
	}
	return Peer{}, false
}

// Namespace tells who is in a namespace, given by its inode. The port is that of
// a server there, or 0. It is false if the namespace is not known.
func (t *Table) Namespace(inode uint64, port uint16) (Peer, bool) {
	v := t.snapshot.Load().views[inode]
	if v == nil {
		return Peer{}, false
	}
	return t.answer(&holder{view: v}, port), true
}

func (t *Table) group(addr netip.Addr) string {
	if !addr.IsValid() {
		return ""
	}
	return t.groups.of(addr)
}

// pick returns the holder that is meant by who asks; nil if that is not clear.
func pick(all []holder, from *view) *holder {
	if len(all) == 1 {
		return &all[0]
	}
	if h, isOnly := only(all, func(*holder) bool { return true }); isOnly {
		return h
	}
	if from == nil {
		return nil
	}
	for _, isNear := range []func(*holder) bool{
		func(h *holder) bool { return h.view == from },
		func(h *holder) bool { return h.segment != segment{} && slices.Contains(from.segments, h.segment) },
		func(h *holder) bool { return h.segment != segment{} && from.isUnder(h.segment.parent) },
	} {
		h, isOnly := only(all, isNear)
		if isOnly {
			return h
		}
		if h != nil {
			return nil // several are equally near
		}
	}
	return nil
}

// isUnder: it is the parent itself, or has an interface on one of its segments.
func (v *view) isUnder(parent uint64) bool {
	return v.inode == parent || slices.ContainsFunc(v.segments, func(s segment) bool { return s.parent == parent })
}

// only returns the first that fits, and whether all that fit are in one namespace.
func only(all []holder, fits func(*holder) bool) (*holder, bool) {
	var found *holder
	for i := range all {
		h := &all[i]
		switch {
		case !fits(h):
		case found == nil:
			found = h
		case found.view != h.view:
			return found, false
		}
	}
	return found, found != nil
}

// answer makes a peer of a holder.
func (t *Table) answer(h *holder, port uint16) Peer {
	v := h.view
	p := Peer{Kind: Container, Gone: v.gone, Containers: v.containers, Interface: h.iface, Namespace: v.inode}
	if len(v.containers) == 1 {
		p.Container = v.containers[0]
		return p
	}
	if v.host {
		p.Kind = Host
	}
	if port == 0 || t.o.Listener == nil {
		return p
	}
	// In the host's namespace anybody may be, also who is no member.
	if id, ok := t.o.Listener(v.inode, port); ok && id != "" && (v.host || slices.Contains(v.containers, id)) {
		p.Kind, p.Container = Container, id
		if v.host {
			p.Containers = nil
		}
	}
	return p
}

package nat

import "net/netip"

// tuple is one direction of a conntrack entry: addresses unmapped, without zone.
type tuple struct {
	source, destination netip.AddrPort
}

// entry is what conntrack keeps of a connection.
type entry struct {
	transport       Transport
	zone            uint16
	original, reply tuple
}

// pair reads a tuple from the side of who receives packets of it: the other end
// is the source.
func (t tuple) pair() Pair { return Pair{Local: t.destination, Remote: t.source} }

// asked returns the tuple of the packets that the query's socket sends, and
// whether the namespace at can know of them.
func asked(q *Query, at uint64) (tuple, bool) {
	t := tuple{source: plain(q.Local), destination: plain(q.Remote)}
	source, destination := t.source.Addr(), t.destination.Addr()
	switch {
	case q.Transport != TCP && q.Transport != UDP,
		!source.IsValid() || !destination.IsValid(),
		source.Is4() != destination.Is4(),
		source.IsUnspecified() || destination.IsUnspecified():
		return tuple{}, false
	case q.Netns != 0 && q.Netns != at:
		// Its loopback interface is another one than that of at.
		return t, !source.IsLoopback() && !destination.IsLoopback()
	}
	return t, true
}

// plain is the address as packets have it.
func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// answer says what an entry means for the socket that sends packets of the
// tuple; nothing if the entry is not about it.
func (e *entry) answer(t tuple) Answer {
	switch t {
	case e.original:
		return Answer{Found: true, Origin: Original, Real: e.reply.pair(), Zone: e.zone}
	case e.reply:
		return Answer{Found: true, Origin: Reply, Real: e.original.pair(), Zone: e.zone}
	}
	return Answer{}
}

package join

import (
	"net/netip"
	"slices"
	"time"
)

// view is a connection in the direction of the client's packets.
type view struct{ source, destination netip.AddrPort }

// A connection has up to three views: as the client's socket has it, as the
// server's has it, and from the one's own address to the other's, whatever is
// between. An end that conntrack knew knows all three, another one only its own,
// and has it in the place of the others. The ends of one connection have one of
// them in common, each in its role; which of these a node is, is its mask.
const (
	clientSeen uint8 = 1 << iota
	clientServed
	clientAcross
	serverSeen
	serverServed
	serverAcross

	asClient = clientSeen | clientServed | clientAcross
	asServer = serverSeen | serverServed | serverAcross
)

// other returns what the other end is of a view that this end is by mask.
func other(mask uint8) uint8 { return mask>>3 | mask<<3&asServer }

// viewOf returns the view that the lowest bit of mask says.
func viewOf(e *End, mask uint8) view {
	switch mask & -mask {
	case clientSeen:
		return view{e.Local, e.Remote}
	case clientServed:
		return view{e.RealLocal, e.RealRemote}
	case clientAcross:
		return view{e.Local, e.RealRemote}
	case serverSeen:
		return view{e.RealRemote, e.RealLocal}
	case serverServed:
		return view{e.Remote, e.Local}
	}
	return view{e.RealRemote, e.Local}
}

// space is the network namespace that the view is of, if that matters.
func (v *view) space(e *End) uint64 {
	if v.source.Addr().IsLoopback() || v.destination.Addr().IsLoopback() {
		return e.Netns
	}
	return 0
}

// insert lets the slot be found by all its views.
func (t *table) insert(at int32) {
	switch t.slots[at].end.Direction {
	case Outgoing:
		t.insertViews(at, asClient)
	case Incoming:
		t.insertViews(at, asServer)
	default:
		t.insertViews(at, asClient)
		t.insertViews(at, asServer)
	}
}

func (t *table) insertViews(at int32, role uint8) {
	s := &t.slots[at]
	e := &s.end
	if !e.translated() {
		t.insertView(at, role)
		return
	}
	for role != 0 {
		same := role & -role
		v := viewOf(e, same)
		for rest := role &^ same; rest != 0; rest &= rest - 1 {
			if viewOf(e, rest) == v {
				same |= rest & -rest
			}
		}
		t.insertView(at, same)
		role &^= same
	}
}

func (t *table) insertView(at int32, mask uint8) {
	s := &t.slots[at]
	v := viewOf(&s.end, mask)
	hash := t.seed.view(&v, v.space(&s.end))
	for n, left := t.views.first(hash), walkLimit; n != none && left > 0; n = t.views.nodes[n].next {
		if y := &t.views.nodes[n]; y.hash == hash {
			s.met, t.slots[y.slot].met = true, true
			left--
		}
	}
	s.nodes = t.views.insert(node{hash: hash, slot: at, sibling: s.nodes, mask: mask})
}

// candidate is a slot that could be the other end.
type candidate struct {
	slot  int32
	views uint8 // what it is of those in common
}

// verdict is what is known of the other end.
type verdict uint8

const (
	nobody    verdict = iota
	unsettled         // there is one, but there may be another still to come
	unclear           // there are several, or others have a claim to it
	found
)

// resolve returns the slot of the other end. last: it is not waited for any more.
func (t *table) resolve(at int32, last bool) (int32, verdict) {
	s := &t.slots[at]
	if s.partner != none {
		return s.partner, found
	}
	if s.taken || !s.met {
		return none, nobody
	}
	ours, disputed := t.best(at, &t.candidates[0])
	if disputed {
		return none, unclear
	}
	if len(ours) == 0 {
		return none, nobody
	}
	ours, disputed = t.mutual(at, ours)
	switch {
	case disputed || len(ours) > 0 && !t.allAre(ours, &t.slots[ours[0].slot].end):
		return none, unclear
	case len(ours) == 0:
		return none, nobody
	case !last && !(t.settled(at) && t.allSettled(ours)):
		return none, unsettled
	}
	y := t.earliest(ours)
	t.pair(at, y)
	return y, found
}

// mutual leaves those for whom the slot is among the best too. disputed: it matters
// which of these it is.
func (t *table) mutual(at int32, ours []candidate) (kept []candidate, disputed bool) {
	kept = ours[:0]
	for _, c := range ours {
		theirs, disputed := t.best(c.slot, &t.candidates[1])
		isAmong := slices.ContainsFunc(theirs, func(c candidate) bool { return c.slot == at })
		if disputed || isAmong && !t.allAre(theirs, &t.slots[at].end) {
			return nil, true
		}
		if isAmong {
			kept = append(kept, c)
		}
	}
	return kept, false
}

func (t *table) allSettled(slots []candidate) bool {
	for _, c := range slots {
		if !t.settled(c.slot) {
			return false
		}
	}
	return true
}

func (t *table) pair(x, y int32) {
	a, b := &t.slots[x], &t.slots[y]
	a.partner, a.taken = y, true
	b.partner, b.taken = x, true
}

// allAre reports whether it does not matter which of the slots is meant, as all
// are somebody's at the same address.
func (t *table) allAre(slots []candidate, who *End) bool {
	for _, c := range slots {
		end := &t.slots[c.slot].end
		if end.Owner != who.Owner || end.Local != who.Local {
			return false
		}
	}
	return true
}

func (t *table) earliest(slots []candidate) int32 {
	y := slots[0].slot
	for _, c := range slots[1:] {
		if t.slots[c.slot].end.Ended < t.slots[y].end.Ended {
			y = c.slot
		}
	}
	return y
}

// walkLimit is how many ends of one view are looked at, the last to come first: so
// many uses of one pair of ports within Remember are not of ordinary programs.
const walkLimit = 64

// best returns, in scratch, who fits best as the other end and has not been found
// by another. disputed: one who has been fits as well.
func (t *table) best(at int32, scratch *[]candidate) (best []candidate, disputed bool) {
	all := t.fitting(at, (*scratch)[:0])
	*scratch = all
	best = all[:0]
	top, taken := 1, 0
	for _, c := range all {
		rank := t.rank(at, c)
		if s := &t.slots[c.slot]; s.taken && s.partner != at {
			// Without a closer look at the times it is one of another use of
			// the ports.
			if rank >= certain {
				taken = max(taken, rank)
			}
			continue
		}
		if rank < top {
			continue
		}
		if rank > top {
			best, top = all[:0], rank
		}
		best = append(best, c)
	}
	return best, taken >= top
}

// fitting appends all that have a view in common with the slot.
func (t *table) fitting(at int32, all []candidate) []candidate {
	e := &t.slots[at].end
	for n := t.slots[at].nodes; n != none; n = t.views.nodes[n].sibling {
		hash, mask := t.views.nodes[n].hash, other(t.views.nodes[n].mask)
		v := viewOf(e, t.views.nodes[n].mask)
		space := v.space(e)
		left := walkLimit
		for m := t.views.first(hash); m != none && left > 0; m = t.views.nodes[m].next {
			y := &t.views.nodes[m]
			if y.hash != hash {
				continue
			}
			left--
			common := y.mask & mask
			if common == 0 || y.slot == at {
				continue
			}
			end := &t.slots[y.slot].end
			if viewOf(end, common) == v && v.space(end) == space {
				all = merge(all, candidate{y.slot, common})
			}
		}
	}
	return all
}

func merge(all []candidate, c candidate) []candidate {
	for i := range all {
		if all[i].slot == c.slot {
			all[i].views |= c.views
			return all
		}
	}
	return append(all, c)
}

// certain is the rank of a candidate whose times leave no doubt within one
// network: from when the client had the connection to its end, the server got it.
const certain = 3

// rank says how well a candidate fits: 0 not at all, 1 by time and bytes, 1 more
// if both conntrack views are in common, certain or 1 more than that by time.
func (t *table) rank(at int32, c candidate) int {
	client, server := &t.slots[at].end, &t.slots[c.slot].end
	isFull := c.views&(serverSeen|serverServed) == serverSeen|serverServed
	if c.views&asServer == 0 {
		client, server = server, client
		isFull = c.views&(clientSeen|clientServed) == clientSeen|clientServed
	}
	if !agree(client, server) || !together(client, server) {
		return 0
	}
	rank := 1
	known := client.Established != 0 && server.Established != 0
	if known && client.Established <= server.Established && server.Established <= client.Ended {
		rank = certain
	}
	if isFull {
		rank++
	}
	return rank
}

// agree reports whether neither end's conntrack says that somebody else is at the
// other end. A masquerading host gives a port to one after the other.
func agree(client, server *End) bool {
	return (!client.translated() || client.RealRemote == server.Local) &&
		(!server.translated() || server.RealRemote == client.Local)
}

// slack is the most that a segment may be on its way between two sockets of a host:
// a server can be established that much after its client was reset. Queues that
// delay by 20 ms are common in tests. It is far less than the seconds after which
// ports come back by themselves. jitter is for clocks of two CPUs, and for a busy
// host; it is ten times what the whole handshake takes on one that is not.
const (
	slack  = 100 * time.Millisecond
	jitter = time.Millisecond
)

// together reports whether both could be of one connection: there at the same
// time, and nobody received what the other one did not send.
func together(client, server *End) bool {
	if client.Received > server.Sent || server.Received > client.Sent {
		return false
	}
	if client.Established == 0 || server.Established == 0 {
		return client.Established <= server.Ended+slack && server.Established <= client.Ended+slack
	}
	// The client has the connection first.
	return client.Established <= server.Established+jitter && server.Established <= client.Ended+client.way()
}

// way is how long the client's last segment may take. Its SYN and the answer took no
// more than it waited to be established.
func (e *End) way() time.Duration {
	if e.Started == 0 {
		return slack
	}
	return min(slack, e.Established-e.Started+jitter)
}

package ebpfconntrackreceiver

import (
	"github.com/tallymanhq/tallyman/internal/sockdiag"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/connstream"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/edges"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/nat"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/peers"
)

// note takes one connection of a look.
func (l *looks) note(s *space, c *sockdiag.Change, e sockdiag.Event, k known) {
	if e == sockdiag.Ended {
		s.isHeld(c.Cookie, true)
		if l.alone {
			l.batch = append(l.batch, l.ending(s, c, k))
		}
		return // the stream tells of it, or has lost it and says so
	}
	r, isSure := l.record(s, c, k)
	if c.State != sockdiag.SynSent {
		s.active[activeKey{r.Container, r.Direction}]++
	}
	if e == sockdiag.Appeared && !isSure && !l.alone {
		s.hold(c.Cookie)
	}
	if s.isHeld(c.Cookie, false) || r.Sent == 0 && r.Received == 0 && r.Retransmits == 0 {
		return
	}
	l.batch = append(l.batch, r)
}

// ending is what is told of a connection that a look does not find any more, where
// nobody else tells.
func (l *looks) ending(s *space, c *sockdiag.Change, k known) edges.Record {
	r, _ := l.record(s, c, k)
	r.Outcome = edges.Closed
	if c.State == sockdiag.SynSent {
		r.Outcome = edges.Failed
	}
	if !c.Initial {
		r.Duration = c.LastSeen.Sub(c.FirstSeen)
	}
	return r
}

// record is what came since the last look; false if it may turn out to be somebody
// else's at the end.
func (l *looks) record(s *space, c *sockdiag.Change, k known) (r edges.Record, isSure bool) {
	direction, isSure := directionOfOpen(&c.Conn, k.answer)
	r = edges.Record{
		Container: k.owner, Direction: direction, Outcome: edges.Open,
		Sent: c.SentSince, Received: c.ReceivedSince, Retransmits: c.RetransmitsSince,
		RTT: -1, Duration: -1, Setup: -1,
	}
	if r.Sent > 0 && c.RTT > 0 {
		r.RTT = c.RTT
	}
	from, real := s.inode, nat.Pair{Local: c.Local, Remote: c.Remote}
	if k.answer.Found {
		real = k.answer.Real
		if real.Remote != c.Remote {
			from = l.home
		}
	}
	q := peers.Question{From: from, Addr: real.Remote}
	r.ServerPort = real.Remote.Port()
	if direction == edges.Incoming {
		q.Addr = withoutPort(q.Addr)
		r.ServerPort = c.Local.Port()
	}
	peer, _ := l.peers.Lookup(q)
	r.Peer = edgePeerOf(&peer)
	if peer.Kind == peers.Host && l.proxies.mayServe(direction, real.Remote.Port()) {
		isSure = false
	}
	return r, isSure
}

// directionOfOpen tells who opened a connection. Where nobody listens at its port
// any more, and conntrack does not know, a client's port at the other end makes it
// doubtful.
func directionOfOpen(c *sockdiag.Conn, answer nat.Answer) (d edges.Direction, isSure bool) {
	r := connstream.Record{Local: c.Local, Remote: c.Remote}
	switch {
	case c.Incoming:
		return edges.Incoming, true
	case c.State == sockdiag.SynSent:
		return edges.Outgoing, true
	}
	return directionOf(&r, answer), answer.Found || directionOfPorts(c.Local.Port(), c.Remote.Port()) == edges.Outgoing
}

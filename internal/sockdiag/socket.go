package sockdiag

import (
	"net/netip"
	"time"
)

// State is the state of a socket, as the kernel numbers them
// (include/net/tcp_states.h).
type State uint8

// The states that Dump returns.
const (
	Established State = 1
	SynSent     State = 2
	FinWait1    State = 4
	FinWait2    State = 5
	CloseWait   State = 8
	LastAck     State = 9
	Listening   State = 10
	Closing     State = 11
)

// peerIsDone: the peer's FIN has come, which the kernel counts as a byte.
func (s State) peerIsDone() bool {
	return s == CloseWait || s == LastAck || s == Closing
}

// awaitsPeer: the peer's FIN has not come, and may still. Of a socket that is read as
// closed, as one may be that was closed during the dump, neither can be said.
func (s State) awaitsPeer() bool {
	return s == Established || s == SynSent || s == FinWait1 || s == FinWait2
}

// Listener is a socket that waits for connections.
type Listener struct {
	// Local is where; an unspecified address is any. V6Only: of "::", IPv4 is not
	// meant too.
	Local  netip.AddrPort
	V6Only bool
	// Inode is what /proc/PID/fd shows; Cookie is unique while the host is up.
	Inode, Cookie uint64
	// Cgroup is the id of its cgroup in the unified hierarchy; 0 if not told.
	Cgroup uint64
	UID    uint32
}

// Conn is an end of a connection.
type Conn struct {
	Local, Remote netip.AddrPort
	State         State
	// Incoming: there is a listener at the local port. A listener that has been
	// closed since leaves its connections to look outgoing.
	Incoming bool
	// Inode is 0 when no process has it any more.
	Inode, Cookie, Cgroup uint64
	UID                   uint32
	// Sent and Received are payload bytes, but in Received may be one too many if
	// the peer's FIN came during the dump: a [Poller] leaves that out. Retransmits,
	// SegmentsOut and SegmentsIn are segments.
	Sent, Received          uint64
	Retransmits             uint32
	SegmentsOut, SegmentsIn uint32
	// RTT is the smoothed round trip time; 0 if nothing was measured yet.
	RTT time.Duration
}

// Sockets is what a namespace has.
type Sockets struct {
	Listeners []Listener
	Conns     []Conn
	// Dropped counts the sockets beyond the limit, Malformed the messages that
	// could not be understood.
	Dropped, Malformed int
}

// markIncoming tells the directions of all connections.
func (s *Sockets) markIncoming() {
	ports := make(map[uint16]struct{}, len(s.Listeners))
	exact := make(map[netip.AddrPort]struct{}, len(s.Listeners))
	for i := range s.Listeners {
		l := &s.Listeners[i]
		if l.Local.Addr().IsUnspecified() {
			ports[l.Local.Port()] = struct{}{}
		} else {
			exact[l.Local] = struct{}{}
		}
	}
	for i := range s.Conns {
		c := &s.Conns[i]
		_, anywhere := ports[c.Local.Port()]
		_, here := exact[c.Local]
		c.Incoming = c.State != SynSent && (anywhere || here)
	}
}

package ebpfconntrackreceiver

import (
	"net/netip"
	"time"

	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/connstream"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/edges"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/join"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/nat"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/peers"
)

// flight is the end of a connection on its way to the outputs.
type flight struct {
	record connstream.Record
	// real is the connection as its other end knows it.
	real nat.Pair
	// owner is the container whose end it is, "" the host.
	owner     string
	direction edges.Direction
	// peer is what is known of the other end's address, found what is known of
	// the other end itself.
	peer  peers.Peer
	found join.Found
	// before is what was counted of it while it was open.
	before counted
	// unusual: it is one of those that `events: unusual` makes log records of, within
	// their bounds. suppressed is how many like it were left out before.
	unusual    bool
	suppressed uint64
}

// counted is what has been added up already.
type counted struct {
	sent, received, retransmits uint64
}

// ephemeralPort is where the kernel begins to choose ports of clients
// (net.ipv4.ip_local_port_range, default).
const ephemeralPort = 32768

// directionOf tells who opened a connection. Of one that was there before the
// agent conntrack knows, or its ports suggest it.
func directionOf(r *connstream.Record, answer nat.Answer) edges.Direction {
	switch {
	case r.Direction == connstream.Outgoing:
		return edges.Outgoing
	case r.Direction == connstream.Incoming:
		return edges.Incoming
	case answer.Found && answer.Origin == nat.Original:
		return edges.Outgoing
	case answer.Found && answer.Origin == nat.Reply:
		return edges.Incoming
	}
	return directionOfPorts(r.Local.Port(), r.Remote.Port())
}

func directionOfPorts(local, remote uint16) edges.Direction {
	if local < ephemeralPort && remote >= ephemeralPort {
		return edges.Incoming
	}
	return edges.Outgoing
}

// serverPort is that of the end that was connected to, behind translation.
func (f *flight) serverPort() uint16 {
	if f.direction == edges.Incoming {
		return f.record.Local.Port()
	}
	return f.remote().Port()
}

// remote is where the other end is, behind translation and docker-proxy.
func (f *flight) remote() netip.AddrPort {
	if f.found.Proxied && f.found.Remote.IsValid() {
		return f.found.Remote
	}
	return f.real.Remote
}

// edgePeer names the other end for metrics: never an address.
func (f *flight) edgePeer() edges.Peer {
	switch {
	case f.found.Known && f.found.Owner != "":
		return edges.Peer{Kind: edges.Container, ID: f.found.Owner}
	case f.found.Known:
		return edges.Peer{Kind: edges.Host}
	case f.found.Ambiguous:
		return edges.Peer{Kind: edges.Ambiguous}
	}
	return edgePeerOf(&f.peer)
}

func edgePeerOf(p *peers.Peer) edges.Peer {
	switch p.Kind {
	case peers.Container:
		if p.Container == "" {
			return edges.Peer{Kind: edges.Ambiguous}
		}
		return edges.Peer{Kind: edges.Container, ID: p.Container}
	case peers.Host:
		return edges.Peer{Kind: edges.Host}
	case peers.Group:
		return edges.Peer{Kind: edges.Group, ID: p.Group}
	case peers.Ambiguous:
		return edges.Peer{Kind: edges.Ambiguous}
	}
	return edges.Peer{Kind: edges.Unknown}
}

// setup is how long the connection took to be established, negative if that is
// not known.
func (f *flight) setup() time.Duration {
	if d, ok := f.record.SetupTime(); ok {
		return d
	}
	return -1
}

// duration is from the first SYN to the end, negative if the beginning is not
// known.
func (f *flight) duration() time.Duration {
	began := f.record.Started
	if began == 0 {
		began = f.record.Established
	}
	if began == 0 {
		return -1
	}
	return f.record.Ended - began
}

// rtt is negative if nothing was measured.
func (f *flight) rtt() time.Duration {
	if f.record.RTT == 0 {
		return -1
	}
	return f.record.RTT
}

// edge is what a table of edges adds up.
func (f *flight) edge() edges.Record {
	r := &f.record
	return edges.Record{
		Container: f.owner, Peer: f.edgePeer(), Direction: f.direction, Outcome: outcomes[r.Outcome],
		ServerPort: f.serverPort(),
		Sent:       r.Sent - min(r.Sent, f.before.sent), Received: r.Received - min(r.Received, f.before.received),
		Retransmits: uint64(r.Retransmits) - min(uint64(r.Retransmits), f.before.retransmits),
		RTT:         f.rtt(), Duration: f.duration(), Setup: f.setup(),
	}
}

// outcomes are the stream's as the table has them.
var outcomes = [...]edges.Outcome{
	connstream.Closed: edges.Closed, connstream.Reset: edges.Reset,
	connstream.Failed: edges.Failed, connstream.Timeout: edges.Timeout,
}

// isUnusual tells whether a connection is worth a log record of its own.
func (f *flight) isUnusual(u *UnusualConfig) bool {
	r := &f.record
	return r.Outcome == connstream.Failed || r.Outcome == connstream.Timeout ||
		u.Resets && r.Outcome == connstream.Reset ||
		u.Retransmits > 0 && uint64(r.Retransmits) >= uint64(u.Retransmits) ||
		u.SetupTime > 0 && f.setup() >= u.SetupTime ||
		u.RTT > 0 && r.RTT >= u.RTT
}

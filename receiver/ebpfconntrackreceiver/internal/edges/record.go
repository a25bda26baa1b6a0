package edges

import "time"

// Direction tells who opened a connection.
type Direction uint8

// The directions, seen from the container.
const (
	Outgoing Direction = iota
	Incoming
	Directions // their number
)

// Outcome tells how a connection ended.
type Outcome uint8

// The outcomes. Failed is refused or unreachable, and was never established; Timeout
// is without an answer, before or after it was.
const (
	Closed Outcome = iota
	Reset
	Failed
	Timeout
	Outcomes // the number of those that are counted
	// Open is of a connection that goes on: its bytes and segments since the last
	// record of it are added, but no connection and no duration.
	Open
)

// PeerKind tells what the ID of a [Peer] means.
type PeerKind uint8

// The kinds of peers. Of Unknown, Ambiguous and Overflow there is no ID: nobody is
// known by the address, more than one could be meant, and the edge is the one for
// all that found no edge of their own.
const (
	Unknown PeerKind = iota
	Container
	Host
	Group
	Ambiguous
	Overflow
)

// Peer is the other end.
type Peer struct {
	Kind PeerKind
	// ID is the id of the container, the name of the host's interface, or that of
	// the group of addresses. There must be few of the latter two: they are for
	// the caller to bound.
	ID string
}

// Record is one end of a connection. The table keeps its strings.
type Record struct {
	// Container is whose end it is; "" is the host.
	Container  string
	Peer       Peer
	Direction  Direction
	Outcome    Outcome
	ServerPort uint16
	// Sent and Received are payload bytes, Retransmits segments.
	Sent, Received, Retransmits uint64
	// RTT is the smoothed round trip time and Setup that from the first SYN to
	// established. What is not known of them is negative, as is the Duration.
	RTT, Duration, Setup time.Duration
}

// Counters are what a table adds up.
type Counters struct {
	// Connections are by outcome. A connection is counted when it ends.
	Connections [Outcomes]uint64
	// Sent and Received are payload bytes, Retransmits segments.
	Sent, Received, Retransmits uint64
}

// Failures are the connections that failed or timed out.
func (c *Counters) Failures() uint64 { return c.Connections[Failed] + c.Connections[Timeout] }

func (c *Counters) add(r *Record) {
	if r.Outcome < Outcomes {
		c.Connections[r.Outcome]++
	}
	c.Sent += r.Sent
	c.Received += r.Received
	c.Retransmits += r.Retransmits
}

package netns

import "time"

// Part says which parts of a [Sample] were read.
type Part uint8

// The parts, named after the file each comes from.
const (
	PartDevices   Part = 1 << iota // net/dev: Interfaces
	PartSNMP                       // net/snmp: TCP but for the fields below
	PartNetstat                    // net/netstat: TCP.ListenOverflows, TCP.ListenDrops
	PartSockstat                   // net/sockstat: TCP.TimeWait
	PartUDP                        // net/snmp and, where the kernel has IPv6, net/snmp6: UDP
	PartConntrack                  // net/stat/nf_conntrack: Conntrack
)

// Sample is what was last read of one namespace. Have says which parts were
// renewed by the last read; the others hold older values.
type Sample struct {
	Have       Part
	Interfaces []Interface
	TCP        TCP
	UDP        UDP
	Conntrack  Conntrack
}

// Interface is one line of net/dev. The numbers are those of
// struct rtnl_link_stats64 (Documentation/networking/statistics.rst): of an
// Ethernet device the bytes include the link header, not the checksum.
type Interface struct {
	Name              string
	Receive, Transmit Counters
	// Start is when counting began: the start of the namespace, or the last
	// time the interface was not seen or had higher counters.
	Start time.Time
	// Pair: an Ethernet device whose other end is a device in another place,
	// as a veth is. Known for the host's interfaces only.
	Pair bool

	fresh bool // it is not known from the last read
}

// Counters are of one direction. Dropped includes what the device missed.
type Counters struct {
	Bytes, Packets, Errors, Dropped uint64
}

// less reports whether any counter is lower than it was.
func (c Counters) less(was Counters) bool {
	return c.Bytes < was.Bytes || c.Packets < was.Packets || c.Errors < was.Errors || c.Dropped < was.Dropped
}

// TCP is of both IP versions (RFC 4022 and Linux' own TcpExt).
type TCP struct {
	// Established are connections in ESTABLISHED or CLOSE_WAIT, now;
	// TimeWait in TIME_WAIT.
	Established, TimeWait uint64
	// ActiveOpens and PassiveOpens are connections opened from here and from
	// elsewhere; EstabResets were established and then reset by either side.
	ActiveOpens, PassiveOpens, EstabResets uint64
	// RetransSegs are segments sent again.
	RetransSegs uint64
	// ListenOverflows are connections that found a full accept queue;
	// ListenDrops those refused for any reason, overflows among them.
	ListenOverflows, ListenDrops uint64
}

// UDP is in datagrams, of both IP versions (RFC 4113 and Linux' own).
type UDP struct {
	InDatagrams, OutDatagrams uint64
	// NoPorts came to a port nobody listens at.
	NoPorts uint64
	// InErrors could not be handed to a socket, for any reason: RcvbufErrors
	// and InCsumErrors are among them.
	InErrors, RcvbufErrors, InCsumErrors uint64
	// SndbufErrors could not be sent.
	SndbufErrors uint64
}

// Conntrack is in entries. The limit is one for all namespaces; 0 if unknown.
type Conntrack struct {
	Count, Limit uint64
}

// counters are those that never go down while the namespace lives.
func (s *Sample) counters(have Part) [13]uint64 {
	var c [13]uint64
	if have&PartSNMP != 0 {
		c[0], c[1], c[2], c[3] = s.TCP.ActiveOpens, s.TCP.PassiveOpens, s.TCP.EstabResets, s.TCP.RetransSegs
	}
	if have&PartNetstat != 0 {
		c[4], c[5] = s.TCP.ListenOverflows, s.TCP.ListenDrops
	}
	if have&PartUDP != 0 {
		u := s.UDP
		c[6], c[7], c[8], c[9] = u.InDatagrams, u.OutDatagrams, u.NoPorts, u.InErrors
		c[10], c[11], c[12] = u.RcvbufErrors, u.InCsumErrors, u.SndbufErrors
	}
	return c
}

// anyLess reports whether one of the counters is lower than it was.
func anyLess(now, was [13]uint64) bool {
	for i := range now {
		if now[i] < was[i] {
			return true
		}
	}
	return false
}

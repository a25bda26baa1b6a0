package peers

import "net/netip"

// Kind tells what is known of a [Peer].
type Kind uint8

// The kinds.
const (
	// Unknown: nobody has the address, and no group.
	Unknown Kind = iota
	// Container: see Peer.Container and Peer.Containers.
	Container
	// Host: the host has it, at Peer.Interface.
	Host
	// Group: the address is in Peer.Group, and nobody's who is known.
	Group
	// Ambiguous: several have it that cannot be told apart from here.
	Ambiguous
)

// Peer is who is at an address.
type Peer struct {
	Kind Kind
	// Gone: it was there until a short while ago.
	Gone bool
	// Container is the id of the one that is meant; "" if several are in its
	// namespace and the port does not tell which.
	Container string
	// Containers are all in its namespace, a pod's sandbox only where there is
	// nobody else. It is shared: do not modify.
	Containers []string
	// Interface has the address; of the host "lo" for a loopback address.
	Interface string
	// Group is a name of [Options].
	Group string
	// Namespace is the inode of its network namespace; 0 for a Group.
	Namespace uint64
}

// Question is what a [Table] is asked.
type Question struct {
	// From is the inode of the network namespace in which the address was used; 0
	// if that is not known.
	From uint64
	// Addr is the address. Its port helps if it is that of the server there; 0 if
	// it is not.
	Addr netip.AddrPort
}

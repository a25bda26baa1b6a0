package nat

import (
	"context"
	"net/netip"
)

// Transport is the IP protocol number of a connection. The zero value is no
// transport, and nothing is found for it.
type Transport uint8

// The transports that are looked up (include/uapi/linux/in.h).
const (
	TCP Transport = 6
	UDP Transport = 17
)

// Origin says which direction of the conntrack entry a socket's tuple is.
type Origin uint8

const (
	// Unknown: nothing was found.
	Unknown Origin = iota
	// Original: the first packet came from this socket. It is the client.
	Original
	// Reply: the first packet came to this socket. It is the server's.
	Reply
)

// String implements [fmt.Stringer].
func (o Origin) String() string {
	switch o {
	case Original:
		return "original"
	case Reply:
		return "reply"
	}
	return "unknown"
}

// Pair is the two ends of a connection as one of them sees it.
type Pair struct {
	Local, Remote netip.AddrPort
}

// Query asks about one socket.
type Query struct {
	Pair
	// Transport is TCP or UDP.
	Transport Transport
	// Zone is the conntrack zone to look in. It is 0 unless the host's rules
	// say otherwise; a socket does not know.
	Zone uint16
	// Netns is the inode number of the socket's network namespace; 0 stands
	// for the one that is asked.
	Netns uint64
	// Socket tells two sockets of one tuple apart, one after the other: a
	// cookie, or an address in the kernel. Only [Cache] looks at it.
	Socket uint64
	// Ended: the connection is over, and will not be asked about again. Only
	// [Cache] looks at it.
	Ended bool
}

// Answer is what conntrack knows of one socket's connection. The zero value says
// that it knows nothing.
type Answer struct {
	// Found: there is an entry, translated or not.
	Found  bool
	Origin Origin
	// Real is the connection as its other end knows it, from the socket's
	// side. For a client Remote is who is behind the address it dialled, and
	// Local as whom that sees it. For a server Local is the address that was
	// dialled, and Remote is who dialled it.
	Real Pair
	// Zone is the entry's.
	Zone uint16
}

// Translated reports whether the other end knows the connection by other
// addresses or ports than the socket that was asked about.
func (a Answer) Translated(q Query) bool {
	return a.Found && a.Real != Pair{Local: plain(q.Local), Remote: plain(q.Remote)}
}

// Resolver looks connections up. It is safe for concurrent use.
type Resolver interface {
	// Resolve answers each query at its place in answers, which must be as
	// long. It asks the conntrack of the namespace at; the zero [Namespace] is
	// the one that the resolver was opened for. Not finding anything is no
	// error. With an error, no answer holds.
	Resolve(ctx context.Context, at Namespace, queries []Query, answers []Answer) error
	// Stats returns what happened so far.
	Stats() Stats
	// Close gives everything back, and waits for what runs.
	Close() error
}

// Stats are counters since the start; Entries is a level.
type Stats struct {
	// Lookups is the number of queries. Each became one of Hits, Misses
	// (conntrack has no entry, or the query makes no sense) and Errors (it
	// could not be asked).
	Lookups, Hits, Misses, Errors uint64
	// Cached hits were answered from memory by [Cache].
	Cached uint64
	// Gets are lookups that the table of ctnetlink could not answer by itself.
	Gets uint64
	// Lost is how often the kernel had no room for events, Redumps how often
	// the table was filled again from a dump, for that reason or another.
	Lost, Redumps uint64
	// Refused entries found the table full, Malformed messages made no sense.
	Refused, Malformed uint64
	// Entries is the number of connections in the table or in the cache.
	Entries uint64
}

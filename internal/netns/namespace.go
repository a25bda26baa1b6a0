package netns

import (
	"cmp"
	"slices"
	"time"

	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// Namespace is one network namespace. It is valid until the next call of the
// [Tracker] that made it.
type Namespace struct {
	// Inode is its number; 0 for the host's if it must not be asked for.
	Inode uint64
	// Host: it is the one of the host, and has no Members.
	Host bool
	// Members are the containers in it, the owner first.
	Members []Member
	// Changed: the last Refresh found other members than the one before.
	Changed bool
	// WasShared: that one found several.
	WasShared bool
	// Start is when its counters began: with its oldest member, or when its
	// number was given to a new one.
	Start time.Time
	// Sample is what was last read.
	Sample Sample

	members []*member
	joined  []*member // members as the Refresh under way finds them
	// readAt and slowAt are the last reads of net/dev and of the protocols.
	readAt, slowAt time.Time
	spare          []Interface // the memory of the sample before
	hasIPv6        bool        // net/snmp6 was there
}

// Member is a container in a namespace.
type Member struct {
	Cgroup *container.Cgroup
	// Started is when its first process did.
	Started time.Time
}

// Owner is the container that the counters are put down to; nil for the host.
func (n *Namespace) Owner() *container.Cgroup {
	if len(n.Members) == 0 {
		return nil
	}
	return n.Members[0].Cgroup
}

// member is a container and one of its processes.
type member struct {
	cg      *container.Cgroup
	dir     *hostfs.Dir // of the process; nil if none is known
	started time.Time
	// inode is the network namespace at the last look; 0 if unknown.
	inode uint64
	seen  uint64 // number of the Refresh that found the container alive
}

func (m *member) close() {
	m.dir.Close()
	m.dir, m.inode = nil, 0
}

// settle makes the members of this Refresh those of the namespace. The owner
// stays the owner while it is there, so that its series go on; a sandbox goes
// before any container.
func (n *Namespace) settle() {
	var owner *member
	if len(n.members) > 0 {
		owner = n.members[0]
	}
	slices.SortFunc(n.joined, func(a, b *member) int {
		return cmp.Or(
			falseFirst(a.cg.Class != container.ClassSandbox, b.cg.Class != container.ClassSandbox),
			falseFirst(a != owner, b != owner),
			a.started.Compare(b.started),
			cmp.Compare(a.cg.Path, b.cg.Path),
		)
	})
	n.Changed, n.WasShared = !slices.Equal(n.members, n.joined), len(n.members) > 1
	n.members, n.joined = n.joined, n.members[:0]
	if !n.Changed {
		return
	}
	n.Members = n.Members[:0]
	for _, m := range n.members {
		n.Members = append(n.Members, Member{Cgroup: m.cg, Started: m.started})
		if n.readAt.IsZero() && (n.Start.IsZero() || m.started.Before(n.Start)) {
			n.Start = m.started
		}
	}
}

func falseFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

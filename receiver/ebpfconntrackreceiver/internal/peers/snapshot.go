package peers

import (
	"net/netip"
	"slices"
	"time"

	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/netns"
)

// snapshot is what Lookup reads. It is never changed.
type snapshot struct {
	holders map[netip.Addr][]holder
	views   map[uint64]*view // by inode; those that have gone are among them
}

// view is a namespace as an answer has it.
type view struct {
	inode      uint64
	host, gone bool
	containers []string
	segments   []segment
}

// holder is a namespace and its interface that have an address.
type holder struct {
	view    *view
	iface   string
	segment segment
}

// newView makes the view of a namespace, still without its segments. A pod's
// sandbox does nothing: who is asked for is another.
func newView(n *netns.Namespace) *view {
	v := &view{inode: n.Inode, host: n.Host}
	for _, m := range n.Members {
		if m.Cgroup.Class != container.ClassSandbox {
			v.containers = append(v.containers, m.Cgroup.ID)
		}
	}
	if len(v.containers) == 0 && len(n.Members) > 0 {
		v.containers = []string{n.Members[0].Cgroup.ID}
	}
	return v
}

func (s *space) holderOf(v *view, a address) holder {
	h := holder{view: v, segment: s.segments[a.index]}
	if i := slices.IndexFunc(s.links, func(l link) bool { return l.index == a.index }); i >= 0 {
		h.iface = s.links[i].name
	}
	return h
}

// publish makes the snapshot of now.
func (t *Table) publish(now time.Time) {
	next := &snapshot{
		holders: make(map[netip.Addr][]holder, len(t.spaces)*2),
		views:   make(map[uint64]*view, len(t.spaces)),
	}
	for _, s := range t.spaces {
		v := *s.view // the one before may be in use
		v.segments = s.allSegments()
		next.views[v.inode] = &v
		for _, a := range s.addresses {
			addr := a.prefix.Addr()
			next.holders[addr] = append(next.holders[addr], s.holderOf(&v, a))
		}
	}
	addresses := len(next.holders)
	t.gone = slices.DeleteFunc(t.gone, func(d departed) bool { return now.Sub(d.at) >= t.o.Grace })
	for _, d := range slices.Backward(t.gone) {
		// Who is alive comes first, and then who was the last to go.
		if next.holders[d.addr] == nil {
			next.holders[d.addr] = []holder{d.holder}
		}
		if next.views[d.holder.view.inode] == nil {
			next.views[d.holder.view.inode] = d.holder.view
		}
	}
	t.snapshot.Store(next)
	t.remember(func(s *Stats) {
		s.Refreshes++
		s.Namespaces, s.Addresses, s.Gone = len(t.spaces), addresses, len(t.gone)
	})
}

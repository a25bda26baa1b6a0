package ebpfconntrackreceiver

import (
	"sync/atomic"

	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/connstream"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/peers"
)

// owners finds whose the end of a connection is. All fields may be nil. It is safe
// for concurrent use.
type owners struct {
	view   *hostview.View
	places *hostview.Places
	peers  *peers.Table
	// unclear are sockets of one of several containers, where nothing told of which:
	// they count as the host's.
	unclear atomic.Uint64
}

// ids are what the kernel tells of a socket, 0 where it does not.
type ids struct {
	unified, memory, netns uint64
	pid                    int
	port                   uint16 // of a server
}

// of returns the container's id, "" for the host. The socket's own cgroups come
// first: they are right also when the process has gone.
func (o *owners) of(i ids) string {
	switch identity, what := o.places.ByIDs(i.unified, i.memory); what {
	case hostview.PlaceContainer:
		return identity.ID
	case hostview.PlaceHost:
		return ""
	}
	if o.view != nil && i.pid != 0 {
		if cg, ok := o.view.Container(i.pid); ok {
			return cg.ID
		}
	}
	p, ok := o.peers.Namespace(i.netns, i.port)
	if !ok || p.Kind != peers.Container {
		return ""
	}
	if p.Container == "" {
		o.unclear.Add(1)
	}
	return p.Container
}

// ofRecord is of for a connection that has ended.
func (o *owners) ofRecord(r *connstream.Record) string {
	i := ids{unified: r.Cgroup, memory: r.MemoryCgroup, netns: r.Netns, pid: r.PID}
	if r.Direction == connstream.Incoming {
		i.port = r.Local.Port()
	}
	return o.of(i)
}

// identity returns what else is known of a container.
func (o *owners) identity(id string) container.Identity {
	if o.view != nil {
		if cg, ok := o.view.Index().ByID(id); ok {
			return cg.Identity
		}
	}
	return container.Identity{ID: id}
}

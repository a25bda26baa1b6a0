package ebpfconntrackreceiver

import (
	"sync"

	"github.com/tallymanhq/tallyman/internal/netns"
)

// hostNumbers are about the host's network namespace. read is for one goroutine.
type hostNumbers struct {
	home uint64 // its inode

	mu        sync.Mutex // guards what follows
	conntrack netns.Conntrack
	known     bool
}

// read asks how full the connection tracking table is.
func (h *hostNumbers) read(t *netns.Tracker, host *netns.Namespace) {
	ok := t.Read(host, true) && host.Sample.Have&netns.PartConntrack != 0
	h.mu.Lock()
	defer h.mu.Unlock()
	h.known, h.conntrack = ok, host.Sample.Conntrack
}

// table returns what was read last; false where there is no such table.
func (h *hostNumbers) table() (netns.Conntrack, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.conntrack, h.known
}

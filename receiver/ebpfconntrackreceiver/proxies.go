package ebpfconntrackreceiver

import (
	"os"
	"strconv"

	"github.com/tallymanhq/tallyman/internal/procstream"
	"github.com/tallymanhq/tallyman/internal/sockdiag"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/edges"
)

// maxProxyDescriptors bounds what is looked at for the process of a new listener of
// the host: 4 µs each, so a tenth of a second. A docker-proxy has about ten.
const maxProxyDescriptors = 20_000

// proxies are the ports of the host that docker-proxy serves. Who is at the other
// end of a connection to one is known when all four ends of it are. It is for one
// goroutine.
type proxies struct {
	proc   string
	reader *procstream.Reader
	known  map[uint64]bool // by the inode of a listener: it is docker-proxy's
	ports  map[uint16]struct{}
}

// find looks for the processes of listeners that are new.
func (p *proxies) find(all []sockdiag.Listener, home uint64) {
	if p.reader == nil {
		return // nobody is to be asked
	}
	was := p.known
	p.known, p.ports = make(map[uint64]bool, len(all)), map[uint16]struct{}{}
	unknown := map[uint64]struct{}{}
	for i := range all {
		inode := all[i].Inode
		is, ok := was[inode]
		p.known[inode] = is
		if !ok {
			unknown[inode] = struct{}{}
		}
	}
	if len(unknown) > 0 {
		found := sockdiag.Owners(sockdiag.Search{
			Proc: p.proc, Pids: p.processes, Namespace: home, MaxDescriptors: maxProxyDescriptors,
		}, unknown)
		for inode := range found.Pids {
			p.known[inode] = true
		}
	}
	for i := range all {
		if p.known[all[i].Inode] {
			p.ports[all[i].Local.Port()] = struct{}{}
		}
	}
}

// processes are those that are called docker-proxy. A process is asked for its name in
// 10 µs; to go over all descriptors, of which engines and agents have thousands, takes
// longer.
func (p *proxies) processes(yield func(int) bool) {
	dir, err := os.Open(p.proc)
	if err != nil {
		return
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if stat, err := p.reader.Stat(pid); err == nil && stat.Comm == dockerProxy && !yield(pid) {
			return
		}
	}
}

// mayServe tells whether a connection whose other end is the host's may be
// docker-proxy's: to one of its ports, or from it.
func (p *proxies) mayServe(d edges.Direction, remote uint16) bool {
	if d == edges.Incoming {
		return len(p.ports) > 0
	}
	_, is := p.ports[remote]
	return is
}

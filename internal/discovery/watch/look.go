package watch

import (
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/discovery/technology"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/procstream"
)

// maxPorts of one container are told, as many as sockets. More are a range that was
// published as a whole.
const maxPorts = maxSockets

// looker reads /proc. It belongs to one goroutine.
type looker struct {
	roots      hostfs.Roots
	proc       *procstream.Reader
	namespaces *namespaces
	hostNetns  *[2]uint64              // of the host's first process and ours; nil before they were read
	hostIPs    map[uint64][]netip.Addr // of this round, by namespace
	buf        []byte
	line       []byte // of command lines
	unreadable uint64
	vanished   uint64
	beyond     Beyond
}

func newLooker(roots hostfs.Roots) *looker {
	return &looker{roots: roots, proc: procstream.NewReader(roots), namespaces: newNamespaces(roots.Proc), hostIPs: map[uint64][]netip.Addr{}}
}

// begin forgets what holds for one round.
func (l *looker) begin() {
	l.namespaces.beginRound()
	l.hostIPs = map[uint64][]netip.Addr{}
}

func (l *looker) path(pid int, name string) string {
	return filepath.Join(l.roots.Proc, strconv.Itoa(pid), name)
}

// note counts what could not be read. That something has gone is normal.
func (l *looker) note(err error) {
	if err != nil && !errors.Is(err, hostfs.ErrGone) {
		l.unreadable++
	}
}

// problems are how often something could not be read, or was gone when it was.
func (l *looker) problems() uint64 { return l.unreadable + l.vanished }

// look completes what processes has begun, and makes the target. isShared: others
// are in its network namespace. Where the process is no more what it was, all stays as
// the last look has told it.
func (l *looker) look(s *subject, isShared bool) {
	f := &s.found
	if len(f.processes) == 0 {
		l.lookFromAfar(s)
		return
	}
	s.isSeen, s.absent = true, 0
	f.isShared = isShared
	sockets := l.serversOf(f)
	if f.isPlaced && !f.isHost && s.needsAddresses() {
		f.addresses = l.believed(f)
	}
	if !l.isStill(f, f.at) {
		l.vanished++
		return
	}
	f.sockets = sockets
	l.listen(f, sockets, s.ownsAll(isShared))
	s.target = l.describe(s)
}

// lookFromAfar is at a container of which no process is here. It is on its way in or
// out, and nothing is known of it yet or any more. If there has never been one, its
// processes are not ours to see, and what the engine says is all there is.
func (l *looker) lookFromAfar(s *subject) {
	s.target = nil
	if s.absent++; !s.isAfar() {
		l.vanished++
		return
	}
	if s.engine != nil && isRunning(s.engine) {
		s.target = l.describe(s)
	}
}

func (l *looker) describe(s *subject) *target.Target {
	t := s.describe()
	t.Normalise()
	if beyond := len(t.Listening) - maxSockets; beyond > 0 {
		l.beyond.Sockets += uint64(beyond)
		t.Listening = t.Listening[:maxSockets]
	}
	if beyond := len(t.Ports) - maxPorts; beyond > 0 {
		l.beyond.Ports += uint64(beyond)
		t.Ports = t.Ports[:maxPorts]
	}
	t.Technologies = technology.Recognise(technology.Facts{
		Processes: s.found.processes, Image: t.Image, Listening: t.Listening, Ports: t.Ports,
	})
	return t
}

// serversOf are those of the container's network. Of a protocol that could not be read
// those of the last look.
func (l *looker) serversOf(f *found) []socket {
	all := l.namespaces.servers(f.at, f.netns)
	for _, err := range all.unknown {
		l.note(err)
	}
	l.beyond.Sockets += all.dropped
	return all.or(f.sockets)
}

// ownsAll tells whether all sockets in the container's network are its own: it is known
// to be of its own, or the engine vouches for it.
func (s *subject) ownsAll(isShared bool) bool {
	f := &s.found
	isOwn := f.isPlaced && !f.isHost && s.mode() != modeHost || !f.isPlaced && s.isVouched()
	return isOwn && !isShared && !s.isJoined
}

// listen tells which of the sockets are the container's. In the host's network those
// that are bound to an address which the host does not have are nowhere to be
// reached (IP_FREEBIND, ip(7)): who connects there gets to somebody else.
func (l *looker) listen(f *found, sockets []socket, ownsAll bool) {
	wanted := sockets
	if ownsAll {
		// Docker's name server has one in each container, whose owner is nowhere.
		wanted = slices.DeleteFunc(slices.Clone(sockets), func(s socket) bool { return s.addr.Addr().IsLoopback() })
	}
	l.findOwners(f, wanted)
	f.listening = nil
	for _, socket := range sockets {
		pid := f.owners[socket.inode]
		if pid == 0 && !ownsAll || f.isHost && !l.hostHas(socket.addr.Addr(), f) {
			continue
		}
		f.listening = append(f.listening, target.Listener{
			Addr: socket.addr, V6Only: socket.v6only, Protocol: socket.protocol, PID: pid, Executable: f.nameOf(pid),
		})
	}
}

// hostHas tells whether an address is one in the host's network.
func (l *looker) hostHas(ip netip.Addr, f *found) bool {
	if ip.IsUnspecified() || ip.IsLoopback() {
		return true
	}
	all, isKnown := l.hostIPs[f.netns]
	if !isKnown {
		all = l.hostAddresses(f)
		l.hostIPs[f.netns] = all
	}
	return slices.Contains(all, ip.Unmap())
}

// hostAddresses are those of a network that is the host's or ours. The files of a
// host that knows all routes of the Internet are long: of our own the kernel is asked.
func (l *looker) hostAddresses(f *found) []netip.Addr {
	if _, own := l.hosts(); f.netns != own {
		return l.addresses(f.at)
	}
	var all []netip.Addr
	interfaces, err := net.InterfaceAddrs()
	l.note(err)
	for _, one := range interfaces {
		if prefix, err := netip.ParsePrefix(one.String()); err == nil {
			all = append(all, prefix.Addr().Unmap())
		}
	}
	return all
}

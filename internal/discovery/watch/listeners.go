package watch

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/sockdiag"
)

// socket is one that waits for others.
type socket struct {
	addr     netip.AddrPort
	protocol string
	inode    uint64
	// v6only: bound to "::", it does not take IPv4. The files do not tell.
	v6only bool
}

// maxServers bounds what one namespace can make us hold of a protocol, half a
// megabyte. The host's has two for each port that docker-proxy publishes, and
// its containers look for their own among them.
const maxServers = 8192

// servers are the sockets of a network namespace that wait for others, by port. They
// are not to be changed: all containers in the namespace are given the same.
type servers struct {
	sockets []socket
	// dropped were more than maxServers.
	dropped uint64
	// unknown says, by protocol, why its sockets are not known. None are here then.
	unknown map[string]error
}

var protocols = [...]struct {
	name   string
	number int
}{{target.TCP, unix.IPPROTO_TCP}, {target.UDP, unix.IPPROTO_UDP}}

// namespaces tells who waits in network namespaces. It belongs to one goroutine.
//
// It asks by sock_diag, which goes over those that listen alone. The files go over the
// connections of all namespaces: net/tcp and net/tcp6 take 4 ms each on a host of
// 23 GB, whose kernel has room for 262,144 of them, however few there are.
type namespaces struct {
	proc string // the host's procfs
	buf  []byte // sockdiag.AnswerSize
	// known are those of this round, by inode; nil before the first.
	known map[uint64]*servers
	// refused is why other namespaces cannot be entered, lacks why a protocol cannot
	// be asked for. Asking again costs as much as an answer, or more.
	refused error
	lacks   map[string]error
}

func newNamespaces(proc string) *namespaces {
	return &namespaces{proc: proc, buf: make([]byte, sockdiag.AnswerSize), lacks: map[string]error{}}
}

// beginRound forgets what is known. From then on each namespace is asked once, until
// the next round begins.
func (n *namespaces) beginRound() { n.known = map[uint64]*servers{} }

// servers are those of the namespace that a process is in; its inode is netns, or 0
// if that is not known.
func (n *namespaces) servers(pid int, netns uint64) *servers {
	if known := n.known[netns]; known != nil {
		return known
	}
	s := &servers{unknown: map[string]error{}}
	door, closed := n.open(n.path(pid, "ns/net"), netns)
	if closed == nil {
		defer door.Close()
	}
	for _, p := range protocols {
		var all lowest
		err := closed
		if err == nil {
			err = n.ask(door, p.name, p.number, &all)
		}
		if err != nil && !errors.Is(err, hostfs.ErrGone) {
			all = lowest{}
			err = n.readTables(pid, p.name, &all)
		}
		if err != nil {
			s.unknown[p.name] = err
			continue
		}
		all.cut()
		s.dropped += all.dropped
		s.sockets = append(s.sockets, all.sockets...)
	}
	slices.SortFunc(s.sockets, byPort)
	if n.known != nil && netns != 0 && len(s.unknown) == 0 {
		n.known[netns] = s
	}
	return s
}

func (n *namespaces) path(pid int, name string) string {
	return filepath.Join(n.proc, strconv.Itoa(pid), name)
}

// open opens a door to the namespace at a path. If that is not netns any more, the
// process has gone and its number is another's.
func (n *namespaces) open(path string, netns uint64) (*sockdiag.Door, error) {
	ns, err := os.Open(path)
	if isGone(err) {
		return nil, hostfs.ErrGone
	}
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	defer ns.Close()
	inode, err := inodeOf(ns.Stat())
	if err != nil {
		return nil, err
	}
	if netns != 0 && inode != netns {
		return nil, hostfs.ErrGone
	}
	if own, err := inodeOf(os.Stat("/proc/thread-self/ns/net")); err == nil && own == inode {
		return sockdiag.Open(nil, n.buf)
	}
	if n.refused != nil {
		return nil, n.refused
	}
	door, err := sockdiag.Open(ns, n.buf)
	if errors.Is(err, fs.ErrPermission) {
		n.refused = err
	}
	return door, err
}

func inodeOf(info fs.FileInfo, err error) (uint64, error) {
	if err != nil {
		return 0, fmt.Errorf("stat network namespace: %w", err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, fmt.Errorf("stat network namespace: %w", hostfs.ErrNotSupported)
	}
	return stat.Ino, nil
}

// ask adds the servers of a protocol by sock_diag.
func (n *namespaces) ask(door *sockdiag.Door, name string, number int, all *lowest) error {
	if err := n.lacks[name]; err != nil {
		return err
	}
	err := door.Servers(number, func(found sockdiag.Listener) {
		s := socket{addr: found.Local, protocol: name, inode: found.Inode}
		s.v6only = found.V6Only && found.Local.Addr().IsUnspecified()
		if s.isServer() {
			all.add(s)
		}
	})
	if errors.Is(err, unix.ENOENT) {
		n.lacks[name] = err
	}
	return err
}

// or returns the sockets, with what the last look had of a protocol that could not be
// read: that a table is too large does not end a server.
func (s *servers) or(last []socket) []socket {
	if len(s.unknown) == 0 {
		return s.sockets
	}
	all := slices.Clone(s.sockets)
	for _, one := range last {
		if s.unknown[one.protocol] != nil {
			all = append(all, one)
		}
	}
	slices.SortFunc(all, byPort)
	return all
}

// lowest are sockets of one protocol, of too many those with the lowest ports.
type lowest struct {
	sockets []socket
	dropped uint64
}

func (l *lowest) add(s socket) {
	if l.sockets = append(l.sockets, s); len(l.sockets) == 2*maxServers {
		l.cut()
	}
}

func (l *lowest) cut() {
	if beyond := len(l.sockets) - maxServers; beyond > 0 {
		slices.SortFunc(l.sockets, byPort)
		l.sockets = l.sockets[:maxServers]
		l.dropped += uint64(beyond)
	}
}

// byPort is the same order in each look, with the ports of well-known services first.
func byPort(a, b socket) int {
	return cmp.Or(cmp.Compare(a.addr.Port(), b.addr.Port()), cmp.Compare(a.protocol, b.protocol),
		a.addr.Addr().Compare(b.addr.Addr()), cmp.Compare(a.inode, b.inode))
}

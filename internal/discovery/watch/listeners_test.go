package watch

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// place is a namespace whose thread stays where it is while others look.
type place struct {
	pid   int
	netns uint64
}

// inPlace runs f elsewhere, with a namespace that populate has filled.
func inPlace(t *testing.T, populate func() (io.Closer, error), f func(place) error) {
	t.Helper()
	testkit.NeedRoot(t)
	testkit.InNewNetns(t, func() error {
		if err := testkit.Up("lo"); err != nil {
			return err
		}
		open, err := populate()
		if err != nil {
			return err
		}
		defer open.Close()
		netns, err := inodeOf(os.Stat("/proc/thread-self/ns/net"))
		if err != nil {
			return err
		}
		p, done := place{pid: unix.Gettid(), netns: netns}, make(chan error, 1)
		go func() { done <- f(p) }()
		return <-done
	})
}

// closers are closed together.
type closers []io.Closer

func (c closers) Close() error {
	var all []error
	for _, one := range c {
		all = append(all, one.Close())
	}
	return errors.Join(all...)
}

// everyKind is one socket of each kind that a container may have.
func everyKind() (io.Closer, error) {
	waiting, err := waitingOnes()
	if err != nil {
		return nil, err
	}
	all := closers{waiting}
	for _, at := range []string{
		"tcp4 127.0.0.1:80", "tcp6 [::1]:81", "tcp6 [::1]:82", "tcp4 127.0.0.1:82", "udp4 127.0.0.1:8125", "udp6 [::1]:8126",
	} {
		network, addr, _ := strings.Cut(at, " ")
		one, err := net.Dial(network, addr)
		if err != nil {
			return nil, errors.Join(err, all.Close())
		}
		all = append(all, one)
	}
	return all, nil
}

// waitingOnes wait for others, but for the last, whose port the kernel may have given.
func waitingOnes() (io.Closer, error) {
	var all closers
	for _, at := range []string{
		"tcp4 127.0.0.11:53", "tcp4 0.0.0.0:80", "tcp6 [::1]:81", "tcp [::]:82", "tcp4 0.0.0.0:40000",
		"udp4 127.0.0.1:53", "udp4 0.0.0.0:8125", "udp6 [::1]:8126", "udp [::]:8127", "udp4 0.0.0.0:40001",
	} {
		network, addr, _ := strings.Cut(at, " ")
		one, err := listenOn(network, addr)
		if err != nil {
			return nil, errors.Join(err, all.Close())
		}
		all = append(all, one)
	}
	return all, nil
}

const kindsWanted = "tcp 127.0.0.11:53, udp 127.0.0.1:53, tcp 0.0.0.0:80, tcp [::1]:81, tcp [::]:82, " +
	"udp 0.0.0.0:8125, udp [::1]:8126, udp [::]:8127, tcp 0.0.0.0:40000"

// Files and sock_diag tell the same: who waits, in both families, and no connection.
func TestServersBothWays(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	inPlace(t, everyKind, func(p place) error {
		files, asked := fromFiles(), newNamespaces(withoutTables(t, p.pid))
		one, other := files.servers(p.pid, p.netns), asked.servers(p.pid, p.netns)
		if err := errors.Join(tells(one, kindsWanted), tells(other, kindsWanted)); err != nil {
			return err
		}
		if !slices.Equal(one.sockets, other.sockets) {
			return fmt.Errorf("inodes of %v and %v", one.sockets, other.sockets)
		}
		return nil
	})
}

// A socket for IPv6 alone is told from one that takes IPv4 too, as far as the kernel tells.
func TestV6Only(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	inPlace(t, func() (io.Closer, error) {
		var all closers
		for _, network := range []string{"tcp6", "udp6"} { // Go switches IPv4 off for those
			addr := "[::]:81"
			one, err := listenOn(network, addr)
			if err != nil {
				return nil, errors.Join(err, all.Close())
			}
			all = append(all, one)
		}
		both, err := listenOn("tcp", "[::]:82")
		return append(all, both), err
	}, func(p place) error {
		l, s := newLooker(hostfs.NewRoots("/")), &subject{id: "c"}
		s.found.isPlaced, s.found.netns = true, p.netns
		l.listen(&s.found, l.namespaces.servers(p.pid, p.netns).sockets, true)
		var all []string
		for _, one := range s.found.listening {
			all = append(all, fmt.Sprintf("%s %s %v", one.Protocol, one.Addr, one.V6Only))
		}
		if got, want := strings.Join(all, ", "), "tcp [::]:81 true, udp [::]:81 true, tcp [::]:82 false"; got != want {
			return fmt.Errorf("%q, want %q", got, want)
		}
		return nil
	})
}

func listenOn(network, addr string) (io.Closer, error) {
	if strings.HasPrefix(network, "udp") {
		return net.ListenPacket(network, addr)
	}
	return net.Listen(network, addr)
}

// fromFiles may not enter namespaces.
func fromFiles() *namespaces {
	n := newNamespaces("/proc")
	n.refused = errors.New("not wanted")
	return n
}

// withoutTables is a procfs in which a process has a namespace but no files of it.
func withoutTables(t *testing.T, pid int) string {
	t.Helper()
	root, path := t.TempDir(), fmt.Sprintf("%d/ns/net", pid)
	if err := errors.Join(os.MkdirAll(filepath.Join(root, filepath.Dir(path)), 0o755), os.Symlink("/proc/"+path, filepath.Join(root, path))); err != nil {
		t.Error(err)
	}
	return root
}

func tells(s *servers, want string) error {
	var all []string
	for _, one := range s.sockets {
		all = append(all, one.protocol+" "+one.addr.String())
	}
	if got := strings.Join(all, ", "); got != want || len(s.unknown) != 0 || s.dropped != 0 {
		return fmt.Errorf("%q, %v, %d dropped; want %q", got, s.unknown, s.dropped, want)
	}
	return nil
}

// A namespace with more listeners than one container may tell of: none is left out.
func TestManyServers(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	const first, count = 1000, 3 * maxSockets / 2
	inPlace(t, func() (io.Closer, error) {
		var all closers
		for port := range count {
			one, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", first+port))
			if err != nil {
				return nil, errors.Join(err, all.Close())
			}
			all = append(all, one)
		}
		return all, nil
	}, func(p place) error {
		for _, n := range []*namespaces{newNamespaces(withoutTables(t, p.pid)), fromFiles()} {
			s := n.servers(p.pid, p.netns)
			if len(s.sockets) != count || s.dropped != 0 || len(s.unknown) != 0 {
				return fmt.Errorf("%d, %d dropped, %v", len(s.sockets), s.dropped, s.unknown)
			}
			for i, one := range s.sockets {
				if one.addr.Port() != uint16(first+i) {
					return fmt.Errorf("%d is %v", i, one)
				}
			}
		}
		return nil
	})
}

// Of too many the lowest ports are kept, whatever the order.
func TestLowest(t *testing.T) {
	var l lowest
	const count = 50_000
	for n := range count {
		l.add(socket{addr: netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(1+(n*7919)%count))})
	}
	l.cut()
	if len(l.sockets) != maxServers || l.dropped != count-maxServers {
		t.Fatalf("%d kept, %d dropped", len(l.sockets), l.dropped)
	}
	for i, s := range l.sockets {
		if s.addr.Port() != uint16(i+1) {
			t.Fatalf("%d is %v", i, s)
		}
	}
}

// In a round a namespace is asked once, in the next one again.
func TestOncePerRound(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	inPlace(t, everyKind, func(p place) error {
		n := newNamespaces("/proc")
		before := n.servers(p.pid, p.netns)
		if n.servers(p.pid, p.netns) == before {
			return errors.New("kept without a round")
		}
		n.beginRound()
		one := n.servers(p.pid, p.netns)
		if n.servers(p.pid, p.netns) != one {
			return errors.New("asked again")
		}
		n.beginRound()
		if n.servers(p.pid, p.netns) == one {
			return errors.New("the last round's")
		}
		return tells(n.servers(p.pid, p.netns), kindsWanted)
	})
}

// What cannot be read is known by the protocol, and the last look's is kept for it.
func TestUnreadableTable(t *testing.T) {
	root := t.TempDir()
	n := newNamespaces(root)
	n.refused = errors.New("not wanted")
	dir := filepath.Join(root, "1")
	if err := os.MkdirAll(filepath.Join(dir, "net"), 0o755); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{"/proc/self/ns": "ns", "/dev/zero": "net/udp"} {
		if err := os.Symlink(from, filepath.Join(dir, to)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "net/tcp"), []byte(tcpTable), 0o600); err != nil {
		t.Fatal(err)
	}
	n.lacks[target.TCP], n.lacks[target.UDP] = n.refused, n.refused
	s := n.servers(1, 0)
	if s.unknown[target.UDP] == nil || s.unknown[target.TCP] != nil {
		t.Fatal(s.unknown)
	}
	gone := socket{addr: netip.MustParseAddrPort("0.0.0.0:1"), protocol: target.TCP}
	kept := socket{addr: netip.MustParseAddrPort("0.0.0.0:53"), protocol: target.UDP}
	got := &servers{sockets: s.or([]socket{gone, kept})}
	if err := tells(got, "udp 0.0.0.0:53, tcp 0.0.0.0:2024, tcp 127.0.0.11:40961"); err != nil {
		t.Error(err)
	}
	s.unknown = nil
	if err := tells(&servers{sockets: s.or([]socket{gone, kept})}, "tcp 0.0.0.0:2024, tcp 127.0.0.11:40961"); err != nil {
		t.Error(err)
	}
}

// A process that is not there, or is another one now, has nothing, and nobody's is
// taken for its.
func TestServersOfNobody(t *testing.T) {
	f := func(pid int, netns uint64) {
		t.Helper()
		s := newNamespaces("/proc").servers(pid, netns)
		if len(s.sockets) != 0 || !errors.Is(s.unknown[target.TCP], hostfs.ErrGone) || !errors.Is(s.unknown[target.UDP], hostfs.ErrGone) {
			t.Errorf("%+v", s)
		}
	}
	f(1<<22+1, 0) // beyond the highest number there can be
	f(os.Getpid(), 1)
}

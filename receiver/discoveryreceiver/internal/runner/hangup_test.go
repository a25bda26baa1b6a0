package runner

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/discovery/spec"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// Connections to an address end, in both families; others do not.
func TestHangUp(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	one, two, other := dialed(t, "127.0.0.1:0"), dialed(t, "[::1]:0"), dialed(t, "127.0.0.1:0")
	gone := map[netip.AddrPort]bool{peerOf(one): true, peerOf(two): true}
	if n := hangUp(gone); n != 2 {
		t.Errorf("%d connections", n)
	}
	for _, c := range []net.Conn{one, two} {
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("reading from %s: %v", c.RemoteAddr(), err)
		}
	}
	if _, err := other.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if n := hangUp(map[netip.AddrPort]bool{{}: true}); n != 0 {
		t.Errorf("%d sockets without a peer", n)
	}
}

// A connection that has been made a moment ago, and that its dialer has not heard of
// yet, ends with an error as well: a dialer that finds neither error nor peer waits on.
func TestHangUpBeforeAnybodyLooks(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	peer := l.Addr().(*net.TCPAddr).AddrPort()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: peer.Addr().As4(), Port: int(peer.Port())}); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		t.Fatal(err)
	}
	served, err := l.Accept() // then the kernel has made it
	if err != nil {
		t.Fatal(err)
	}
	if n := hangUp(map[netip.AddrPort]bool{peer: true}); n != 1 {
		t.Errorf("%d connections", n)
	}
	_ = served.Close() // and nothing of it is left
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if got := syscall.Errno(code); err != nil || got != unix.ECONNRESET {
		t.Errorf("the socket says %v, %v", got, err)
	}
}

// A socket of another protocol has a peer, too, and is left alone.
func TestHangUpSparesUDP(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	server, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client, err := net.Dial("udp", server.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if n := hangUp(map[netip.AddrPort]bool{server.LocalAddr().(*net.UDPAddr).AddrPort(): true}); n != 0 {
		t.Errorf("%d connections", n)
	}
	if _, err := client.Write([]byte("x")); err != nil {
		t.Error(err)
	}
}

// A connection that is being made ends too: in a network of its own, where nobody
// answers for an address.
func TestHangUpWhileDialing(t *testing.T) {
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "ip")
	testkit.VerifyNoLeaks(t)
	peer := netip.MustParseAddrPort("10.99.0.2:8080")
	testkit.InNewNetns(t, func() error {
		// A neighbour that the kernel believes in, and that is not there.
		for _, line := range []string{
			"link add near type veth peer name far", "address add 10.99.0.1/24 dev near", "link set near up", "link set far up",
			"neighbour add 10.99.0.2 lladdr 02:00:00:00:00:02 dev near",
		} {
			if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
				return fmt.Errorf("ip %s: %w: %s", line, err, out)
			}
		}
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: peer.Addr().As4(), Port: 8080}); !errors.Is(err, unix.EINPROGRESS) {
			return fmt.Errorf("connect: %w", err)
		}
		if n := hangUp(map[netip.AddrPort]bool{netip.MustParseAddrPort("10.99.0.2:8081"): true}); n != 0 {
			t.Errorf("%d connections to another port", n)
		}
		if n := hangUp(map[netip.AddrPort]bool{peer: true}); n != 1 {
			t.Errorf("%d connections", n)
		}
		code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if got := syscall.Errno(code); err != nil || got != unix.ECONNRESET {
			t.Errorf("the socket says %v, %v", got, err)
		}
		return nil
	})
}

func TestParseDialing(t *testing.T) {
	f := func(line string, want ...string) {
		t.Helper()
		dialing := map[uint64]netip.AddrPort{}
		parseDialing([]byte(line), dialing)
		if len(dialing) != len(want) || len(want) > 0 && dialing[4711].String() != want[0] {
			t.Errorf("%q: %v", line, dialing)
		}
	}
	f("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n")
	f("   0: 0100007F:0CEA 0500000A:1F90 02 00000000:00000001 01:00000010 00000000     0        0 4711 2 0\n", "10.0.0.5:8080")
	f("   0: 0100007F:0CEA 0500000A:1F90 01 00000000:00000001 01:00000010 00000000     0        0 4711 2 0\n")
	f("   0: 0:0 000000FD000000000000000002000000:0050 02 0:0 0:0 0 0 0 4711\n", "[fd00::2]:80")
	f("   0: 0:0 0500000A:1F90 02 0:0 0:0 0 0 0 x\n")
	f("   0: 0:0 05:1F90 02 0:0 0:0 0 0 0 4711\n")
	f("   0: 0:0 0500000A 02 0:0 0:0 0 0 0 4711\n")
}

func FuzzParseDialing(f *testing.F) {
	f.Add([]byte("0: 0:0 0500000A:1F90 02 0:0 0:0 0 0 0 4711 2\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		dialing := map[uint64]netip.AddrPort{}
		parseDialing(b, dialing)
		for inode, addr := range dialing {
			if !addr.IsValid() || addr.Addr().Is4In6() {
				t.Fatalf("%d: %v", inode, addr)
			}
		}
	})
}

func peerOf(c net.Conn) netip.AddrPort { return c.RemoteAddr().(*net.TCPAddr).AddrPort() }

// dialed is a connection to a server that says nothing.
func dialed(t testing.TB, at string) net.Conn {
	t.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Who hangs longer than it may waits for no connection: nobody looks for one any more.
func TestHangingUpEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := New(Options{
			Factories: noFactories{}, Host: componenttest.NewNopHost(), Limit: 1,
			Settings: receivertest.NewNopSettings(component.MustNewType("discovery")),
		})
		if err != nil {
			t.Fatal(err)
		}
		c := &call{instance: &instance{spec: spec.Spec{Endpoint: "192.0.2.1:80"}}}
		done := r.keepHangingUp(c)
		defer done()
		over := make(chan struct{})
		go func() {
			defer close(over)
			r.running.Wait()
		}()
		select {
		case <-over:
		case <-time.After(time.Minute):
			t.Error("somebody still looks for connections")
		}
	})
}

type noFactories struct{}

func (noFactories) GetFactory(component.Kind, component.Type) component.Factory { return nil }

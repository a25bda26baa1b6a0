package nat

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/ownthread"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// The addresses of the rig: the host's on the bridge and outside, two
// containers, and another host.
const (
	gateway4, first4, second4 = "172.30.0.1", "172.30.0.2", "172.30.0.3"
	gateway6, first6, second6 = "fd30::1", "fd30::2", "fd30::3"
	host4, external4          = "192.0.2.1", "192.0.2.9"
	host6, external6          = "fd92::1", "fd92::9"

	published, inside = 8080, 80 // TCP and UDP
	zoned             = 7777     // UDP, in zone 7
)

// rig is a host with a bridge, two containers and another host, all of them
// network namespaces. Ports are published as Docker's rules do it: forwarded
// for who asks any address of the host, and masqueraded where the reply would
// else not come back through the host.
type rig struct {
	t                             testing.TB
	host, first, second, external string // names of namespaces
}

const rules = `
table inet nat {
 chain pre { type nat hook prerouting priority dstnat;
  fib daddr type local meta l4proto { tcp, udp } th dport 8080 meta nfproto ipv4 dnat ip to 172.30.0.3:80
  fib daddr type local meta l4proto { tcp, udp } th dport 8080 meta nfproto ipv6 dnat ip6 to [fd30::3]:80
 }
 chain out { type nat hook output priority -100;
  fib daddr type local meta l4proto { tcp, udp } th dport 8080 meta nfproto ipv4 dnat ip to 172.30.0.3:80
 }
 chain post { type nat hook postrouting priority srcnat;
  ip saddr 172.30.0.0/24 ct status dnat oifname "br0" masquerade
  ip6 saddr fd30::/64 ct status dnat oifname "br0" masquerade
  ip saddr 172.30.0.0/24 oifname != "br0" masquerade
 }
}
table inet zones {
 chain pre { type filter hook prerouting priority raw;
  udp dport 7777 ct zone set 7
 }
 chain out { type filter hook output priority raw;
  udp sport 7777 ct zone set 7
 }
}
`

func newRig(t testing.TB) *rig {
	t.Helper()
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "ip", "nft")
	name := func(what string) string { return fmt.Sprintf("tlynat%d%s", os.Getpid(), what) }
	r := &rig{t: t, host: name("h"), first: name("a"), second: name("b"), external: name("x")}
	for _, ns := range []string{r.host, r.first, r.second, r.external} {
		run(t, "ip netns add "+ns)
		t.Cleanup(func() { run(t, "ip netns del "+ns) })
		r.in(ns, withoutDAD)
	}
	r.ip(r.host, "link add br0 type bridge",
		"link add va type veth peer name eth0 netns "+r.first,
		"link add vb type veth peer name eth0 netns "+r.second,
		"link add vx type veth peer name eth0 netns "+r.external,
		"link set va master br0 up", "link set vb master br0 up")
	r.address(r.host, "br0", gateway4+"/24", gateway6+"/64")
	r.address(r.host, "vx", host4+"/24", host6+"/64")
	r.address(r.first, "eth0", first4+"/24", first6+"/64")
	r.address(r.second, "eth0", second4+"/24", second6+"/64")
	r.address(r.external, "eth0", external4+"/24", external6+"/64")
	for _, ns := range []string{r.first, r.second} {
		r.ip(ns, "route add default via "+gateway4, "route add default via "+gateway6)
	}
	r.in(r.host, func() error {
		for _, file := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
			if err := os.WriteFile("/proc/sys/net/"+file, []byte("1"), 0); err != nil {
				return err
			}
		}
		cmd := exec.Command("nft", "-f", "-")
		cmd.Stdin = strings.NewReader(rules)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("nft: %w: %s", err, out)
		}
		return nil
	})
	return r
}

// withoutDAD: else the first seconds of an interface have no IPv6 neighbours.
func withoutDAD() error {
	for _, name := range []string{"default", "all"} {
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/accept_dad", []byte("0"), 0); err != nil {
			return err
		}
	}
	return nil
}

// address makes an interface, and the loopback one, work.
func (r *rig) address(ns, device string, addresses ...string) {
	r.t.Helper()
	lines := []string{"link set lo up", "link set " + device + " up"}
	for _, a := range addresses {
		flags := ""
		if strings.Contains(a, ":") {
			flags = " nodad" // usable at once
		}
		lines = append(lines, "addr add "+a+" dev "+device+flags)
	}
	r.ip(ns, lines...)
}

// ip runs commands of ip(8) in a namespace, all in one process: where the kernel
// is emulated, processes take longest.
func (r *rig) ip(ns string, lines ...string) {
	r.t.Helper()
	cmd := exec.Command("ip", "-n", ns, "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n"))
	out, err := cmd.CombinedOutput()
	require.NoError(r.t, err, "%s: %s", lines, out)
}

func run(t testing.TB, line string) {
	t.Helper()
	argv := strings.Fields(line)
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	require.NoError(t, err, "%s: %s", line, out)
}

func path(ns string) string { return "/run/netns/" + ns }

// in runs f on a thread in the namespace.
func (r *rig) in(ns string, f func() error) {
	r.t.Helper()
	there, err := OpenNamespace(path(ns))
	require.NoError(r.t, err)
	defer there.Close()
	ownthread.Do(func() {
		if err = there.enter(); err == nil {
			err = f()
		}
	})
	require.NoError(r.t, err)
}

// open opens a resolver for the rig's host.
func (r *rig) open(mode Mode) Resolver {
	r.t.Helper()
	resolver, choice, err := Open(Options{Mode: mode, Namespace: path(r.host)})
	if err != nil {
		lack(r.t, mode, err)
	}
	require.Equal(r.t, mode, choice.Mode)
	r.t.Cleanup(func() { require.NoError(r.t, resolver.Close()) })
	return resolver
}

// lack skips where the kernel is too old for the mode.
func lack(t testing.TB, mode Mode, err error) {
	t.Helper()
	if mode == ModePull {
		testkit.Lack(t, testkit.Feature{Name: "bpf_skb_ct_lookup", MinKernel: "6.1"}, err)
	}
	t.Fatal(err)
}

// both runs a test with each implementation.
func both(t *testing.T, f func(t *testing.T, mode Mode)) {
	t.Helper()
	for _, mode := range []Mode{ModePull, ModeCtnetlink} {
		t.Run(string(mode), func(t *testing.T) { f(t, mode) })
	}
}

// listen serves a port in a namespace, TCP or UDP, for the test's time. What
// comes in is told to the channel as the server's socket sees it.
func (r *rig) listen(ns, network, address string) <-chan Pair {
	r.t.Helper()
	seen := make(chan Pair, 1<<14)
	if strings.HasPrefix(network, "udp") {
		r.listenUDP(ns, network, address, seen)
		return seen
	}
	var l net.Listener
	r.in(ns, func() (err error) {
		l, err = net.Listen(network, address)
		return err
	})
	over, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			seen <- pairOf(c)
			// Read to the end, so that it is the client who closes first. That
			// does not arrive where the test has deleted the entry.
			running.Go(func() {
				defer context.AfterFunc(over, func() { _ = c.Close() })()
				_, _ = c.Read(make([]byte, 1))
				_ = c.Close()
			})
		}
	})
	// The clients of the test are closed before.
	r.t.Cleanup(func() { stop(); _ = l.Close(); running.Wait() })
	return seen
}

func (r *rig) listenUDP(ns, network, address string, seen chan<- Pair) {
	r.t.Helper()
	var c net.PacketConn
	r.in(ns, func() (err error) {
		c, err = net.ListenPacket(network, address)
		return err
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 64)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(b[:n], from)
			seen <- Pair{Local: netip.MustParseAddrPort(c.LocalAddr().String()), Remote: from.(*net.UDPAddr).AddrPort()}
		}
	}()
	r.t.Cleanup(func() { _ = c.Close(); <-done })
}

// dial connects and, with UDP, sends one datagram and waits for its echo.
func (r *rig) dial(ns, network, address string) net.Conn {
	r.t.Helper()
	var c net.Conn
	r.in(ns, func() (err error) {
		c, err = dialHere(network, address)
		return err
	})
	r.t.Cleanup(func() { _ = c.Close() })
	return c
}

func dialHere(network, address string) (net.Conn, error) {
	c, err := net.Dial(network, address)
	if err != nil || !strings.HasPrefix(network, "udp") {
		return c, err
	}
	return c, echo(c)
}

// echo sends a datagram, and waits for its echo.
func echo(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(waitFor)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("?")); err != nil {
		return err
	}
	_, err := c.Read(make([]byte, 1))
	return err
}

func pairOf(c net.Conn) Pair {
	return Pair{
		Local:  netip.MustParseAddrPort(c.LocalAddr().String()),
		Remote: netip.MustParseAddrPort(c.RemoteAddr().String()),
	}
}

func resolveOne(t testing.TB, r Resolver, at Namespace, q Query) Answer {
	t.Helper()
	answers := make([]Answer, 1)
	require.NoError(t, r.Resolve(context.Background(), at, []Query{q}, answers))
	return answers[0]
}

package e2e_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// testHost is a network namespace with a cable to this host or to another one.
type testHost struct {
	name    string // below /run/netns
	address netip.Addr
}

func ip(t *testing.T, words string, args ...any) {
	t.Helper()
	line := fmt.Sprintf(words, args...)
	out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput()
	require.NoError(t, err, "ip %s: %s", line, out)
}

// newTestHost makes one without a cable. It is gone after the test.
func newTestHost(t *testing.T, number int, address string) testHost {
	t.Helper()
	h := testHost{name: fmt.Sprintf("tly%d-%d", os.Getpid(), number), address: netip.MustParseAddr(address)}
	ip(t, "netns add %s", h.name)
	t.Cleanup(func() { ip(t, "netns del %s", h.name) })
	ip(t, "-n %s link set lo up", h.name)
	return h
}

// uplink connects it with this host, which has the address gateway there.
func (h testHost) uplink(t *testing.T, gateway string, bits int) {
	t.Helper()
	ip(t, "link add %s type veth peer name eth0 netns %s", h.name, h.name)
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", h.name).Run() }) // gone with the namespace, soon
	ip(t, "addr add %s/%d dev %s", gateway, bits, h.name)
	ip(t, "link set %s up", h.name)
	h.up(t, bits)
	ip(t, "-n %s route add default via %s", h.name, gateway)
}

// connect lays a cable between two.
func (h testHost) connect(t *testing.T, to testHost, bits int) {
	t.Helper()
	ip(t, "link add eth0 netns %s type veth peer name eth0 netns %s", h.name, to.name)
	h.up(t, bits)
	to.up(t, bits)
}

func (h testHost) up(t *testing.T, bits int) {
	t.Helper()
	without := ""
	if h.address.Is6() {
		without = " nodad" // nobody else is there
	}
	ip(t, "-n %s addr add %s/%d dev eth0%s", h.name, h.address, bits, without)
	ip(t, "-n %s link set eth0 up", h.name)
}

// remoteAddresses are of the range for benchmarks (RFC 2544), which no real network
// has.
const (
	remoteAddress = "198.18.77.2"
	remoteGateway = "198.18.77.1"
)

// A client on another host: the container's record has its address, and where that
// host is watched, its own record has the container.
func TestConntrackOtherHost(t *testing.T) {
	testkit.NeedBPF(t)
	engine := startRouter(t, noProxy)
	program := buildConnClient(t)
	server := program.server(t, engine)
	other := newTestHost(t, 1, remoteAddress)
	other.uplink(t, remoteGateway, 30)
	sink := testkit.NewSink(t)
	a := startAgent(t, connSettings(t, sink, "receivers::ebpf_conntrack::groups: [{name: lab, prefixes: [198.18.0.0/15]}]"))
	view := newConnView(sink)
	const n = 50
	dialled := netip.AddrPortFrom(netip.MustParseAddr(remoteGateway), publishedPort)
	said := program.runTold(t, inNetns(other.name), "ask", "-address", dialled.String(), "-count", strconv.Itoa(n), "-first", "1000")
	require.Len(t, said, n)
	testkit.Eventually(t, soon, func() error {
		view.take()
		return errors.Join(a.alive(), view.arrived(server.ID, n), view.hasTold("", said))
	})
	served := inContainer(t, server, servedPort)
	require.Len(t, view.closed[server.ID], n)
	for _, one := range said {
		require.Equal(t, other.address, one.Local.Addr())
		want := map[string]any{
			"network.direction": "incoming", "connection.outcome": "closed",
			"connection.io.sent": one.Received, "connection.io.received": one.Sent, "process.executable.name": "connclient",
		}
		wantEnd(want, "source", one.Local, one.Local)
		wantEnd(want, "destination", served, dialled)
		wantOwner(want, "source", "")
		wantOwner(want, "destination", server.ID)
		require.NoError(t, view.one(t, server.ID, map[string]any{"connection.io.received": one.Sent}).has(want))

		want["network.direction"], want["connection.io.sent"], want["connection.io.received"] = "outgoing", one.Sent, one.Received
		require.NoError(t, view.one(t, "", map[string]any{"source.port": int64(one.Local.Port()), "source.address": remoteAddress}).has(want))
	}
	// To a client's address no series is made: it is counted in its group.
	group := map[string]any{"peer.address": "lab", "server.port": int64(servedPort), "network.direction": "incoming"}
	testkit.Eventually(t, soon, func() error { return view.expects(server.ID, "container.edge.connections", group, n) })
	require.NoError(t, view.expects(server.ID, "container.edge.connections", nil, n))
}

// hasTold is nil if there is a record of each connection of an owner that has more.
func (v *connView) hasTold(owner string, said []told) error {
	ports := map[string]int{}
	for _, r := range v.closed[owner] {
		ports[fmt.Sprint(r.text("source.address"), r.number("source.port"))]++
	}
	for _, one := range said {
		if ports[fmt.Sprint(one.Local.Addr().String(), int64(one.Local.Port()))] == 0 {
			return fmt.Errorf("record of %v: %w", one.Local, errConnections)
		}
	}
	return nil
}

// serveAt returns when a server listens on a test host. It ends with the test.
func (p connProgram) serveAt(t *testing.T, h testHost, address netip.AddrPort) {
	t.Helper()
	ready := filepath.Join(t.TempDir(), "ready")
	argv := append(inNetns(h.name), p.path(), "serve", "-address", address.String(), "-ready", ready)
	serving := exec.Command(argv[0], argv[1:]...)
	require.NoError(t, serving.Start())
	t.Cleanup(func() {
		_ = serving.Process.Kill()
		_ = serving.Wait()
	})
	testkit.Eventually(t, soon, func() error {
		_, err := os.Stat(ready)
		return err
	})
}

// IPv6 between two hosts that are both watched: each has its own record of both.
func TestConntrackIPv6(t *testing.T) {
	testkit.NeedBPF(t)
	testkit.NeedCommand(t, "ip", "nsenter")
	program := buildConnClient(t)
	// Of the range for documentation (RFC 3849).
	one, two := newTestHost(t, 1, "2001:db8:77::1"), newTestHost(t, 2, "2001:db8:77::2")
	one.connect(t, two, 64)
	sink := testkit.NewSink(t)
	a := startAgent(t, connSettings(t, sink))
	view := newConnView(sink)

	address := netip.AddrPortFrom(two.address, servedPort)
	program.serveAt(t, two, address)
	const n = 100
	said := program.runTold(t, inNetns(one.name), "ask", "-address", address.String(), "-count", strconv.Itoa(n))
	require.Len(t, said, n)
	// Two records have one source: one of each end.
	byPort := func() map[int64][]connRecord {
		view.take()
		found := map[int64][]connRecord{}
		for _, r := range view.closed[""] {
			if r.text("source.address") == one.address.String() {
				found[r.number("source.port")] = append(found[r.number("source.port")], r)
			}
		}
		return found
	}
	testkit.Eventually(t, soon, func() error {
		ends := 0
		for _, records := range byPort() {
			ends += len(records)
		}
		if ends < 2*n {
			return fmt.Errorf("%d of %d ends: %w", ends, 2*n, errConnections)
		}
		return nil
	})
	log, code := a.stop()
	require.Zero(t, code, log)
	found := byPort()
	require.Len(t, found, n)
	for _, c := range said {
		records := found[int64(c.Local.Port())]
		require.Len(t, records, 2)
		want := map[string]any{"network.type": "ipv6", "connection.outcome": "closed"}
		wantEnd(want, "source", c.Local, c.Local)
		wantEnd(want, "destination", address, address)
		directions := map[string]bool{}
		for _, r := range records {
			direction := r.text("network.direction")
			directions[direction] = true
			want["connection.io.sent"], want["connection.io.received"] = c.Sent, c.Received
			if direction == "incoming" {
				want["connection.io.sent"], want["connection.io.received"] = c.Received, c.Sent
			}
			require.NoError(t, r.has(want))
		}
		require.Len(t, directions, 2, "%v", records)
	}
}

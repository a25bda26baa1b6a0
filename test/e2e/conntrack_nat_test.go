package e2e_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

const noProxy = "--userland-proxy=false"

// exchanged is a client container that has made connections to a server container
// by the host's published port, and what both have told.
type exchanged struct {
	client, server   *testkit.Container
	dialled, served  netip.AddrPort
	ofClient, ofPeer []told
	n                int
}

// connRig is an engine and what its containers run.
type connRig struct {
	engine  *testkit.Engine
	program connProgram
}

func newConnRig(t *testing.T, flags ...string) connRig {
	t.Helper()
	return connRig{startRouter(t, flags...), buildConnClient(t)}
}

// exchange lets the client make n connections, waits until it has ended, and ends
// the server. Between the two meanwhile is called.
func (r connRig) exchange(t *testing.T, n int, meanwhile func(*exchanged)) *exchanged {
	t.Helper()
	x := &exchanged{server: r.program.server(t, r.engine), dialled: published(t, r.engine), n: n}
	x.served = inContainer(t, x.server, servedPort)
	x.client = r.engine.RunContainer(t, r.program.container("client",
		"ask", "-address", x.dialled.String(), "-count", strconv.Itoa(n), "-spread", strconv.Itoa(n)))
	x.ofClient = parseTold(t, ended(t, x.client, ""))
	meanwhile(x)
	x.ofPeer = parseTold(t, ended(t, x.server, "SIGTERM"))
	require.Len(t, x.ofClient, n)
	require.Len(t, x.ofPeer, n)
	for _, one := range x.ofClient {
		require.Empty(t, one.Error)
	}
	return x
}

// masquerade has the host hide the client from the server. By itself Docker does
// that only to a container that reaches its own published port.
func masquerade(t *testing.T, engine *testkit.Engine) {
	t.Helper()
	rule(t, "nat", "POSTROUTING", "-o", engine.Bridge(), "-p", "tcp", "--dport", strconv.Itoa(servedPort),
		"-m", "conntrack", "--ctstate", "DNAT", "-j", "MASQUERADE")
}

// Ten thousand short connections by a published port, with the destination and the
// source translated: one record of each at each end, with the container and the
// port that are really there, and all of its bytes.
func TestConntrackHairpin(t *testing.T) {
	testkit.NeedBPF(t)
	rig := newConnRig(t, noProxy)
	masquerade(t, rig.engine)
	sink := testkit.NewSink(t)
	a := startAgent(t, connSettings(t, sink))
	view := newConnView(sink)
	const n = 10_000
	x := rig.exchange(t, n, func(x *exchanged) {
		testkit.Eventually(t, soon, func() error {
			return errors.Join(a.alive(), view.arrived(x.client.ID, n), view.arrived(x.server.ID, n), x.hasMetrics(view))
		})
	})
	log, code := a.stop()
	require.Zero(t, code, log)
	require.Empty(t, complaints(log))
	// It is still so when all has been said.
	view.take()
	require.NoError(t, x.hasMetrics(view))
	x.check(t, view, true)
	hidden := 0
	for _, one := range x.ofPeer {
		if one.Remote.Addr() == x.dialled.Addr() {
			hidden++
		}
	}
	require.Equal(t, n, hidden, "the server has seen the client itself")
}

// The same by every way to resolve addresses, and by none.
func TestConntrackTiers(t *testing.T) {
	testkit.NeedBPF(t)
	rig := newConnRig(t, noProxy)
	masquerade(t, rig.engine)
	const n = 200
	for _, mode := range []string{"pull", "ctnetlink", "off"} {
		t.Run(mode, func(t *testing.T) {
			sink := testkit.NewSink(t)
			a := startAgent(t, connSettings(t, sink, "receivers::ebpf_conntrack::nat: "+mode))
			view := newConnView(sink)
			x := rig.exchange(t, n, func(x *exchanged) {
				testkit.Eventually(t, soon, func() error {
					return errors.Join(a.alive(), view.arrived(x.client.ID, n), view.arrived(x.server.ID, n))
				})
			})
			log, code := a.stop()
			require.Zero(t, code, log)
			require.Empty(t, complaints(log))
			view.take()
			x.check(t, view, mode != "off")
		})
	}
}

// With docker-proxy in between there are two connections, neither translated. The
// records tell of one.
func TestConntrackProxy(t *testing.T) {
	testkit.NeedBPF(t)
	rig := newConnRig(t)
	sink := testkit.NewSink(t)
	a := startAgent(t, connSettings(t, sink))
	view := newConnView(sink)
	const n = 500
	x := rig.exchange(t, n, func(x *exchanged) {
		testkit.Eventually(t, soon, func() error {
			return errors.Join(a.alive(), view.arrived(x.client.ID, n), view.arrived(x.server.ID, n), x.hasMetrics(view))
		})
	})
	log, code := a.stop()
	require.Zero(t, code, log)
	require.Empty(t, complaints(log))
	view.take()
	require.NoError(t, x.hasMetrics(view))
	require.Len(t, view.closed[x.client.ID], n)
	require.Len(t, view.closed[x.server.ID], n)
	for _, one := range x.ofClient {
		want := one.wantedOf("outgoing", x)
		wantEnd(want, "source", one.Local, one.Local)
		wantEnd(want, "destination", x.served, x.dialled)
		want["connection.proxied"] = true
		require.NoError(t, view.one(t, x.client.ID, map[string]any{"connection.io.sent": one.Sent}).has(want))
	}
	clients := byBytes(x.ofClient, func(c told) int64 { return c.Sent })
	for _, one := range x.ofPeer {
		want := one.wantedOf("incoming", x)
		wantEnd(want, "source", clients[one.Received].Local, one.Remote)
		wantEnd(want, "destination", x.served, x.served)
		want["connection.proxied"] = true
		require.NoError(t, view.one(t, x.server.ID, map[string]any{"connection.io.received": one.Received}).has(want))
	}
}

func byBytes(all []told, number func(told) int64) map[int64]told {
	found := map[int64]told{}
	for _, one := range all {
		found[number(one)] = one
	}
	return found
}

// wantedOf is what is wanted of a record in any case.
func (o told) wantedOf(direction string, x *exchanged) map[string]any {
	want := map[string]any{
		"network.transport": "tcp", "network.type": "ipv4", "network.direction": direction, "connection.outcome": "closed",
		"process.executable.name": "connclient", "connection.io.sent": o.Sent, "connection.io.received": o.Received,
		"error.type": nil,
	}
	if direction == "incoming" {
		want["process.pid"] = int64(x.server.PID)
	}
	wantOwner(want, "source", x.client.ID)
	wantOwner(want, "destination", x.server.ID)
	return want
}

// check holds the records of both ends against what they have told. Without names
// behind translation each end is wanted to know what its socket knows.
func (x *exchanged) check(t *testing.T, view *connView, named bool) {
	t.Helper()
	require.Len(t, view.closed[x.client.ID], x.n, "records of the client")
	require.Len(t, view.closed[x.server.ID], x.n, "records of the server")
	clients := byBytes(x.ofClient, func(c told) int64 { return c.Sent })
	servers := byBytes(x.ofPeer, func(c told) int64 { return c.Received })
	require.Len(t, clients, x.n)
	require.Len(t, servers, x.n)
	byClient := bytesOf(view.closed[x.client.ID], "connection.io.sent")
	byServer := bytesOf(view.closed[x.server.ID], "connection.io.received")
	for size, c := range clients {
		s := servers[size]
		require.Equal(t, c.Received, s.Sent)
		wantClient, wantServer := c.wantedOf("outgoing", x), s.wantedOf("incoming", x)
		if named {
			wantEnd(wantClient, "source", c.Local, s.Remote)
			wantEnd(wantClient, "destination", x.served, x.dialled)
			wantEnd(wantServer, "source", c.Local, s.Remote)
			wantEnd(wantServer, "destination", x.served, x.dialled)
		} else {
			wantEnd(wantClient, "source", c.Local, c.Local)
			wantEnd(wantClient, "destination", x.dialled, x.dialled)
			wantEnd(wantServer, "source", s.Remote, s.Remote)
			wantEnd(wantServer, "destination", x.served, x.served)
			wantOwner(wantClient, "destination", "")
			wantOwner(wantServer, "source", "")
		}
		for want, records := range map[*map[string]any][]connRecord{&wantClient: byClient[size], &wantServer: byServer[size]} {
			require.Len(t, records, 1, "request of %d bytes", size)
			require.NoError(t, records[0].has(*want))
			require.NoError(t, records[0].isTimed())
		}
	}
}

// isTimed tells whether times are there and make sense.
func (r connRecord) isTimed() error {
	seconds := func(key string) float64 {
		s, _ := r[key].(float64)
		return s
	}
	duration, setup := seconds("connection.duration"), seconds("connection.setup.time")
	if duration <= 0 || duration > soon.Seconds() || seconds("connection.rtt") <= 0 {
		return fmt.Errorf("duration and round-trip time of %v: %w", r, errConnections)
	}
	if r.text("network.direction") == "outgoing" && (setup <= 0 || setup > duration) {
		return fmt.Errorf("setup time of %v: %w", r, errConnections)
	}
	return nil
}

// hasMetrics is nil if the metrics of both ends, in all and by peer, are what was
// told.
func (x *exchanged) hasMetrics(view *connView) error {
	view.take()
	var sent, received int64
	for _, one := range x.ofClient {
		sent, received = sent+one.Sent, received+one.Received
	}
	var wrong []error
	for _, end := range []struct {
		direction         string
		own, peer         *testkit.Container
		transmit, receive int64
	}{
		{"outgoing", x.client, x.server, sent, received},
		{"incoming", x.server, x.client, received, sent},
	} {
		expect := func(metric string, want int64, attributes map[string]any) {
			attributes["network.direction"] = end.direction
			wrong = append(wrong, view.expects(end.own.ID, metric, attributes, float64(want)))
		}
		edge := func(more map[string]any) map[string]any {
			more["peer.container.id"], more["server.port"] = end.peer.ID, int64(servedPort)
			return more
		}
		expect("container.connection.count", int64(x.n), map[string]any{"connection.outcome": "closed", "network.transport": "tcp"})
		expect("container.connection.count", int64(x.n), map[string]any{})
		expect("container.edge.connections", int64(x.n), edge(map[string]any{}))
		expect("container.edge.connections", int64(x.n), map[string]any{})
		expect("container.edge.failures", 0, map[string]any{})
		expect("container.connection.duration", int64(x.n), map[string]any{})
		for direction, n := range map[string]int64{"transmit": end.transmit, "receive": end.receive} {
			expect("container.connection.io", n, map[string]any{"network.io.direction": direction, "network.transport": "tcp"})
			expect("container.edge.io", n, edge(map[string]any{"network.io.direction": direction}))
		}
	}
	return errors.Join(wrong...)
}

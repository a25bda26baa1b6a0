package e2e_test

import (
	"errors"
	"fmt"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// Containers that live a tenth of a second, each with one connection: both ends
// know each other.
func TestConntrackShortContainers(t *testing.T) {
	testkit.NeedBPF(t)
	engine := startRouter(t, noProxy)
	program := buildConnClient(t)
	sink := testkit.NewSink(t)
	a := startAgent(t, connSettings(t, sink))
	view := newConnView(sink)
	server := program.server(t, engine)
	served := inContainer(t, server, servedPort)
	const n = 10
	clients := map[string]told{}
	for i := range n {
		c := engine.RunContainer(t, program.container("short",
			"ask", "-address", served.String(), "-first", strconv.Itoa(100+i), "-linger", "90ms"))
		said := parseTold(t, ended(t, c, ""))
		require.Len(t, said, 1)
		require.Empty(t, said[0].Error)
		clients[c.ID] = said[0]
	}
	testkit.Eventually(t, soon, func() error {
		wrong := []error{a.alive(), view.arrived(server.ID, n)}
		for id := range clients {
			wrong = append(wrong, view.arrived(id, 1), view.expects(id, "container.edge.connections",
				map[string]any{"peer.container.id": server.ID, "server.port": int64(servedPort), "network.direction": "outgoing"}, 1))
		}
		return errors.Join(wrong...)
	})
	log, code := a.stop()
	require.Zero(t, code, log)
	view.take()
	require.Len(t, view.closed[server.ID], n)
	for id, one := range clients {
		require.Len(t, view.closed[id], 1)
		want := map[string]any{
			"connection.io.sent": one.Sent, "connection.io.received": one.Received, "connection.outcome": "closed",
			"network.direction": "outgoing", "process.executable.name": "connclient",
		}
		wantEnd(want, "source", one.Local, one.Local)
		wantEnd(want, "destination", served, served)
		wantOwner(want, "source", id)
		wantOwner(want, "destination", server.ID)
		require.NoError(t, view.closed[id][0].has(want))
		want["network.direction"], want["connection.io.sent"], want["connection.io.received"] = "incoming", one.Received, one.Sent
		require.NoError(t, view.one(t, server.ID, map[string]any{"connection.io.received": one.Sent}).has(want))
	}
}

// laterTimes is how many more times a figure is looked at that must not change.
const laterTimes = 3

// What a connection carries is counted while it is open, and not again when it ends.
// Which it had before the agent was started is nobody's.
func TestConntrackLongConnection(t *testing.T) {
	testkit.NeedBPF(t)
	engine := startRouter(t, noProxy)
	program := buildConnClient(t)
	server := program.server(t, engine)
	sink := testkit.NewSink(t)
	a := startAgent(t, connSettings(t, sink))
	view := newConnView(sink)
	client := engine.RunContainer(t, program.container("holder",
		"hold", "-address", published(t, engine).String(), "-first", "5000"))
	request, reply := holdsOf(5000)

	carried := func(rounds int) func() error {
		return func() error {
			wrong := []error{a.alive()}
			for id, n := range map[string][2]int{client.ID: {request, reply}, server.ID: {reply, request}} {
				for i, direction := range []string{"transmit", "receive"} {
					of, want := map[string]any{"network.io.direction": direction}, float64(rounds*n[i])
					wrong = append(wrong, view.expects(id, "container.connection.io", of, want), view.expects(id, "container.edge.io", of, want))
				}
			}
			return errors.Join(wrong...)
		}
	}
	open := func(n float64) func() error {
		return func() error {
			return errors.Join(
				view.expects(client.ID, "container.connection.active", map[string]any{"network.direction": "outgoing"}, n),
				view.expects(server.ID, "container.connection.active", map[string]any{"network.direction": "incoming"}, n),
				view.expects(client.ID, "container.connection.active", nil, n), view.expects(server.ID, "container.connection.active", nil, n),
			)
		}
	}
	testkit.Eventually(t, soon, func() error { return errors.Join(carried(1)(), open(1)()) })
	require.Empty(t, view.closed[client.ID], "it has not ended")
	require.Zero(t, view.sum(client.ID, "container.connection.count", nil))
	peer := map[string]any{"peer.container.id": server.ID, "server.port": int64(servedPort), "network.io.direction": "transmit"}
	require.NoError(t, view.expects(client.ID, "container.edge.io", peer, float64(request)), "behind translation while it is open, too")

	require.NoError(t, client.Kill(t.Context(), "SIGUSR1"))
	testkit.Eventually(t, soon, carried(2))
	require.NoError(t, client.Kill(t.Context(), "SIGUSR1")) // and at once the end
	said := parseTold(t, ended(t, client, "SIGTERM"))
	require.Len(t, said, 1)
	rounds := int(said[0].Sent) / request
	require.Equal(t, told{Local: said[0].Local, Remote: said[0].Remote, Sent: int64(rounds * request), Received: int64(rounds * reply)}, said[0])
	testkit.Eventually(t, soon, func() error {
		return errors.Join(carried(rounds)(), open(0)(), view.arrived(client.ID, 1), view.arrived(server.ID, 1))
	})
	// A sum that comes again is not a sum that grows.
	before := view.times(client.ID, "container.connection.io")
	testkit.Eventually(t, soon, func() error {
		view.take()
		if now := view.times(client.ID, "container.connection.io"); now < before+laterTimes {
			return fmt.Errorf("came %d times: %w", now-before, errMissing)
		}
		return nil
	})
	require.NoError(t, errors.Join(carried(rounds)(), open(0)()))
	for id, n := range map[string][2]int{client.ID: {request, reply}, server.ID: {reply, request}} {
		require.Len(t, view.closed[id], 1)
		require.NoError(t, view.closed[id][0].has(map[string]any{
			"connection.io.sent": int64(rounds * n[0]), "connection.io.received": int64(rounds * n[1]),
		}))
		require.Equal(t, 1.0, view.sum(id, "container.connection.count", nil))
	}
}

// holdsOf is the lengths of a request and reply of connclient, by its rule.
func holdsOf(number int) (request, reply int) {
	const header, stride, spread = 8, 7919, 10_000
	return header + number, header + number*stride%spread
}

// Programs that start and end in a container are told of, with how they ended.
func TestConntrackProcessEvents(t *testing.T) {
	testkit.NeedBPF(t)
	engine := startRouter(t, noProxy)
	sink := testkit.NewSink(t)
	a := startAgent(t, connSettings(t, sink, "receivers::ebpf_conntrack::process_events: true"))
	view := newConnView(sink)
	c := engine.RunContainer(t, testkit.ContainerSpec{Name: "programs", Cmd: shell("sleep 0.2; busybox false; exec sh -c 'exit 7'")})
	info, err := c.Inspect(t.Context())
	require.NoError(t, err)
	require.NotNil(t, info.State)
	find := func(name string, want map[string]any) (delivery, error) {
		view.take()
		return first(view.events, func(d delivery) bool {
			return d.name == name && d.resource["container.id"] == c.ID && hasTags(d.attributes, want) == nil
		})
	}
	for _, e := range []struct {
		name string
		want map[string]any
	}{
		{"process.exec", map[string]any{"process.executable.name": "sh", "process.executable.path": "/bin/sh"}},
		{"process.exec", map[string]any{"process.executable.name": "sleep"}},
		{"process.exec", map[string]any{"process.executable.name": "busybox"}},
		{"process.exit", map[string]any{"process.executable.name": "sleep", "process.exit.code": int64(0)}},
		{"process.exit", map[string]any{"process.executable.name": "busybox", "process.exit.code": int64(1)}},
		{"process.exit", map[string]any{"process.executable.name": "sh", "process.exit.code": int64(7), "process.pid": int64(c.PID), "process.vpid": int64(1)}},
	} {
		testkit.Eventually(t, soon, func() error {
			_, err := find(e.name, e.want)
			if err != nil {
				err = fmt.Errorf("%s %v: %w", e.name, e.want, err)
			}
			return errors.Join(a.alive(), err)
		})
	}
	killed := engine.RunContainer(t, testkit.ContainerSpec{Name: "killed"})
	require.NoError(t, killed.Kill(t.Context(), "SIGKILL"))
	testkit.Eventually(t, soon, func() error {
		view.take()
		_, err := first(view.events, func(d delivery) bool {
			return d.name == "process.exit" && d.resource["container.id"] == killed.ID && d.attributes["process.exit.signal"] == int64(9)
		})
		return err
	})
	// An argument may be a secret.
	for _, e := range view.events {
		require.NotContains(t, fmt.Sprint(e.body, e.attributes), "exit 7")
	}
}

package e2e_test

import (
	"errors"
	"net/netip"
	"strconv"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

const failures = 20

// nowhere is of a range for documentation (RFC 5737). A rule drops what is sent
// there.
const nowhere = "198.51.100.7"

// failure is a way for connections to end other than in order.
type failure struct {
	name, address, told string   // the client's word for it
	flags               []string // of the client
	want                map[string]any
	destination         *testkit.Container
	served              netip.AddrPort // where address leads to
	established         bool
}

// Connections that are refused, never answered and reset are told as that, with the
// kernel's word for it.
func TestConntrackFailures(t *testing.T) {
	testkit.NeedBPF(t)
	rig := newConnRig(t, noProxy)
	rule(t, "raw", "PREROUTING", "-d", nowhere, "-j", "DROP")
	server := rig.program.server(t, rig.engine)
	served, closed := inContainer(t, server, servedPort), inContainer(t, server, servedPort+1)
	silent := netip.AddrPortFrom(netip.MustParseAddr(nowhere), servedPort)
	sink := testkit.NewSink(t)
	// What is told of by default is enough for these, but for their number.
	a := startAgent(t, connSettings(t, sink, "receivers::ebpf_conntrack::events: unusual",
		"receivers::ebpf_conntrack::unusual::per_interval: 0"))
	view := newConnView(sink)
	for _, f := range []failure{
		{
			name: "refused", address: closed.String(), told: "ECONNREFUSED", destination: server, served: closed,
			want: map[string]any{"connection.outcome": "failed", "error.type": "ECONNREFUSED", "connection.setup.time": nil},
		},
		{
			name: "timeout", address: silent.String(), told: "ETIMEDOUT", served: silent,
			flags: []string{"-at-once", strconv.Itoa(failures)},
			want:  map[string]any{"connection.outcome": "timeout", "error.type": "ETIMEDOUT", "connection.setup.time": nil},
		},
		{
			name: "reset", address: published(t, rig.engine).String(), destination: server, served: served, established: true,
			flags: []string{"-reset"}, want: map[string]any{"connection.outcome": "reset"},
		},
	} {
		t.Run(f.name, func(t *testing.T) { f.check(t, rig, a, view) })
	}
	// The server knows nothing of the first two, and was reset by the third.
	testkit.Eventually(t, soon, func() error { return view.arrived(server.ID, failures) })
	log, code := a.stop()
	require.Zero(t, code, log)
	view.take()
	require.Len(t, view.closed[server.ID], failures)
	for _, r := range view.closed[server.ID] {
		require.NoError(t, r.has(map[string]any{
			"connection.outcome": "reset", "error.type": "ECONNRESET", "network.direction": "incoming", "destination.container.id": server.ID,
		}))
	}
}

// check lets a client fail that often.
func (f *failure) check(t *testing.T, rig connRig, a *agent, view *connView) {
	t.Helper()
	args := append([]string{"ask", "-address", f.address, "-count", strconv.Itoa(failures)}, f.flags...)
	spec := rig.program.container(f.name, args...)
	spec.Adjust = func(_ *container.Config, h *container.HostConfig) {
		h.Sysctls = map[string]string{"net.ipv4.tcp_syn_retries": "1"}
	}
	client := rig.engine.RunContainer(t, spec)
	said := parseTold(t, ended(t, client, ""))
	require.Len(t, said, failures)
	for _, one := range said {
		require.Equal(t, f.told, one.Error)
	}
	ended := map[string]any{"connection.outcome": f.want["connection.outcome"]}
	testkit.Eventually(t, soon, func() error {
		return errors.Join(a.alive(), view.arrived(client.ID, failures),
			view.expects(client.ID, "container.connection.count", ended, failures))
	})
	f.want["process.executable.name"] = "connclient"
	wantEnd(f.want, "destination", f.served, netip.MustParseAddrPort(f.address))
	wantOwner(f.want, "source", client.ID)
	wantOwner(f.want, "destination", "")
	if f.destination != nil {
		wantOwner(f.want, "destination", f.destination.ID)
	}
	require.Len(t, view.closed[client.ID], failures)
	for _, r := range view.closed[client.ID] {
		require.NoError(t, r.has(f.want))
		if f.name == "timeout" {
			// One by sysctl, and of newer kernels some more in the first seconds
			// (net.ipv4.tcp_syn_linear_timeouts).
			require.Positive(t, r.number("connection.retransmits"))
		}
	}
	never := float64(failures)
	if f.established {
		never = 0
	}
	require.NoError(t, view.expects(client.ID, "container.edge.failures", nil, never))
}

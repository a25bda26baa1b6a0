package ebpfconntrackreceiver

import (
	"maps"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.uber.org/zap"

	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/internal/procstream"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/connstream"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/edges"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/join"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/nat"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/peers"
)

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// hairpin are the two ends of a connection of container c1 to a port of the host
// that is forwarded to container c2, with the sender masqueraded.
func hairpin() (client, server flight) {
	client = flight{
		record: connstream.Record{
			Local: at("172.17.0.2:40000"), Remote: at("192.0.2.1:8080"), Direction: connstream.Outgoing,
			Started: time.Second, Established: time.Second + 2*time.Millisecond, Ended: 2 * time.Second,
			Sent: 16, Received: 32, Retransmits: 1, RTT: 3 * time.Millisecond, PID: 7,
			Comm: [16]byte{'c', 'u', 'r', 'l'},
		},
		real:  nat.Pair{Local: at("172.17.0.1:50000"), Remote: at("172.17.0.3:80")},
		owner: "c1", direction: edges.Outgoing, peer: peers.Peer{Kind: peers.Container, Container: "c2"},
	}
	server = flight{
		record: connstream.Record{
			Local: at("172.17.0.3:80"), Remote: at("172.17.0.1:50000"), Direction: connstream.Incoming,
			Established: time.Second + 2*time.Millisecond, Ended: 2 * time.Second, Sent: 32, Received: 16,
		},
		real:  nat.Pair{Local: at("192.0.2.1:8080"), Remote: at("172.17.0.2:40000")},
		owner: "c2", direction: edges.Incoming, peer: peers.Peer{Kind: peers.Container, Container: "c1"},
	}
	return client, server
}

func logged(t *testing.T, f *flight, name func(netip.Addr) string) (plog.LogRecord, map[string]any) {
	t.Helper()
	d := newDiary("1.2.3")
	d.connection(container.Identity{ID: f.owner}, f, name)
	require.Equal(t, 1, d.logs.LogRecordCount())
	rl := d.logs.ResourceLogs().At(0)
	if f.owner != "" {
		require.Equal(t, map[string]any{"container.id": f.owner}, rl.Resource().Attributes().AsRaw())
	}
	r := rl.ScopeLogs().At(0).LogRecords().At(0)
	return r, r.Attributes().AsRaw()
}

func TestRecordOfBothEnds(t *testing.T) {
	client, server := hairpin()
	r, got := logged(t, &client, nil)
	require.Equal(t, "network.connection.closed", r.EventName())
	require.Equal(t, "Connection from 172.17.0.2:40000 to 172.17.0.3:80 closed.", r.Body().Str())
	require.Equal(t, map[string]any{
		"network.transport": "tcp", "network.type": "ipv4", "network.direction": "outgoing", "connection.outcome": "closed",
		"source.address": "172.17.0.2", "source.port": int64(40000), "source.container.id": "c1",
		"source.nat.address": "172.17.0.1", "source.nat.port": int64(50000),
		"destination.address": "172.17.0.3", "destination.port": int64(80), "destination.container.id": "c2",
		"destination.nat.address": "192.0.2.1", "destination.nat.port": int64(8080),
		"process.pid": int64(7), "process.executable.name": "curl",
		"connection.io.sent": int64(16), "connection.io.received": int64(32), "connection.retransmits": int64(1),
		"connection.rtt": 0.003, "connection.duration": 1.0, "connection.setup.time": 0.002,
	}, got)
	_, other := logged(t, &server, nil)
	for _, side := range []string{"source", "destination"} {
		for _, key := range []string{".address", ".port", ".container.id", ".nat.address", ".nat.port"} {
			require.Equal(t, got[side+key], other[side+key], side+key)
		}
	}
	require.Equal(t, "incoming", other["network.direction"])
	require.Equal(t, 0.998, other["connection.duration"])
	require.NotContains(t, other, "connection.rtt", "nothing was measured")
	require.NotContains(t, other, "connection.setup.time", "the client knows that")
}

func TestRecordOfFailure(t *testing.T) {
	f := flight{
		record: connstream.Record{
			Local: at("[2001:db8::1]:40000"), Remote: at("[2001:db8::2]:443"), Direction: connstream.Outgoing,
			Started: time.Second, Ended: 2 * time.Second, Outcome: connstream.Failed, Errno: syscall.ECONNREFUSED,
		},
		real: nat.Pair{Local: at("[2001:db8::1]:40000"), Remote: at("[2001:db8::2]:443")},
		peer: peers.Peer{Kind: peers.Group, Group: "external"},
	}
	r, got := logged(t, &f, func(a netip.Addr) string { return "name-of-" + a.String() })
	require.Equal(t, plog.SeverityNumberWarn, r.SeverityNumber())
	require.Equal(t, "ipv6", got["network.type"])
	require.Equal(t, "ECONNREFUSED", got["error.type"])
	require.Equal(t, "name-of-2001:db8::2", got["destination.domain"])
	require.NotContains(t, got, "source.domain", "who we are is known")
	require.NotContains(t, got, "destination.nat.address", "nothing was translated")
}

// Behind docker-proxy the other end is the one that it serves.
func TestRecordThroughProxy(t *testing.T) {
	client, _ := hairpin()
	client.real = nat.Pair{Local: client.record.Local, Remote: client.record.Remote}
	client.peer = peers.Peer{Kind: peers.Host}
	client.found = join.Found{Known: true, Owner: "c2", Remote: at("172.17.0.3:80"), Proxied: true}
	_, got := logged(t, &client, nil)
	require.Equal(t, true, got["connection.proxied"])
	require.Equal(t, "172.17.0.3", got["destination.address"])
	require.Equal(t, "192.0.2.1", got["destination.nat.address"])
	require.Equal(t, "c2", got["destination.container.id"])
	require.Equal(t, uint16(80), client.edge().ServerPort)
}

func TestRecordOfProcess(t *testing.T) {
	d := newDiary("1.2.3")
	when := time.Unix(1000, 0)
	cg := &container.Cgroup{Identity: container.Identity{ID: "c1", Runtime: "docker"}}
	d.process(&hostview.ProcessEvent{Kind: procstream.Executed, At: when, Container: cg, PID: 7, PPID: 6, VPID: 1, Comm: "sh", Program: "/bin/sh"})
	d.process(&hostview.ProcessEvent{
		Kind: procstream.Exited, At: when, Container: cg, PID: 7, PPID: 6, Comm: "sh",
		Exit: procstream.Exit{Status: 3 << 8, CPUTime: time.Second, MaxRSS: 4096},
	})
	d.process(&hostview.ProcessEvent{Kind: procstream.Exited, At: when, PID: 8, Comm: "x", Exit: procstream.Exit{Status: 9, OOM: true}})
	d.process(&hostview.ProcessEvent{Kind: procstream.Forked, At: when, PID: 9})
	require.Equal(t, 3, d.logs.LogRecordCount(), "a fork is no news")
	var got []map[string]any
	eachRecord(d.logs, func(r plog.LogRecord) {
		got = append(got, r.Attributes().AsRaw())
		got[len(got)-1]["event"] = r.EventName()
	})
	require.Equal(t, []map[string]any{
		{
			"event": "process.exec", "process.pid": int64(7), "process.parent_pid": int64(6), "process.vpid": int64(1),
			"process.executable.name": "sh", "process.executable.path": "/bin/sh",
		},
		{
			"event": "process.exit", "process.pid": int64(7), "process.parent_pid": int64(6), "process.executable.name": "sh",
			"process.exit.code": int64(3), "process.cpu.time": 1.0, "process.memory.peak": int64(4096),
		},
		{
			"event": "process.exit", "process.pid": int64(8), "process.parent_pid": int64(0), "process.executable.name": "x",
			"process.exit.signal": int64(9), "process.oom_killed": true, "process.cpu.time": 0.0,
		},
	}, got)
}

// points are those of a metric, by their attributes.
func points(md pmetric.Metrics, name string) (found []map[string]any) {
	for _, rm := range md.ResourceMetrics().All() {
		for _, m := range rm.ScopeMetrics().At(0).Metrics().All() {
			if m.Name() != name || m.Type() != pmetric.MetricTypeSum {
				continue
			}
			for _, p := range m.Sum().DataPoints().All() {
				one := p.Attributes().AsRaw()
				maps.Copy(one, rm.Resource().Attributes().AsRaw())
				one["value"], one["monotonic"] = p.IntValue(), m.Sum().IsMonotonic()
				found = append(found, one)
			}
		}
	}
	return found
}

func TestMetricsOfConnections(t *testing.T) {
	s := newServer(createDefaultConfig().(*Config), zap.NewNop())
	s.began = time.Now()
	s.pipe = quietPipeline(t)
	s.table = s.pipe.table
	client, server := hairpin()
	server.before = counted{sent: 30}
	failed := client
	failed.record.Outcome = connstream.Failed
	s.table.Add([]edges.Record{client.edge(), server.edge(), failed.edge()})
	s.looks.active.Store(&map[activeKey]int64{{"c1", edges.Outgoing}: 3})

	md := s.collect("1.2.3")
	require.ElementsMatch(t, []map[string]any{
		{"container.id": "c1", "network.transport": "tcp", "network.direction": "outgoing", "connection.outcome": "closed", "value": int64(1), "monotonic": true},
		{"container.id": "c1", "network.transport": "tcp", "network.direction": "outgoing", "connection.outcome": "failed", "value": int64(1), "monotonic": true},
		{"container.id": "c2", "network.transport": "tcp", "network.direction": "incoming", "connection.outcome": "closed", "value": int64(1), "monotonic": true},
	}, points(md, "container.connection.count"))
	require.ElementsMatch(t, []map[string]any{
		{"container.id": "c1", "peer.container.id": "c2", "server.port": int64(80), "network.direction": "outgoing", "network.io.direction": "transmit", "value": int64(32), "monotonic": true},
		{"container.id": "c1", "peer.container.id": "c2", "server.port": int64(80), "network.direction": "outgoing", "network.io.direction": "receive", "value": int64(64), "monotonic": true},
		{"container.id": "c2", "peer.container.id": "c1", "server.port": int64(80), "network.direction": "incoming", "network.io.direction": "transmit", "value": int64(2), "monotonic": true},
		{"container.id": "c2", "peer.container.id": "c1", "server.port": int64(80), "network.direction": "incoming", "network.io.direction": "receive", "value": int64(16), "monotonic": true},
	}, points(md, "container.edge.io"), "what was counted while it was open is not counted again")
	require.Len(t, points(md, "container.edge.failures"), 1)
	require.Equal(t, []map[string]any{
		{"container.id": "c1", "network.transport": "tcp", "network.direction": "outgoing", "value": int64(3), "monotonic": false},
	}, points(md, "container.connection.active"))

	s.looks.active.Store(&map[activeKey]int64{})
	require.EqualValues(t, 0, points(s.collect("1"), "container.connection.active")[0]["value"], "the last ones have gone")
	require.Empty(t, points(s.collect("1"), "container.connection.active"))
}

// Peers that are no container are words of a short list, and groups.
func TestPeerNames(t *testing.T) {
	got := map[string]struct{}{}
	for _, p := range []edges.Peer{
		edgePeerOf(&peers.Peer{Kind: peers.Host}), edgePeerOf(&peers.Peer{Kind: peers.Group, Group: "external"}),
		edgePeerOf(&peers.Peer{Kind: peers.Ambiguous}), edgePeerOf(&peers.Peer{}), {Kind: edges.Overflow},
		edgePeerOf(&peers.Peer{Kind: peers.Container, Containers: []string{"a", "b"}}),
	} {
		key, value := peerName(p)
		require.Equal(t, "peer.address", key)
		got[value] = struct{}{}
	}
	require.Equal(t, []string{"ambiguous", "external", "host", "overflow", "unknown"}, slices.Sorted(maps.Keys(got)))
}

func TestUnusual(t *testing.T) {
	u := createDefaultConfig().(*Config).Unusual
	f, _ := hairpin()
	require.False(t, f.isUnusual(&u))
	for _, outcome := range []connstream.Outcome{connstream.Failed, connstream.Timeout} {
		g := f
		g.record.Outcome = outcome
		require.True(t, g.isUnusual(&UnusualConfig{}), "always")
	}
	for name, change := range map[string]func(*connstream.Record){
		"reset":       func(r *connstream.Record) { r.Outcome = connstream.Reset },
		"retransmits": func(r *connstream.Record) { r.Retransmits = 3 },
		"setup":       func(r *connstream.Record) { r.Established = r.Started + time.Second },
		"rtt":         func(r *connstream.Record) { r.RTT = time.Second },
	} {
		g := f
		change(&g.record)
		require.True(t, g.isUnusual(&u), name)
		require.False(t, g.isUnusual(&UnusualConfig{}), "0 and false are never")
	}
}

package netnsreceiver

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/pdatatest/pmetrictest"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/netns"
	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/netnsreceiver/internal/metadata"
)

const testID = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"

var epoch = time.Date(2026, time.November, 21, 3, 12, 0, 0, time.UTC)

func member(id string) netns.Member {
	path := "/kubepods/burstable/pod8712f785-1a3e-41ec-a00b-e2dcc77431cb/" + id
	return netns.Member{Cgroup: &container.Cgroup{Identity: container.ParsePath(path), Path: path}, Started: epoch.Add(-time.Hour)}
}

// fullNamespace has every part, each with a number of its own.
func fullNamespace() *netns.Namespace {
	side := func(n uint64) netns.Counters {
		return netns.Counters{Bytes: n, Packets: n + 1, Errors: n + 2, Dropped: n + 3}
	}
	start := epoch.Add(-time.Hour)
	return &netns.Namespace{
		Inode: 4026532008, Members: []netns.Member{member(testID)}, Start: start,
		Sample: netns.Sample{
			Have: netns.PartDevices | netns.PartSNMP | netns.PartNetstat | netns.PartSockstat | netns.PartUDP | netns.PartConntrack,
			Interfaces: []netns.Interface{
				{Name: "lo", Receive: side(1), Transmit: side(1), Start: start},
				{Name: "eth0", Receive: side(100), Transmit: side(200), Start: start},
				{Name: "eth1", Receive: side(300), Transmit: side(400), Start: start.Add(time.Minute)},
			},
			TCP: netns.TCP{
				Established: 1, TimeWait: 2, ActiveOpens: 3, PassiveOpens: 4, EstabResets: 5,
				RetransSegs: 6, ListenOverflows: 7, ListenDrops: 8,
			},
			UDP: netns.UDP{
				InDatagrams: 11, OutDatagrams: 12, NoPorts: 13, InErrors: 14,
				RcvbufErrors: 15, InCsumErrors: 16, SndbufErrors: 17,
			},
			Conntrack: netns.Conntrack{Count: 21, Limit: 22},
		},
	}
}

func newTestEmitter(t testing.TB, adjust func(*Config)) *metricsEmitter {
	t.Helper()
	cfg := createDefaultConfig().(*Config)
	if adjust != nil {
		adjust(cfg)
	}
	e := newMetricsEmitter(cfg, receivertest.NewNopSettings(metadata.Type))
	e.build()
	return e
}

// The interface that came later has a start of its own.
func TestMetricsOfOneNamespace(t *testing.T) {
	e := newTestEmitter(t, nil)
	e.namespace(fullNamespace(), epoch)
	got := e.mb.Emit()
	testkit.CompareMetrics(t, filepath.Join("testdata", "container.yaml"), got,
		pmetrictest.IgnoreTimestamp(), pmetrictest.IgnoreStartTimestamp()) // the file has made-up ones
	require.Equal(t, 2, got.ResourceMetrics().Len())
	for i, start := range []time.Time{epoch.Add(-time.Hour), epoch.Add(-59 * time.Minute)} {
		for _, m := range got.ResourceMetrics().At(i).ScopeMetrics().At(0).Metrics().All() {
			p := m.Sum().DataPoints().At(0)
			require.Equal(t, start, p.StartTimestamp().AsTime(), m.Name())
			require.Equal(t, epoch, p.Timestamp().AsTime(), m.Name())
		}
	}
}

func TestMetricsOfTheHost(t *testing.T) {
	e := newTestEmitter(t, nil)
	n := fullNamespace()
	n.Host, n.Members = true, nil
	n.Sample.Interfaces[2].Start = n.Start
	n.Sample.Interfaces[2].Pair = true // not shown
	e.namespace(n, epoch)
	testkit.CompareMetrics(t, filepath.Join("testdata", "host.yaml"), e.mb.Emit(),
		pmetrictest.IgnoreTimestamp(), pmetrictest.IgnoreStartTimestamp())
}

func interfaceNames(md pmetric.Metrics) []string {
	var names []string
	for _, rm := range md.ResourceMetrics().All() {
		for _, m := range rm.ScopeMetrics().At(0).Metrics().All() {
			if m.Name() != "container.network.io" {
				continue
			}
			for _, p := range m.Sum().DataPoints().All() {
				name, _ := p.Attributes().Get("network.interface.name")
				if d, _ := p.Attributes().Get("network.io.direction"); d.Str() == "receive" {
					names = append(names, name.Str())
				}
			}
		}
	}
	return names
}

func TestWhichInterfacesAreShown(t *testing.T) {
	f := func(adjust func(*Config), want ...string) {
		t.Helper()
		e := newTestEmitter(t, adjust)
		n := fullNamespace()
		n.Sample.Interfaces[1].Pair = true
		e.namespace(n, epoch)
		require.Equal(t, want, interfaceNames(e.mb.Emit()))
	}
	f(nil, "eth1")
	f(func(c *Config) { c.PairedInterfaces = true }, "eth0", "eth1")
	f(func(c *Config) { c.ExcludeInterfaces = nil }, "lo", "eth1")
	f(func(c *Config) { c.PairedInterfaces, c.ExcludeInterfaces = true, []string{"eth?"} }, "lo")
}

// Without parts nothing is made up.
func TestNothingIsMadeUp(t *testing.T) {
	e := newTestEmitter(t, nil)
	n := fullNamespace()
	n.Sample.Have = netns.PartConntrack
	n.Sample.Conntrack.Limit = 0
	e.namespace(n, epoch)
	got := e.mb.Emit()
	require.Equal(t, 1, got.DataPointCount())
	require.Equal(t, "container.network.conntrack.count", got.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Name())
}

func TestSharedEvent(t *testing.T) {
	e := newLogsEmitter(createDefaultConfig().(*Config), receivertest.NewNopSettings(metadata.Type))
	e.lb = metadata.NewLogsBuilder(metadata.LogsBuilderConfig{
		Events: e.cfg.Events, ResourceAttributes: e.cfg.ResourceAttributes,
	}, e.set)
	n := fullNamespace()
	n.Members = append(n.Members, member("3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"))
	out := e.event(t.Context(), n, epoch)
	n.Members = n.Members[:1]
	e.event(t.Context(), n, epoch).ResourceLogs().MoveAndAppendTo(out.ResourceLogs())
	testkit.CompareLogs(t, filepath.Join("testdata", "shared.yaml"), out)
}

// The real thing: this host's numbers, from both instances.
func TestReceiverOnThisHost(t *testing.T) {
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "unshare", "nsenter")
	testkit.VerifyNoLeaks(t)
	cfg := createDefaultConfig().(*Config)
	cfg.CollectionInterval = 50 * time.Millisecond
	factory, set := NewFactory(), receivertest.NewNopSettings(metadata.Type)
	metrics, logs := new(consumertest.MetricsSink), new(consumertest.LogsSink)
	mr, err := factory.CreateMetrics(t.Context(), set, cfg, metrics)
	require.NoError(t, err)
	lr, err := factory.CreateLogs(t.Context(), set, cfg, logs)
	require.NoError(t, err)
	for _, c := range []component.Component{mr, lr} {
		require.NoError(t, c.Start(t.Context(), componenttest.NewNopHost()))
		t.Cleanup(func() { require.NoError(t, c.Shutdown(context.Background())) })
	}
	g := testkit.Cgroup(t, "/tallyman-test-netns/"+testID)
	testkit.Run(t, g, "unshare", "-n", "sleep", "600")
	testkit.Eventually(t, time.Minute, func() error { return saw(metrics, "container.network.tcp.reset", testID) })
	testkit.Eventually(t, time.Minute, func() error { return saw(metrics, "system.network.io", "") })
	require.Zero(t, logs.LogRecordCount(), "nothing is shared")
}

// saw looks for a metric of a container, or without an id of the host.
func saw(sink *consumertest.MetricsSink, name, wantID string) error {
	for _, md := range sink.AllMetrics() {
		for _, rm := range md.ResourceMetrics().All() {
			id, ok := rm.Resource().Attributes().Get("container.id")
			if ok != (wantID != "") || ok && id.Str() != wantID {
				continue
			}
			for _, m := range rm.ScopeMetrics().At(0).Metrics().All() {
				if m.Name() == name {
					return nil
				}
			}
		}
	}
	return errors.New("no " + name + " yet")
}

// A host without cgroups has a network nevertheless.
func TestRootPathWithoutCgroups(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	cfg.RootPath = t.TempDir()
	e := newMetricsEmitter(cfg, receivertest.NewNopSettings(metadata.Type))
	require.NoError(t, e.start(t.Context(), componenttest.NewNopHost()))
	md, err := e.scrape(t.Context())
	require.NoError(t, err)
	require.Zero(t, md.DataPointCount(), "an empty folder has no network either")
	require.NoError(t, e.shutdown(t.Context()))
	require.NoError(t, e.shutdown(t.Context()))
}

func BenchmarkEmit(b *testing.B) {
	e := newTestEmitter(b, nil)
	for _, v := range []struct {
		name string
		have netns.Part
	}{{"interfaces", netns.PartDevices}, {"all", 0xff}} {
		b.Run(v.name, func(b *testing.B) {
			n := fullNamespace()
			n.Sample.Have = v.have
			n.Sample.Interfaces = n.Sample.Interfaces[:2]
			b.ReportAllocs()
			for b.Loop() {
				e.namespace(n, epoch)
				e.mb.Emit()
			}
		})
	}
}

package cgroupreceiver

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/pdatatest/pmetrictest"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/tallymanhq/tallyman/internal/cgroup"
	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/hostview/sampler"
	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/cgroupreceiver/internal/metadata"
)

const testID = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"

var epoch = time.Date(2026, time.November, 20, 3, 12, 0, 0, time.UTC)

// fullTarget has every part, each with a number of its own.
func fullTarget() *sampler.Target {
	stall := func(n int) cgroup.Stall {
		return cgroup.Stall{Total: time.Duration(n) * time.Second, Avg10: float64(n) / 100, Avg60: float64(n) / 200, Avg300: float64(n) / 400}
	}
	pressure := func(n int) cgroup.Pressure {
		return cgroup.Pressure{Some: stall(n), Full: stall(n + 1), HasFull: true}
	}
	path := "/kubepods/burstable/pod8712f785-1a3e-41ec-a00b-e2dcc77431cb/" + testID
	t := &sampler.Target{
		Cgroup: container.Cgroup{Identity: container.ParsePath(path), Path: path},
		Start:  epoch.Add(-time.Hour), At: epoch,
		Sample: cgroup.Sample{
			Have: cgroup.PartsAll, Known: cgroup.PartsAll,
			CPU:         cgroup.CPU{Usage: 30 * time.Second, User: 20 * time.Second, System: 10 * time.Second, Periods: 1000, ThrottledPeriods: 250, ThrottledTime: 7 * time.Second},
			Memory:      cgroup.Memory{Usage: 900, Peak: 1200, RSS: 500, Cache: 300, InactiveFile: 200, Kernel: 50, Swap: 25, Faults: 777, MajorFaults: 77},
			IO:          []cgroup.DeviceIO{{Major: 8, Minor: 0, ReadBytes: 1, WriteBytes: 2, Reads: 3, Writes: 4}},
			Pids:        12,
			CPUPressure: pressure(1), MemoryPressure: pressure(3), IOPressure: pressure(5),
		},
		Events:         cgroup.Events{Low: 1, High: 2, Max: 3, OOM: 4, OOMKill: 6, OOMGroupKill: 1},
		Effective:      cgroup.Limits{Memory: 1000, Swap: 100, Pids: 64, CPUQuota: 50 * time.Millisecond, CPUPeriod: 100 * time.Millisecond},
		CPUs:           0.42,
		HasCPUs:        true,
		WorkingSet:     700,
		HasWorkingSet:  true,
		Kills:          sampler.Kills{Init: 1, Other: 2, Unknown: 3},
		Degraded:       &sampler.Degradation{},
		ProcessesKnown: true,
		Filesystem:     sampler.Filesystem{Capacity: 10000, Available: 4000, LayerUsage: 123, HasLayerUsage: true},
	}
	return t
}

func newTestEmitter(t testing.TB, adjust func(*Config)) *metricsEmitter {
	t.Helper()
	cfg := createDefaultConfig().(*Config)
	if adjust != nil {
		adjust(cfg)
	}
	set := receivertest.NewNopSettings(metadata.Type)
	e := newMetricsEmitter(cfg, set)
	e.mb = metadata.NewMetricsBuilder(cfg.MetricsBuilderConfig, set)
	e.devices = newDeviceNames(filepath.Join("testdata", "sysroot"))
	e.devices.names[[2]uint32{8, 0}] = "sda"
	return e
}

func TestMetricsOfOneContainer(t *testing.T) {
	e := newTestEmitter(t, func(c *Config) {
		c.Metrics.ContainerCPUPressureAverage.Enabled = true
		c.Metrics.ContainerMemoryPressureAverage.Enabled = true
		c.Metrics.ContainerIoPressureAverage.Enabled = true
		c.Metrics.ContainerFilesystemUsage.Enabled = true
	})
	target := fullTarget()
	e.live(epoch, target, e.telling.of(target))
	got := e.mb.Emit()
	testkit.CompareMetrics(t, filepath.Join("testdata", "full.yaml"), got,
		pmetrictest.IgnoreTimestamp(), pmetrictest.IgnoreStartTimestamp()) // the file has made-up ones
	for _, m := range got.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().All() {
		if m.Type() == pmetric.MetricTypeSum {
			p := m.Sum().DataPoints().At(0)
			require.Equal(t, target.Start, p.StartTimestamp().AsTime(), m.Name())
			require.Equal(t, epoch, p.Timestamp().AsTime(), m.Name())
		}
	}
}

// Without limits, without parts, before the second reading: nothing is made
// up.
func TestNothingIsMadeUp(t *testing.T) {
	e := newTestEmitter(t, nil)
	target := fullTarget()
	target.Sample.Have = cgroup.PartMemory
	target.Effective = cgroup.NoLimits()
	target.HasCPUs, target.ProcessesKnown, target.HasWorkingSet, target.Filesystem = false, false, false, sampler.Filesystem{}
	e.live(epoch, target, e.telling.of(target))
	got := e.mb.Emit()
	var names []string
	for _, m := range got.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().All() {
		names = append(names, m.Name())
	}
	require.ElementsMatch(t, []string{"container.memory.usage", "container.uptime"}, names)
}

func TestResourceOfACgroupWithoutContainer(t *testing.T) {
	e := newTestEmitter(t, nil)
	cg := container.Cgroup{Identity: container.ParsePath("/system.slice/nginx.service"), Path: "/system.slice/nginx.service"}
	got := resource(e.mb.NewResourceBuilder(), cg).Attributes().AsRaw()
	require.Equal(t, map[string]any{"linux.cgroup.path": "/system.slice/nginx.service"}, got)
}

// OTLP refuses a request with one string that is not UTF-8.
func TestNamesAreUTF8(t *testing.T) {
	e := newTestEmitter(t, nil)
	cg := container.Cgroup{Identity: container.ParsePath("/lxc/web\xff"), Path: "/lxc/web\xff"}
	got := resource(e.mb.NewResourceBuilder(), cg).Attributes().AsRaw()
	require.Equal(t, "web\uFFFD", got["container.id"])
}

func TestLogsOfAllEvents(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	e := newLogsEmitter(cfg, receivertest.NewNopSettings(metadata.Type))
	e.lb = metadata.NewLogsBuilder(metadata.LogsBuilderConfig{Events: cfg.Events, ResourceAttributes: cfg.ResourceAttributes}, e.set)
	target := fullTarget()
	target.InitPID, target.End, target.PidsPeak = 4711, epoch, 12
	victim := sampler.Victim{PID: 4712, VPID: 7, Executable: "worker", RSS: 4096, InitKnown: true}
	out := plog.NewLogs()
	for _, ev := range []sampler.Event{
		{Kind: sampler.Started, At: target.Start, Target: target},
		{Kind: sampler.OOMKilled, At: epoch, Target: target, Victim: victim, Survived: true, SurvivedKnown: true},
		{Kind: sampler.BecameDegraded, At: epoch, Target: target, Victim: victim, Count: 1, Reason: sampler.ReasonOOM},
		{Kind: sampler.Recovered, At: epoch, Target: target, Victim: victim, Duration: 90 * time.Second},
		{Kind: sampler.Stopped, At: epoch, Target: target},
		{Kind: sampler.OOMKilled, At: epoch, Target: target},
		{Kind: sampler.OOMKilled, At: epoch, Target: target, Victim: victim, Group: true, Count: 3},
		{Kind: sampler.BecameDegraded, At: epoch, Target: target, Victim: victim, Count: 1, Reason: sampler.ReasonCrash},
		{Kind: sampler.BecameDegraded, At: epoch, Target: target, Victim: victim, Count: 5, Reason: sampler.ReasonCrash},
		{Kind: sampler.BecameDegraded, At: epoch, Target: target, Victim: victim, Count: 5, Reason: sampler.ReasonGaveUp},
	} {
		e.event(t.Context(), &ev, epoch).ResourceLogs().MoveAndAppendTo(out.ResourceLogs())
	}
	testkit.CompareLogs(t, filepath.Join("testdata", "events.yaml"), out)
}

// The real thing, both instances on one view: a container comes, is measured,
// goes; each signal from its own instance.
func TestReceiverOnThisHost(t *testing.T) {
	testkit.NeedRoot(t)
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
	g := testkit.Cgroup(t, "/tallyman-test-receiver/"+testID)
	testkit.Eventually(t, time.Minute, func() error { return sawContainer(metrics) })
	g.Remove()
	testkit.Eventually(t, time.Minute, func() error { return sawEvents(logs, "container.start", "container.stop") })
}

// A root_path without cgroups is a mistake in the configuration. (A host
// without any is a status of the component: test/e2e has one.)
func TestRootPathWithoutCgroups(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	cfg.RootPath = t.TempDir()
	r, err := NewFactory().CreateMetrics(t.Context(), receivertest.NewNopSettings(metadata.Type), cfg, consumertest.NewNop())
	require.NoError(t, err)
	require.ErrorContains(t, r.Start(t.Context(), componenttest.NewNopHost()), "root_path")
	require.NoError(t, r.Shutdown(t.Context()))
}

func sawContainer(sink *consumertest.MetricsSink) error {
	for _, md := range sink.AllMetrics() {
		for _, rm := range md.ResourceMetrics().All() {
			if id, ok := rm.Resource().Attributes().Get("container.id"); ok && id.Str() == testID {
				return nil
			}
		}
	}
	return fmt.Errorf("container not among the metrics of %d passes", len(sink.AllMetrics()))
}

func sawEvents(sink *consumertest.LogsSink, want ...string) error {
	var got []string
	for _, ld := range sink.AllLogs() {
		for _, rl := range ld.ResourceLogs().All() {
			if id, ok := rl.Resource().Attributes().Get("container.id"); ok && id.Str() == testID {
				got = append(got, rl.ScopeLogs().At(0).LogRecords().At(0).EventName())
			}
		}
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("events %q, want %q", got, want)
	}
	return nil
}

func BenchmarkEmit(b *testing.B) {
	e := newTestEmitter(b, nil)
	target := fullTarget()
	b.ReportAllocs()
	for b.Loop() {
		e.live(epoch, target, e.telling.of(target))
		if got := e.mb.Emit(); got.ResourceMetrics().Len() != 1 {
			b.Fatal("nothing emitted")
		}
	}
}

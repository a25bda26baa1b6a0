package containerstatusreceiver

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/pdatatest/plogtest"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/pdatatest/pmetrictest"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/tallymanhq/tallyman/internal/docker"
	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/containerstatusreceiver/internal/metadata"
	"github.com/tallymanhq/tallyman/receiver/containerstatusreceiver/internal/roster"
)

var epoch = time.Date(2026, time.November, 21, 3, 12, 0, 0, time.UTC)

const (
	idA = "aa978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
	idB = "bbe8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d3e"
)

func running(id, health string, restarts int) *docker.Container {
	return &docker.Container{ID: id, Name: "web", Created: epoch.Add(-time.Hour), State: docker.State{
		Status: "running", Health: health, Restarts: restarts, StartedAt: epoch.Add(-time.Minute),
	}}
}

func newTestMetrics(cfg *Config) *metricsEmitter {
	return newMetricsEmitter(newWatches(nil), receivertest.NewNopSettings(metadata.Type), cfg)
}

func defaultConfig() *Config { return createDefaultConfig().(*Config) }

func TestMetrics(t *testing.T) {
	e := newTestMetrics(defaultConfig())
	r := e.roster
	r.Connected(docker.Engine{Runtime: "docker"})
	r.Put(running(idA, "unhealthy", 3))
	r.Put(running(idB, "", 0))
	r.Synced()
	got, err := e.scrape(t.Context())
	require.NoError(t, err)
	for _, rm := range got.ResourceMetrics().All() {
		for _, m := range rm.ScopeMetrics().At(0).Metrics().All() {
			if m.Type() == pmetric.MetricTypeSum {
				require.Equal(t, epoch.Add(-time.Hour), m.Sum().DataPoints().At(0).StartTimestamp().AsTime(), m.Name())
			}
		}
	}
	testkit.CompareMetrics(t, filepath.Join("testdata", "metrics.yaml"), got,
		pmetrictest.IgnoreTimestamp(), pmetrictest.IgnoreStartTimestamp())
}

// ones returns the states that are 1, of five.
func ones(t *testing.T, e *metricsEmitter) []string {
	t.Helper()
	got, err := e.scrape(t.Context())
	require.NoError(t, err)
	found := []string{}
	for _, rm := range got.ResourceMetrics().All() {
		for _, m := range rm.ScopeMetrics().At(0).Metrics().All() {
			if m.Name() != "container.state" {
				continue
			}
			require.Equal(t, 5, m.Gauge().DataPoints().Len())
			for _, p := range m.Gauge().DataPoints().All() {
				if state, _ := p.Attributes().Get("container.state"); p.IntValue() == 1 {
					found = append(found, state.Str())
				}
			}
		}
	}
	return found
}

func TestStates(t *testing.T) {
	e := newTestMetrics(defaultConfig())
	e.roster.Connected(docker.Engine{})
	e.roster.Synced()
	f := func(status string, started bool, want ...string) {
		t.Helper()
		c := running(idA, "", 0)
		c.State.Status = status
		if !started {
			c.State.StartedAt = time.Time{}
		}
		e.roster.Put(c)
		require.Equal(t, append([]string{}, want...), ones(t, e))
	}
	for _, same := range []string{"running", "paused", "restarting", "exited", "dead"} {
		f(same, true, same)
	}
	f("created", false)
	f("removing", true, "exited")
	f("removing", false)
	f("from a future engine", true)
}

// While the engine is away nobody knows how the containers are.
func TestNoMetricsWithoutAnEngine(t *testing.T) {
	e := newTestMetrics(defaultConfig())
	r := e.roster
	r.Connected(docker.Engine{})
	r.Put(running(idA, "", 0))
	got, err := e.scrape(t.Context())
	require.NoError(t, err)
	require.Zero(t, got.DataPointCount())
	r.Synced()
	got, err = e.scrape(t.Context())
	require.NoError(t, err)
	require.Equal(t, 6, got.DataPointCount(), "five states and the restarts")
}

// What is not known is left out.
func TestNotInspected(t *testing.T) {
	e := newTestMetrics(defaultConfig())
	e.roster.Connected(docker.Engine{})
	e.roster.Put(&docker.Container{ID: idA, Name: "web"})
	e.roster.Put(&docker.Container{ID: idB, Name: "db", State: docker.State{Status: "running"}})
	e.roster.Synced()
	got, err := e.scrape(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, got.ResourceMetrics().Len())
	require.Equal(t, 5, got.DataPointCount(), "the states, without the restarts")
	id, _ := got.ResourceMetrics().At(0).Resource().Attributes().Get("container.id")
	require.Equal(t, idB, id.Str())
}

func newTestLogs(t testing.TB, cfg *Config) *logsReceiver {
	t.Helper()
	l, err := newLogsReceiver(newWatches(nil), receivertest.NewNopSettings(metadata.Type), cfg, consumertest.NewNop())
	require.NoError(t, err)
	t.Cleanup(l.leave)
	return l
}

// everyKind has one event of each kind, and both ends of what can be good or bad.
func everyKind() []docker.Event {
	zero, one := 0, 1
	list := []docker.Event{
		{Type: "container", Action: "create", ID: idA, Name: "web", Image: "nginx:1.25"},
		{Type: "network", Action: "connect", ID: idB, Container: idA, Name: "web", Network: "shop_default"},
		{Type: "container", Action: "start", ID: idA, Name: "web", Image: "nginx:1.25"},
		{Type: "container", Action: "health_status", ID: idA, Name: "web", Health: "healthy"},
		{Type: "container", Action: "health_status", ID: idA, Name: "web", Health: "unhealthy"},
		{Type: "container", Action: "pause", ID: idA, Name: "web"},
		{Type: "container", Action: "unpause", ID: idA, Name: "web"},
		{Type: "container", Action: "rename", ID: idA, Name: "shop", OldName: "web"},
		{Type: "container", Action: "kill", ID: idA, Name: "shop", Signal: "15"},
		{Type: "container", Action: "oom", ID: idA, Name: "shop"},
		{Type: "container", Action: "die", ID: idA, Name: "shop", ExitCode: &one},
		{Type: "network", Action: "disconnect", ID: idB, Container: idA, Network: "shop_default"},
		{Type: "container", Action: "restart", ID: idA},
		{Type: "container", Action: "die", ID: idA, Name: "shop", ExitCode: &zero},
		{Type: "container", Action: "die", ID: idA, Name: "shop", Recovered: true},
		{Type: "container", Action: "destroy", ID: idA, Name: "shop", Recovered: true},
		{Type: "image", Action: "pull", ID: "nginx:1.26", Name: "nginx"},
		{Type: "image", Action: "delete", ID: "sha256:" + idB},
	}
	for i := range list {
		list[i].Time = epoch.Add(time.Duration(i) * time.Second)
	}
	return list
}

func items(events []docker.Event) []roster.Item {
	var list []roster.Item
	for _, e := range events {
		list = append(list, roster.Item{Event: e, Runtime: "docker", Observed: e.Time.Add(time.Millisecond)})
	}
	return list
}

func records(logs plog.Logs) []plog.LogRecord {
	var list []plog.LogRecord
	for _, rl := range logs.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, r := range sl.LogRecords().All() {
				list = append(list, r)
			}
		}
	}
	return list
}

func TestEvents(t *testing.T) {
	l := newTestLogs(t, defaultConfig())
	got := l.batch(t.Context(), items(everyKind()))
	list := records(got)
	require.Len(t, list, len(everyKind()))
	for i, r := range list { // in the order they happened
		at := epoch.Add(time.Duration(i) * time.Second)
		require.Equal(t, at, r.Timestamp().AsTime(), r.EventName())
		require.Equal(t, at.Add(time.Millisecond), r.ObservedTimestamp().AsTime(), r.EventName())
	}
	testkit.CompareLogs(t, filepath.Join("testdata", "events.yaml"), got,
		plogtest.IgnoreTimestamp(), plogtest.IgnoreObservedTimestamp()) // compared above
}

// Every kind in the table is tried by the golden test.
func TestEveryKindIsTried(t *testing.T) {
	tried := map[string]bool{}
	l := newTestLogs(t, defaultConfig())
	for _, r := range records(l.batch(t.Context(), items(everyKind()))) {
		tried[r.EventName()] = true
	}
	for key := range kinds {
		e := docker.Event{Type: key.object, Action: key.action, ID: idA}
		list := records(l.batch(t.Context(), items([]docker.Event{e})))
		require.Len(t, list, 1, key)
		require.True(t, tried[list[0].EventName()], key)
	}
	require.Len(t, tried, 15, "as many as metadata.yaml has")
}

func TestWhatIsNotTold(t *testing.T) {
	for _, e := range []docker.Event{
		{Type: "container", Action: "exec_create"}, {Type: "container", Action: "exec_die"},
		{Type: "container", Action: "top"}, {Type: "image", Action: "tag"}, {Type: "volume", Action: "create"},
	} {
		require.False(t, told(&e), "%s %s", e.Type, e.Action)
	}
}

// An event without a time has none, rather than one in the year 1754.
func TestUnknownTime(t *testing.T) {
	l := newTestLogs(t, defaultConfig())
	list := records(l.batch(t.Context(), []roster.Item{{Event: docker.Event{Type: "container", Action: "start", ID: idA}, Observed: epoch}}))
	require.Len(t, list, 1)
	require.Zero(t, list[0].Timestamp())
	require.Equal(t, epoch, list[0].ObservedTimestamp().AsTime())
}

func TestSwitchedOffEventIsNotMade(t *testing.T) {
	cfg := defaultConfig()
	cfg.Events.ContainerStart.Enabled = false
	l := newTestLogs(t, cfg)
	for _, r := range records(l.batch(t.Context(), items(everyKind()))) {
		require.NotEqual(t, "container.start", r.EventName())
	}
}

func BenchmarkScrape(b *testing.B) {
	e := newTestMetrics(defaultConfig())
	e.roster.Connected(docker.Engine{Runtime: "docker"})
	e.roster.Put(running(idA, "healthy", 1))
	e.roster.Synced()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.scrape(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

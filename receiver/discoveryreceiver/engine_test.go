package discoveryreceiver

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tallymanhq/tallyman/internal/discovery/rules"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

const metricsLabel = "io.opentelemetry.discovery.metrics"

// onEngine is a running discovery of a real engine that answers.
func onEngine(t *testing.T, change func(*Config)) (*testkit.Engine, *rig) {
	t.Helper()
	engine := testkit.Docker(t)
	_, err := engine.BusyboxImage(t.Context())
	require.NoError(t, err)
	testkit.VerifyNoLeaks(t)
	r := newRig(t, func(c *Config) {
		c.Endpoint = engine.Host()
		if change != nil {
			change(c)
		}
	})
	r.start(t)
	testkit.Eventually(t, time.Minute, func() error {
		if !r.running().engine.hasAnswered.Load() {
			return errors.New("the engine has not answered")
		}
		return nil
	})
	return engine, r
}

// application is a container that runs the test's binary under a name, which serves
// at port 8080.
func application(t *testing.T, name string, labels ...string) testkit.ContainerSpec {
	t.Helper()
	path := program(t, name)
	spec := testkit.ContainerSpec{
		Name: name, Cmd: []string{"/app/" + name}, Env: []string{serveEnv + "=:8080"},
		Binds: []string{filepath.Dir(path) + ":/app:ro"}, Labels: map[string]string{},
	}
	for i := 0; i < len(labels); i += 2 {
		spec.Labels[labels[i]] = labels[i+1]
	}
	return spec
}

// One application each is found by a rule about its name, by both forms of labels and
// by what it is; its metrics come within 5 s of the start, what is told of it has the
// container's name, and nothing comes 5 s after the end.
func TestEngine(t *testing.T) {
	engine, r := onEngine(t, func(c *Config) {
		c.Rules = []rules.Config{nginxRule(), prometheusRule(`name startsWith "ruled-" && port == 8080`)}
	})
	var end time.Time
	f := func(app testkit.ContainerSpec, metric, rule, reason string) {
		t.Helper()
		c := engine.RunContainer(t, app)
		begun := time.Now()
		r.collects(t, c.ID, metric)
		t.Logf("%s: the first metrics came after %v", app.Name, time.Since(begun).Round(10*time.Millisecond))
		require.NoError(t, c.Kill(t.Context(), ""))
		end = time.Now()
		r.stops(t)
		t.Logf("%s: gone after %v", app.Name, time.Since(end).Round(10*time.Millisecond))
		r.tells(t, c.ID, "start "+rule+" "+reason, "stop "+rule+" gone")
		require.Equal(t, []string{c.Name}, r.namesOf(c.ID), "also when it has gone")
	}
	f(application(t, "ruled"), "app_requests_total", "scrape", reasonRule)
	f(application(t, "nginx"), "nginx.requests", "status", reasonRule)
	f(application(t, "labelled", "prometheus.io/scrape", "true", "prometheus.io/port", "8080"), "app_requests_total", "prometheus.io", reasonLabel)
	f(application(t, "hinted", metricsLabel+"/enabled", "true", metricsLabel+"/scraper", "prometheus"), "app_requests_total", metricsLabel, reasonLabel)
	r.isSilent(t, end)
	require.Empty(t, r.warnings())
	require.Equal(t, map[string]int64{"new": 4}, r.numbers(t, "otelcol_discovery_starts"), "none of them was started twice")
}

// namesOf are what events call a container.
func (r *rig) namesOf(id string) []string {
	var all []string
	for _, ld := range r.records.AllLogs() {
		for _, rl := range ld.ResourceLogs().All() {
			if textOf(rl.Resource(), "container.id") == id {
				all = append(all, textOf(rl.Resource(), "container.name"))
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// A label that asks for what it may not have, and a rule whose template does not get
// along with the container: one warning each, with names, and the rest goes on. Who
// opts out is left alone.
func TestRefusedOnEngine(t *testing.T) {
	engine, r := onEngine(t, func(c *Config) {
		odd := prometheusRule("port == 8080")
		odd.Name, odd.ResourceAttributes = "odd", map[string]string{"shard": "`int(labels[\"shard\"])`"}
		c.Rules = []rules.Config{odd, nginxRule()}
	})
	quiet := engine.RunContainer(t, application(t, "nginx", "io.opentelemetry.discovery/ignore", "true"))
	web := engine.RunContainer(t, application(t, "nginx", metricsLabel+"/enabled", "true", metricsLabel+"/scraper", "redis"))
	r.collects(t, web.ID, "nginx.requests")
	require.Contains(t, r.events(web.ID), "failed odd rule")
	require.Contains(t, r.events(web.ID), "failed "+metricsLabel+" not_allowed")
	require.Len(t, r.warnings(), 2)
	for _, w := range r.warnings() {
		require.Equal(t, web.Name, w.ContextMap()["container"])
		require.Contains(t, []any{"odd", metricsLabel}, w.ContextMap()["rule"])
	}
	require.Equal(t, map[string]int64{reasonRule: 1, reasonNotAllowed: 1}, r.numbers(t, "otelcol_discovery_failures"))
	require.Empty(t, r.events(quiet.ID))
}

// A container that comes back at another address, because somebody else has its own by
// then, gets a receiver for that one in place of the one before: its series go on, and
// nothing that the old one says ends them.
func TestRestart(t *testing.T) {
	engine, r := onEngine(t, nil)
	other := engine.RunContainer(t, testkit.ContainerSpec{Name: "other"})
	require.NoError(t, other.Kill(t.Context(), ""))
	c := engine.RunContainer(t, application(t, "shop", "prometheus.io/scrape", "true", "prometheus.io/port", "8080"))
	r.collects(t, c.ID, "app_requests_total")
	before := addressOf(t, c)
	require.NoError(t, c.Kill(t.Context(), ""))
	require.NoError(t, other.Restart(t.Context()))
	require.NoError(t, c.Restart(t.Context()))
	restarted := time.Now()
	require.NotEqual(t, before, addressOf(t, c))
	testkit.Eventually(t, 4*soon, func() error {
		if n := len(r.samples(c.ID, "app_requests_total", restarted)); n < 3 {
			return fmt.Errorf("%d points since the restart; told %q", n, r.messages())
		}
		return nil
	})
	starts := r.numbers(t, "otelcol_discovery_starts")
	if starts[startNew] == 2 { // the engine took longer than a receiver lingers
		starts = map[string]int64{startNew: 1, startChanged: 1}
	}
	require.Equal(t, map[string]int64{startNew: 1, startChanged: 1}, starts)
	started := slices.DeleteFunc(r.events(c.ID), func(e string) bool { return strings.HasPrefix(e, "stop") })
	require.Equal(t, []string{"start prometheus.io label", "start prometheus.io label"}, started)
	require.Equal(t, []string{before + ":8080", addressOf(t, c) + ":8080"}, r.endpoints(c.ID))
	require.Empty(t, r.warnings())

	all := r.samples(c.ID, "app_requests_total", time.Time{})
	for n, s := range all[1:] {
		require.Equal(t, all[0].resource, s.resource, "another series")
		require.Less(t, s.at.Sub(all[n].at), 2*soon, "a gap")
		require.False(t, s.isEnd && s.at.After(restarted), "the series has ended at %v", s.at)
	}
	require.Contains(t, all[0].resource["service.instance.id"], c.Name+":8080")
}

func addressOf(t *testing.T, c *testkit.Container) string {
	t.Helper()
	found, err := c.Inspect(t.Context())
	require.NoError(t, err)
	for _, network := range found.NetworkSettings.Networks {
		return network.IPAddress.String()
	}
	return ""
}

// sample is a point of a sum.
type sample struct {
	at       time.Time
	isEnd    bool // it says that there is no value any more
	resource map[string]any
}

// samples are the points of a container's metric since a time, in the order in which they
// came.
func (r *rig) samples(id, metric string, since time.Time) []sample {
	var all []sample
	for _, md := range r.points.AllMetrics() {
		for _, rm := range md.ResourceMetrics().All() {
			if textOf(rm.Resource(), "container.id") != id {
				continue
			}
			for _, p := range pointsOf(rm, metric) {
				if at := p.Timestamp().AsTime(); at.After(since) {
					all = append(all, sample{at: at, isEnd: p.Flags().NoRecordedValue(), resource: rm.Resource().Attributes().AsRaw()})
				}
			}
		}
	}
	return all
}

func pointsOf(rm pmetric.ResourceMetrics, metric string) []pmetric.NumberDataPoint {
	var all []pmetric.NumberDataPoint
	for _, sm := range rm.ScopeMetrics().All() {
		for _, m := range sm.Metrics().All() {
			if m.Name() != metric {
				continue
			}
			for _, p := range m.Sum().DataPoints().All() {
				all = append(all, p)
			}
		}
	}
	return all
}

// endpoints are those of a container's starts.
func (r *rig) endpoints(id string) []string {
	var all []string
	for _, ld := range r.records.AllLogs() {
		for _, rl := range ld.ResourceLogs().All() {
			record := rl.ScopeLogs().At(0).LogRecords().At(0)
			if textOf(rl.Resource(), "container.id") == id && record.EventName() == eventStart {
				endpoint, _ := record.Attributes().Get(attributeEndpoint)
				all = append(all, endpoint.AsString())
			}
		}
	}
	return all
}

// Fifty containers in a loop, five at a time: each is collected from, and nothing is
// left of any. VerifyNoLeaks of the rig looks at goroutines and descriptors.
func TestFiftyContainers(t *testing.T) {
	engine, r := onEngine(t, func(c *Config) {
		c.Rules = []rules.Config{prometheusRule(`executable == "shop" && port == 8080`)}
	})
	const rounds, each = 10, 5
	spec := application(t, "shop")
	for range rounds {
		var all []*testkit.Container
		for range each {
			all = append(all, engine.RunContainer(t, spec))
		}
		for _, c := range all {
			r.collects(t, c.ID, "app_requests_total")
		}
		for _, c := range all {
			require.NoError(t, c.Remove(t.Context()))
		}
	}
	r.stops(t)
	require.Empty(t, r.running().runner.Status())
	require.EqualValues(t, 0, r.numbers(t, "otelcol_discovery_receivers")[""])
	require.Equal(t, map[string]int64{"new": rounds * each}, r.numbers(t, "otelcol_discovery_starts"))
	require.Equal(t, map[string]int64{"gone": rounds * each}, r.numbers(t, "otelcol_discovery_stops"))
	d := r.running()
	d.deciding.Lock()
	defer d.deciding.Unlock()
	for id, k := range d.known {
		if k.target != nil { // nil is somebody else's, that waits for its name
			require.NotContains(t, k.target.Executables, "shop", id)
		}
	}
}

package discoveryreceiver

import (
	"context"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"

	"github.com/tallymanhq/tallyman/internal/discovery/rules"
	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// Both receivers of a configuration are one discovery: each container's receiver runs
// once, with the real factories, and is gone with the container.
func TestLife(t *testing.T) {
	testkit.NeedCgroup(t)
	testkit.VerifyNoLeaks(t)
	r := newRig(t, func(c *Config) {
		c.Rules = []rules.Config{nginxRule(), prometheusRule(`executable == "shop" && port > 0`)}
	})
	r.start(t)
	require.Same(t, r.running(), r.logs.(*instance).holding.running)
	web, shop := startContainer(t, "nginx"), startContainer(t, "shop")
	r.collects(t, web.id, "nginx.requests")
	r.collects(t, shop.id, "app_requests_total")
	require.NotContains(t, r.collected(web.id), "app_requests_total")
	require.NotContains(t, r.collected(shop.id), "nginx.requests")
	r.tells(t, web.id, "start status rule")
	r.tells(t, shop.id, "start scrape rule")
	require.EqualValues(t, 2, r.numbers(t, "otelcol_discovery_receivers")[""])
	require.GreaterOrEqual(t, r.numbers(t, "otelcol_discovery_containers")[""], int64(2))
	require.Positive(t, r.numbers(t, "otelcol_receiver_accepted_metric_points")[""], "what is collected is counted as ours")
	web.group.Remove()
	shop.group.Remove()
	r.stops(t)
	r.tells(t, web.id, "start status rule", "stop status gone")
	before := r.points.DataPointCount()
	require.Equal(t, map[string]int64{"new": 2}, r.numbers(t, "otelcol_discovery_starts"))
	require.Equal(t, map[string]int64{"gone": 2}, r.numbers(t, "otelcol_discovery_stops"))
	require.Empty(t, r.numbers(t, "otelcol_discovery_failures"))
	require.Empty(t, r.warnings())
	// nginx is asked every second: nothing came of it.
	again := startContainer(t, "nginx")
	r.collects(t, again.id, "nginx.requests")
	require.Equal(t, before, r.points.DataPointCount()-countOf(r, again.id))
}

// countOf is the number of points that came of a container, each metric of nginx
// having one or, of its states, four.
func countOf(r *rig, id string) int {
	n := 0
	for _, md := range r.points.AllMetrics() {
		for _, rm := range md.ResourceMetrics().All() {
			if textOf(rm.Resource(), "container.id") == id {
				n += md.DataPointCount()
			}
		}
	}
	return n
}

// A container that is over is seen on the board until then.
func TestFindings(t *testing.T) {
	testkit.NeedCgroup(t)
	testkit.VerifyNoLeaks(t)
	view, err := hostview.Acquire(hostview.Options{Roots: hostfs.NewRoots("/")})
	require.NoError(t, err)
	defer view.Release()
	r := newRig(t, nil)
	r.start(t)
	web := startContainer(t, "nginx")
	found := func() string {
		if all := view.Findings().Get(web.id); len(all) > 0 {
			return all[0].Name
		}
		return ""
	}
	testkit.Eventually(t, patience, func() error { return is("nginx", found()) })
	web.group.Remove()
	testkit.Eventually(t, patience, func() error { return is("", found()) })
	other := startContainer(t, "nginx")
	testkit.Eventually(t, patience, func() error {
		if len(view.Findings().Get(other.id)) == 0 {
			return is("nginx", "")
		}
		return nil
	})
	require.NoError(t, r.metrics.Shutdown(t.Context()))
	require.Empty(t, view.Findings().Get(other.id), "nobody looks any more")
}

// With the first receiver that is shut down everything stops: the other one's data
// would meet a pipeline that is going.
func TestShutdown(t *testing.T) {
	testkit.NeedCgroup(t)
	testkit.VerifyNoLeaks(t)
	r := newRig(t, func(c *Config) { c.Rules = []rules.Config{nginxRule()} })
	r.start(t)
	web := startContainer(t, "nginx")
	r.collects(t, web.id, "nginx.requests")
	require.NoError(t, r.logs.Shutdown(t.Context()))
	require.Equal(t, []string{"start status rule", "stop status shutdown"}, r.events(web.id), "all is told before Shutdown returns")
	require.Nil(t, r.running())
	require.NoError(t, r.metrics.Shutdown(t.Context()))
	require.NoError(t, r.metrics.Shutdown(t.Context()))
}

func TestShutdownWithoutStart(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	r := newRig(t, nil)
	require.NoError(t, r.metrics.Shutdown(t.Context()))
	require.NoError(t, r.logs.Shutdown(t.Context()))
	require.NoError(t, r.logs.Shutdown(t.Context()))
}

// What cannot be on this host or in this distribution fails at the start, with
// nothing left.
func TestStartFails(t *testing.T) {
	testkit.NeedCgroup(t)
	testkit.VerifyNoLeaks(t)
	f := func(host component.Host, change func(*Config), want string) {
		t.Helper()
		r := newRig(t, change)
		require.ErrorContains(t, r.metrics.Start(t.Context(), host), want)
		require.NoError(t, r.metrics.Shutdown(t.Context()))
		require.NoError(t, r.logs.Shutdown(t.Context()))
	}
	f(componenttest.NewNopHost(), nil, "this host offers no factories")
	f(newCollector(), func(c *Config) { c.Rules = []rules.Config{{Rule: "true", Receiver: "redis"}} },
		`rules[0].receiver: rule "redis": this distribution has no receiver "redis"`)
	f(newCollector(), func(c *Config) { c.RootPath = t.TempDir() }, "endpoint: \"none\" leaves nobody to ask")
}

// The default configuration on a host without an engine: no warning, two lines.
func TestNoEngine(t *testing.T) {
	testkit.NeedCgroup(t)
	testkit.VerifyNoLeaks(t)
	r := newRig(t, func(c *Config) { c.Endpoint = "unix://" + t.TempDir() + "/docker.sock" })
	r.start(t)
	web := startContainer(t, "nginx")
	testkit.Eventually(t, patience, func() error {
		if _, isKnown := knownTo(r, web.id); !isKnown {
			return is("known", "unknown")
		}
		return nil
	})
	require.Equal(t, []string{
		"info: watching containers",
		"info: no container engine answers; containers are known by their cgroups and processes until one does",
	}, r.messages())
}

func knownTo(r *rig, id string) (*known, bool) {
	d := r.running()
	d.deciding.Lock()
	defer d.deciding.Unlock()
	k, ok := d.known[id]
	return k, ok && k.target != nil
}

// Two configurations of one factory are two discoveries.
func TestConfigurationsAreApart(t *testing.T) {
	s := &shared{holdings: map[*Config]*holding{}}
	one, two := createDefaultConfig().(*Config), createDefaultConfig().(*Config)
	r := newRig(t, nil)
	set := r.metrics.(*instance).holding.set
	a := s.join(one, set, func(*holding) {})
	b := s.join(one, set, func(*holding) {})
	c := s.join(two, set, func(*holding) {})
	require.Same(t, a.holding, b.holding)
	require.NotSame(t, a.holding, c.holding)
	for _, i := range []*instance{a, b, c} {
		require.NoError(t, i.Shutdown(context.Background()))
	}
	require.Empty(t, maps.Clone(s.holdings))
}

// A container that only the kernel has shown waits for its name, and not for
// ever.
func TestUnnamed(t *testing.T) {
	testkit.NeedCgroup(t)
	d := &discovery{}
	now := time.Now()
	f := func(name string, age time.Duration, want time.Duration) {
		t.Helper()
		require.Equal(t, want, d.unnamed(targetNamed(name), &known{since: now.Add(-age)}, now))
	}
	f("", 0, 0) // there is no engine
	d.engine.isAsked.Store(true)
	f("", 0, nameWithin)
	f("", time.Second, nameWithin-time.Second)
	f("", time.Hour, 0)
	f("web", 0, 0)
	d.engine.isAway.Store(true)
	f("", 0, 0)

	view, err := hostview.Acquire(hostview.Options{Roots: hostfs.NewRoots("/")})
	require.NoError(t, err)
	t.Cleanup(view.Release)
	d.view = view
	f("", 0, 0) // container_tag has named nobody yet
	view.Identities().Put("4711", &target.Identity{Name: "web"})
	f("", 0, nameWithin)
	view.Identities().Remove("4711")
}

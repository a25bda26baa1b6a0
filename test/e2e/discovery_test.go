package e2e_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// foundWithin and goneWithin are the promises for the first metrics of a container and
// for the last ones.
const (
	foundWithin = 5 * time.Second
	goneWithin  = 5 * time.Second
)

// byName and byTechnology are rules as users write them; etcd serves Prometheus'
// format itself.
const (
	byName = `
receivers:
  discovery:
    rules:
      - name: status page
        rule: name startsWith "ruled-web-" && port == 80
        receiver: nginx
        config: {endpoint: 'http://` + "`endpoint`" + `/status', collection_interval: 1s}
      - name: exporter
        rule: name startsWith "ruled-node-" && port == 9100
        receiver: prometheus
        config:
          config:
            scrape_configs:
              - {job_name: '` + "`name`" + `', scrape_interval: 1s, static_configs: [{targets: ['` + "`endpoint`" + `']}]}
`
	byTechnology = `
receivers:
  discovery:
    rules:
      - name: status page
        rule: technology == "nginx" && confidence == "certain" && port == 80
        receiver: nginx
        config: {endpoint: 'http://` + "`endpoint`" + `/status', collection_interval: 1s}
      - name: store
        rule: technology == "etcd" && confidence == "certain" && port == 2379
        receiver: prometheus
        config:
          config:
            scrape_configs:
              - {job_name: '` + "`name`" + `', scrape_interval: 1s, static_configs: [{targets: ['` + "`endpoint`" + `']}]}
`
)

// application is a program in a container and what is to come of it.
type application struct {
	testkit.ContainerSpec
	metric       string
	technology   string // "" is none
	rule, reason string // why its receiver was started
}

// Debian's nginx and programs that serve Prometheus' format are found by rules about
// their names, by their labels with the default configuration alone, and by what they
// are recognised as. What comes of them has the container's tags.
func TestDiscovery(t *testing.T) {
	testkit.NeedRoot(t)
	engine := testkit.Docker(t)
	nginx, exporter := engine.NginxSpec(t), engine.ExporterSpec(t)
	f := func(name, rules string, all ...application) {
		t.Run(name, func(t *testing.T) {
			a := startDiscoverer(t, engine, rules)
			var ended []ending
			for _, app := range all {
				// The machine may be busy: the better of two shows what it takes.
				one, two := a.comesAndGoes(t, engine, app), a.comesAndGoes(t, engine, app)
				require.Less(t, min(one.found, two.found), foundWithin, app.Name)
				require.Less(t, min(one.gone, two.gone), goneWithin, app.Name)
				ended = append(ended, one, two)
			}
			a.staySilent(t, ended)
			_, code := a.stop()
			require.Zero(t, code)
			for _, app := range all {
				require.Empty(t, a.ownComplaints(t, app.Name))
			}
		})
	}
	as := func(spec testkit.ContainerSpec, name string, labels map[string]string) testkit.ContainerSpec {
		spec.Name, spec.Labels = name, labels
		return spec
	}
	f("by rule", byName,
		application{as(nginx, "ruled-web", nil), "nginx.requests", "nginx", "status page", "rule"},
		application{as(exporter, "ruled-node", nil), "node_time_seconds", "", "exporter", "rule"})
	f("by label", "",
		application{as(nginx, "labelled-web", map[string]string{
			"io.opentelemetry.discovery.metrics/enabled": "true", "io.opentelemetry.discovery.metrics/scraper": "nginx",
			"io.opentelemetry.discovery.metrics/config": "endpoint: http://`endpoint`/status\ncollection_interval: 1s",
		}), "nginx.requests", "nginx", "io.opentelemetry.discovery.metrics", "label"},
		application{as(exporter, "labelled-node", map[string]string{
			"prometheus.io/scrape": "true", "prometheus.io/port": "9100",
		}), "node_time_seconds", "", "prometheus.io", "label"})
	f("by recognition", byTechnology,
		application{as(nginx, "web", nil), "nginx.requests", "nginx", "status page", "rule"},
		application{as(etcdSpec(t, engine), "store", nil), "etcd_server_has_leader", "etcd", "store", "rule"})
}

// etcdSpec is a container with Debian's etcd.
func etcdSpec(t *testing.T, engine *testkit.Engine) testkit.ContainerSpec {
	t.Helper()
	return testkit.ContainerSpec{Image: engine.Debian(t, "etcd-server"), Cmd: []string{
		"etcd", "--data-dir", "/tmp/etcd", "--listen-client-urls", "http://0.0.0.0:2379", "--advertise-client-urls", "http://127.0.0.1:2379",
	}}
}

// atOnce sends all that is tagged to a backend as it comes, so that the way to there
// takes no time.
const atOnce = `
exporters:
  otlp_grpc:
    endpoint: ${env:OTEL_EXPORTER_OTLP_ENDPOINT}
    tls: {insecure: true}
    sending_queue: {enabled: false}
service:
  pipelines:
    metrics: {exporters: [flight_recorder, forward/metrics, otlp_grpc]}
    logs: {exporters: [flight_recorder, forward/events, otlp_grpc]}
`

// startDiscoverer starts an agent with the default configuration, and with rules if
// there are any.
func startDiscoverer(t *testing.T, engine *testkit.Engine, rules string) *tagAgent {
	t.Helper()
	sink := testkit.NewSink(t)
	configs := []string{"otelcol-config.yaml", ownConfig(t, atOnce)}
	if rules != "" {
		configs = append(configs, ownConfig(t, rules))
	}
	return follow(t, sink, settings{configs: configs, env: []string{
		"TALLYMAN_DOCKER_HOST=" + engine.Host(), "OTEL_EXPORTER_OTLP_ENDPOINT=http://" + sink.Address(),
	}})
}

// ending is an application that has come and gone.
type ending struct {
	id, metric  string
	killed      time.Time
	points      int           // until its receiver was stopped
	found, gone time.Duration // from the container's start and end
}

// comesAndGoes runs an application and kills it. Found is how long the first tagged
// metric took from when the engine said that the container runs, gone is the end of its
// receiver from when the engine had killed it.
func (a *tagAgent) comesAndGoes(t *testing.T, engine *testkit.Engine, app application) ending {
	t.Helper()
	c := engine.RunContainer(t, app.ContainerSpec)
	begun := time.Now()
	want := map[string]any{"container.id": c.ID, "container.name": c.Name, "container.runtime.name": "docker", "container.image.name": "tallyman-test/debian"}
	if app.technology != "" {
		want["service.technology"] = app.technology
	}
	a.wait(t, func() (delivery, error) {
		d, err := a.point(c.ID, app.metric, nil)
		return d, errors.Join(err, hasTags(d.resource, want))
	})
	e := ending{id: c.ID, metric: app.metric, found: time.Since(begun)}
	start := a.awaitEvent(t, c.ID, scopeDiscovery, "discovery.receiver.start")
	require.Equal(t, app.rule, start.attributes["discovery.rule"])
	require.Equal(t, app.reason, start.attributes["discovery.reason"])
	require.Equal(t, c.Name, start.resource["container.name"])

	require.NoError(t, c.Kill(t.Context(), ""))
	e.killed = time.Now()
	stop := a.awaitEvent(t, c.ID, scopeDiscovery, "discovery.receiver.stop")
	e.gone, e.points = time.Since(e.killed), len(moments(a.sink, c.ID, app.metric))
	require.Equal(t, "gone", stop.attributes["discovery.reason"])
	t.Logf("%s: its metrics came %v after the start; its receiver was stopped %v after the end", c.Name, e.found.Round(time.Millisecond), e.gone.Round(time.Millisecond))
	return e
}

// staySilent waits for longer than what is promised and any interval of these
// applications, and checks that nothing came of those that have ended.
func (a *tagAgent) staySilent(t *testing.T, ended []ending) {
	t.Helper()
	testkit.Eventually(t, soon, func() error { return passed(ended[len(ended)-1].killed, goneWithin+3*time.Second) })
	for _, e := range ended {
		require.Len(t, moments(a.sink, e.id, e.metric), e.points, "%s of container %.12s after its receiver was stopped", e.metric, e.id)
	}
}

const scopeDiscovery = "github.com/tallymanhq/tallyman/receiver/discoveryreceiver"

var errEarly = errors.New("too early")

func passed(since time.Time, d time.Duration) error {
	if time.Since(since) < d {
		return fmt.Errorf("%v after %v: %w", d, since.Format(time.TimeOnly), errEarly)
	}
	return nil
}

// Who opts out is left alone by rules and labels, and a label that asks for what it may
// not have is one warning; what else runs is collected. Every agent of this host would warn,
// so that none runs beside it.
func TestDiscoveryOptOut(t *testing.T) {
	testkit.NeedRoot(t)
	engine := testkit.Docker(t)
	spec := engine.ExporterSpec(t)
	a := startDiscoverer(t, engine, byName)
	start := func(name string, labels map[string]string) *testkit.Container {
		spec := spec
		spec.Name, spec.Labels = name, labels
		return engine.RunContainer(t, spec)
	}
	quiet := start("ruled-node", map[string]string{
		"io.opentelemetry.discovery/ignore": "true", "prometheus.io/scrape": "true", "prometheus.io/port": "9100",
	})
	off := start("ruled-node", map[string]string{"io.opentelemetry.discovery.metrics/enabled": "false"})
	asking := start("asking", map[string]string{
		"io.opentelemetry.discovery.metrics.9100/enabled": "true", "io.opentelemetry.discovery.metrics.9100/scraper": "host_metrics",
	})
	heard := start("ruled-node", nil)
	a.wait(t, func() (delivery, error) { return a.point(heard.ID, "node_time_seconds", nil) })
	failed := a.awaitEvent(t, asking.ID, scopeDiscovery, "discovery.receiver.failed")
	require.Equal(t, "not_allowed", failed.attributes["discovery.reason"])
	require.Equal(t, "host_metrics", failed.attributes["discovery.receiver"])
	require.Contains(t, failed.attributes["error.message"], "allow_receivers: prometheus, nginx, file_log")

	// Two looks later there is nothing more to tell.
	settled := time.Now()
	testkit.Eventually(t, soon, func() error { return passed(settled, 10*time.Second) })
	for _, c := range []*testkit.Container{quiet, off, asking} {
		_, err := a.record(func(d delivery) bool {
			return d.name == "discovery.receiver.start" && d.resource["container.id"] == c.ID
		})
		require.ErrorIs(t, err, errMissing, c.Name)
		require.Empty(t, moments(a.sink, c.ID, "node_time_seconds"), c.Name)
	}
	lines := a.ownComplaints(t, quiet.Name, off.Name, asking.Name, heard.Name)
	require.Len(t, lines, 1)
	for _, word := range []string{asking.Name, "host_metrics", "io.opentelemetry.discovery.metrics", "allow_receivers"} {
		require.Contains(t, lines[0], word)
	}
}

// What is wrong with rules whatever containers come is said at the start, all of it at
// once, and nothing is started.
func TestDiscoveryMistakes(t *testing.T) {
	t.Parallel()
	f := func(name, field, value string, words ...string) {
		t.Run(name, func(t *testing.T) {
			a := launch(t, settings{set: []string{"receivers::discovery::" + field + ": " + value}})
			log, code := a.wait(refuseWithin)
			t.Logf("exit code %d, %s", code, lastWords(log))
			require.Positive(t, code, "ended without an error (-1: by a signal)")
			require.NotContains(t, log, "Everything is ready")
			require.NotContains(t, log, "goroutine ")
			for _, word := range append(words, "discovery") {
				require.Contains(t, lastWords(log), word)
			}
		})
	}
	f("broken expression", "rules", `[{name: web, rule: 'prot == 80', receiver: nginx}]`, `rules[0]: rule "web"`, "unknown name prot")
	f("half an expression", "rules", `[{name: web, rule: 'port == ', receiver: nginx}]`, `rules[0]: rule "web"`, "compile rule")
	f("no condition", "rules", `[{name: web, rule: 'port + 1', receiver: nginx}]`, `rules[0]: rule "web"`, "bool")
	f("unknown receiver", "rules", `[{name: cache, rule: 'port == 6379', receiver: redis}]`, `rules[0].receiver: rule "cache"`, `no receiver "redis"`)
	f("bad template", "rules", "[{name: web, rule: 'port == 80', receiver: nginx, config: {endpoint: 'http://`endpoint'}}]",
		`rules[0]: rule "web"`, "config::endpoint", "is not closed")
	f("unknown name in a template", "rules", "[{name: web, rule: 'port == 80', receiver: nginx, config: {endpoint: 'http://`endpint`'}}]",
		`rules[0]: rule "web"`, "config::endpoint")
	f("two at once", "rules", `[{name: web, rule: 'prot == 80', receiver: nginx}, {name: cache, rule: 'pord == 1', receiver: nginx}]`,
		"unknown name prot", "unknown name pord", `"web"`, `"cache"`)
	f("no type of a receiver", "allow_receivers", `[prometheus, 'not/a type']`, "allow_receivers[1]")
	f("signals that there are not", "rules", `[{name: web, rule: 'port == 80', receiver: nginx, signals: [logs]}]`, `rules[0].signals: rule "web"`, "no logs")
	f("unknown key", "rulez", "[]", "rulez")
}

package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

const (
	scopeCgroup = "github.com/tallymanhq/tallyman/receiver/cgroupreceiver"
	scopeStatus = "github.com/tallymanhq/tallyman/receiver/containerstatusreceiver"
)

var errUntagged = errors.New("not tagged")

// delivery is a data point, a record or a span, as a backend gets it.
type delivery struct {
	scope      string
	name       string // of the metric, event or span
	body       string
	severity   plog.SeverityNumber
	value      float64
	resource   map[string]any
	attributes map[string]any
}

// pointKey names a series.
type pointKey struct{ container, metric, attributes string }

// tagAgent is an agent with the real configuration, the engine behind
// docker_filter, and a backend for all it sends. Not for concurrent use.
type tagAgent struct {
	*agent
	sink  *testkit.Sink
	taken struct{ metrics, logs, traces int }

	points  map[pointKey]delivery // the latest
	seen    map[string]int        // resources of metrics by container
	tagged  map[string]int        // those of them that have a container.name
	records []delivery
	spans   []delivery
}

// tagSettings are those of an agent that asks the engine at host, and sends to
// the sink at once what the overlay sends every 10 s.
func tagSettings(sink *testkit.Sink, host string, set ...string) settings {
	return settings{
		configs: []string{"otelcol-config.yaml", "deploy/otlp.yaml"},
		env: []string{
			"TALLYMAN_DOCKER_HOST=" + host, "OTEL_EXPORTER_OTLP_ENDPOINT=http://" + sink.Address(),
		},
		set: append([]string{
			"exporters::otlp_grpc::tls::insecure: true", // http:// alone does not switch TLS off
			"processors::interval::interval: 1s",
			"receivers::container_status::collection_interval: 1s",
		}, set...),
	}
}

func startTagAgent(t *testing.T, host string, set ...string) *tagAgent {
	t.Helper()
	sink := testkit.NewSink(t)
	return follow(t, sink, tagSettings(sink, host, set...))
}

// follow starts an agent that sends to the sink.
func follow(t *testing.T, sink *testkit.Sink, s settings) *tagAgent {
	t.Helper()
	return &tagAgent{
		agent: startAgent(t, s), sink: sink,
		points: map[pointKey]delivery{}, seen: map[string]int{}, tagged: map[string]int{},
	}
}

// take reads what has arrived since the last time.
func (a *tagAgent) take() {
	metrics, logs, traces := a.sink.Metrics(), a.sink.Logs(), a.sink.Traces()
	for _, batch := range metrics[a.taken.metrics:] {
		for _, resource := range batch.ResourceMetrics().All() {
			a.takeMetrics(resource)
		}
	}
	for _, batch := range logs[a.taken.logs:] {
		a.records = append(a.records, recordsOf(batch)...)
	}
	for _, batch := range traces[a.taken.traces:] {
		for _, resource := range batch.ResourceSpans().All() {
			for _, scope := range resource.ScopeSpans().All() {
				for _, span := range scope.Spans().All() {
					a.spans = append(a.spans, delivery{name: span.Name(), resource: resource.Resource().Attributes().AsRaw()})
				}
			}
		}
	}
	a.taken.metrics, a.taken.logs, a.taken.traces = len(metrics), len(logs), len(traces)
}

func recordsOf(batch plog.Logs) []delivery {
	var found []delivery
	for _, resource := range batch.ResourceLogs().All() {
		attributes := resource.Resource().Attributes().AsRaw()
		for _, scope := range resource.ScopeLogs().All() {
			for _, r := range scope.LogRecords().All() {
				found = append(found, delivery{
					scope: scope.Scope().Name(), name: r.EventName(), body: r.Body().AsString(), severity: r.SeverityNumber(),
					resource: attributes, attributes: r.Attributes().AsRaw(),
				})
			}
		}
	}
	return found
}

func (a *tagAgent) takeMetrics(from pmetric.ResourceMetrics) {
	resource := from.Resource().Attributes().AsRaw()
	id, _ := resource["container.id"].(string)
	a.seen[id]++
	if _, ok := resource["container.name"]; ok {
		a.tagged[id]++
	}
	for _, scope := range from.ScopeMetrics().All() {
		for _, metric := range scope.Metrics().All() {
			for _, p := range pointsOf(metric).All() {
				d := delivery{
					scope: scope.Scope().Name(), name: metric.Name(), value: p.DoubleValue(),
					resource: resource, attributes: p.Attributes().AsRaw(),
				}
				if p.ValueType() == pmetric.NumberDataPointValueTypeInt {
					d.value = float64(p.IntValue())
				}
				a.points[pointKey{id, d.name, fmt.Sprint(d.attributes)}] = d
			}
		}
	}
}

func pointsOf(metric pmetric.Metric) pmetric.NumberDataPointSlice {
	switch metric.Type() {
	case pmetric.MetricTypeSum:
		return metric.Sum().DataPoints()
	case pmetric.MetricTypeGauge:
		return metric.Gauge().DataPoints()
	}
	return pmetric.NewNumberDataPointSlice()
}

// point returns the latest point of a container's metric that fits, nil fits all.
func (a *tagAgent) point(id, metric string, fits func(delivery) bool) (delivery, error) {
	a.take()
	for key, d := range a.points {
		if key.container == id && key.metric == metric && (fits == nil || fits(d)) {
			return d, nil
		}
	}
	return delivery{}, fmt.Errorf("%s of container %.12s: %w", metric, id, errMissing)
}

// record returns the first record that fits.
func (a *tagAgent) record(fits func(delivery) bool) (delivery, error) {
	a.take()
	return first(a.records, fits)
}

// span returns the first span that fits.
func (a *tagAgent) span(fits func(delivery) bool) (delivery, error) {
	a.take()
	return first(a.spans, fits)
}

func first(all []delivery, fits func(delivery) bool) (delivery, error) {
	for _, d := range all {
		if fits(d) {
			return d, nil
		}
	}
	return delivery{}, fmt.Errorf("one of %d: %w", len(all), errMissing)
}

// wait waits for what find finds.
func (a *tagAgent) wait(t *testing.T, find func() (delivery, error)) delivery {
	t.Helper()
	var found delivery
	testkit.Eventually(t, soon, func() (err error) {
		found, err = find()
		return errors.Join(err, a.alive())
	})
	return found
}

// awaitEvent waits for an event of a container.
func (a *tagAgent) awaitEvent(t *testing.T, id, scope, name string) delivery {
	t.Helper()
	return a.wait(t, func() (delivery, error) {
		d, err := a.record(func(d delivery) bool {
			return d.scope == scope && d.name == name && d.resource["container.id"] == id
		})
		if err != nil {
			err = fmt.Errorf("event %s of container %.12s: %w", name, id, err)
		}
		return d, err
	})
}

// awaitTags waits until the latest data of a container have these tags.
func (a *tagAgent) awaitTags(t *testing.T, id string, want map[string]any) {
	t.Helper()
	testkit.Eventually(t, soon, func() error {
		d, err := a.point(id, "container.uptime", nil)
		return errors.Join(err, hasTags(d.resource, want))
	})
}

// hasTags tells which of the wanted attributes are missing or others.
func hasTags(resource, want map[string]any) error {
	var wrong []error
	for key, value := range want {
		if got, ok := resource[key]; !ok || fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", value) {
			wrong = append(wrong, fmt.Errorf("%s is %#v, want %#v: %w", key, got, value, errUntagged))
		}
	}
	return errors.Join(wrong...)
}

// hostTags are what all data of this host carry without being configured.
func hostTags(t *testing.T) map[string]any {
	t.Helper()
	name, err := os.Hostname()
	require.NoError(t, err)
	id, err := os.ReadFile("/etc/machine-id")
	require.NoError(t, err)
	release, err := os.ReadFile("/etc/os-release")
	require.NoError(t, err)
	tags := map[string]any{
		"host.name": name, "host.id": strings.TrimSpace(string(id)), "host.arch": runtime.GOARCH, "os.type": "linux",
	}
	for line := range strings.Lines(string(release)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "PRETTY_NAME":
			tags["os.description"] = strings.Trim(value, `"`)
		case "VERSION_ID":
			tags["os.version"] = strings.Trim(value, `"`)
		}
	}
	return tags
}

// withHost adds the tags of the host.
func withHost(t *testing.T, tags map[string]any) map[string]any {
	t.Helper()
	for key, value := range hostTags(t) {
		tags[key] = value
	}
	return tags
}

// onNamedPage returns nil once the page has a container under its name.
func (a *tagAgent) onNamedPage(id, name string) error {
	body, err := get(a.metrics)
	if err != nil {
		return err
	}
	for line := range bytes.Lines(body) {
		if bytes.Contains(line, []byte(`container_id="`+id+`"`)) && bytes.Contains(line, []byte(`container_name="`+name+`"`)) {
			return nil
		}
	}
	return fmt.Errorf("container %.12s as %s: %w", id, name, errMissing)
}

// bridgeGateway is the host's address in the engine's own network: containers
// reach the host by it.
func bridgeGateway(t *testing.T, engine *testkit.Engine) string {
	t.Helper()
	bridge, err := engine.Client().NetworkInspect(t.Context(), "bridge", client.NetworkInspectOptions{})
	require.NoError(t, err)
	require.NotEmpty(t, bridge.Network.IPAM.Config)
	return bridge.Network.IPAM.Config[0].Gateway.String()
}

// spanJSON is an OTLP request with one span.
func spanJSON(t *testing.T, name string, resource map[string]any) string {
	t.Helper()
	traces := ptrace.NewTraces()
	r := traces.ResourceSpans().AppendEmpty()
	require.NoError(t, r.Resource().Attributes().FromRaw(resource))
	span := r.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	span.SetName(name)
	span.SetTraceID(pcommon.TraceID{1})
	span.SetSpanID(pcommon.SpanID{2})
	now := time.Now()
	span.SetStartTimestamp(pcommon.NewTimestampFromTime(now.Add(-time.Second)))
	span.SetEndTimestamp(pcommon.NewTimestampFromTime(now))
	text, err := (&ptrace.JSONMarshaler{}).MarshalTraces(traces)
	require.NoError(t, err)
	return string(text)
}

// recordJSON is an OTLP request with one log record.
func recordJSON(t *testing.T, body string, resource map[string]any) string {
	t.Helper()
	logs := plog.NewLogs()
	r := logs.ResourceLogs().AppendEmpty()
	require.NoError(t, r.Resource().Attributes().FromRaw(resource))
	record := r.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	record.Body().SetStr(body)
	record.SetTimestamp(pcommon.NewTimestampFromTime(time.Now()))
	text, err := (&plog.JSONMarshaler{}).MarshalLogs(logs)
	require.NoError(t, err)
	return string(text)
}

// post sends an OTLP request from the test. The path is /v1/traces or /v1/logs.
func (a *tagAgent) post(t *testing.T, path, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+a.otlpHTTP+path, strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	_, err = readAll(response)
	require.NoError(t, err)
}

// wget is a command that sends an OTLP request from within a container.
func (a *tagAgent) wget(path, body string) []string {
	return []string{
		"wget", "-q", "-O", "-", "--header", "Content-Type: application/json", "--post-data", body, "http://" + a.otlpHTTP + path,
	}
}

// inside runs a command in a container that somebody else has started.
func inside(t *testing.T, engine *testkit.Engine, container string, argv ...string) {
	t.Helper()
	args := append([]string{"-H", engine.Host(), "exec", container}, argv...)
	out, err := exec.CommandContext(t.Context(), "docker", args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// ownConfig writes a configuration and returns its path as settings take it,
// which is from the repository.
func ownConfig(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	from, err := filepath.Abs(root)
	require.NoError(t, err)
	path, err := filepath.Rel(from, file)
	require.NoError(t, err)
	return path
}

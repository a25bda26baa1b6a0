package e2e_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

const (
	scopeStatsd = "github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver"

	// insideDir is where clients look for the socket by convention.
	insideDir = "/var/run/datadog"
	// insideProgram is where the client program is in containers.
	insideProgram = "/opt/statsdclient"
)

// statsdKey names a series that came of DogStatsD. Origin is the resource's
// statsd.origin, container its container.id.
type statsdKey struct{ origin, container, metric, tags string }

// statsdPoint is the latest of a series and start.
type statsdPoint struct {
	at        pcommon.Timestamp
	value     float64
	monotonic bool
	unit      string
	histogram pmetric.ExponentialHistogramDataPoint
}

// statsdView is what a backend knows of DogStatsD. Not for concurrent use.
type statsdView struct {
	sink  *testkit.Sink
	taken struct{ metrics, logs int }
	// series are by their start: a counter that begins anew has another one.
	series    map[statsdKey]map[pcommon.Timestamp]statsdPoint
	resources []map[string]any // each time that one came
	records   []delivery
}

func newStatsdView(sink *testkit.Sink) *statsdView {
	return &statsdView{sink: sink, series: map[statsdKey]map[pcommon.Timestamp]statsdPoint{}}
}

// take reads what has arrived since the last time.
func (v *statsdView) take() {
	metrics, logs := v.sink.Metrics(), v.sink.Logs()
	for _, batch := range metrics[v.taken.metrics:] {
		for _, resource := range batch.ResourceMetrics().All() {
			for _, scope := range resource.ScopeMetrics().All() {
				if scope.Scope().Name() == scopeStatsd {
					v.takeMetrics(resource.Resource().Attributes().AsRaw(), scope.Metrics())
				}
			}
		}
	}
	for _, batch := range logs[v.taken.logs:] {
		for _, record := range recordsOf(batch) {
			if record.scope == scopeStatsd {
				v.records = append(v.records, record)
			}
		}
	}
	v.taken.metrics, v.taken.logs = len(metrics), len(logs)
}

func (v *statsdView) takeMetrics(resource map[string]any, metrics pmetric.MetricSlice) {
	v.resources = append(v.resources, resource)
	container, _ := resource["container.id"].(string)
	origin, _ := resource["statsd.origin"].(string)
	for _, metric := range metrics.All() {
		key := statsdKey{origin: origin, container: container, metric: metric.Name()}
		p := statsdPoint{unit: metric.Unit()}
		if metric.Type() == pmetric.MetricTypeExponentialHistogram {
			for _, point := range metric.ExponentialHistogram().DataPoints().All() {
				p.at, p.value, p.histogram = point.Timestamp(), float64(point.Count()), point
				v.put(key, point.Attributes(), point.StartTimestamp(), p)
			}
			continue
		}
		p.monotonic = metric.Type() == pmetric.MetricTypeSum && metric.Sum().IsMonotonic()
		for _, point := range pointsOf(metric).All() {
			p.at, p.value = point.Timestamp(), point.DoubleValue()
			if point.ValueType() == pmetric.NumberDataPointValueTypeInt {
				p.value = float64(point.IntValue())
			}
			v.put(key, point.Attributes(), point.StartTimestamp(), p)
		}
	}
}

// put keeps the later one: requests may overtake each other.
func (v *statsdView) put(key statsdKey, tags pcommon.Map, start pcommon.Timestamp, p statsdPoint) {
	key.tags = fmt.Sprint(tags.AsRaw())
	if v.series[key] == nil {
		v.series[key] = map[pcommon.Timestamp]statsdPoint{}
	}
	if known, ok := v.series[key][start]; !ok || p.at >= known.at {
		v.series[key][start] = p
	}
}

// total adds up the cumulative values of all series that fit, over all of their
// starts.
func (v *statsdView) total(fits func(statsdKey) bool) float64 {
	sum := 0.0
	for key, starts := range v.series {
		if !fits(key) {
			continue
		}
		for _, p := range starts {
			sum += p.value
		}
	}
	return sum
}

// has tells whether there is a series that fits.
func (v *statsdView) has(fits func(statsdKey) bool) bool {
	for key := range v.series {
		if fits(key) {
			return true
		}
	}
	return false
}

// statsdOf fits the series of a metric and container, "" for any.
func statsdOf(container, metric string) func(statsdKey) bool {
	return func(key statsdKey) bool {
		return key.metric == metric && (container == "" || key.container == container)
	}
}

// equals is nil if the total is what was sent. More than that can only be wrong.
func (v *statsdView) equals(t *testing.T, container, metric string, want float64) error {
	t.Helper()
	v.take()
	got := v.total(statsdOf(container, metric))
	require.LessOrEqual(t, got, want, "%s of container %.12s", metric, container)
	if got != want {
		return fmt.Errorf("%s of container %.12s is %v, want %v", metric, container, got, want)
	}
	return nil
}

// tagMap is how tags arrive.
func tagMap(tags []string) map[string]any {
	attributes := map[string]any{}
	for _, tag := range tags {
		key, value, _ := strings.Cut(tag, ":")
		attributes[key] = value
	}
	return attributes
}

// tagsText is how a series' tags read in its key.
func tagsText(tags ...string) string { return fmt.Sprint(tagMap(tags)) }

// statsdProgram is the directory with the built program.
type statsdProgram struct{ dir string }

// buildStatsdClient makes the static program that containers run.
func buildStatsdClient(t *testing.T) statsdProgram {
	t.Helper()
	testkit.NeedCommand(t, "go")
	p := statsdProgram{dir: t.TempDir()}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", p.path(), "./statsdclient")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return p
}

func (p statsdProgram) path() string { return filepath.Join(p.dir, "statsdclient") }

// container is one that runs the program and has the agent's socket.
func (p statsdProgram) container(name string, a *agent, args ...string) testkit.ContainerSpec {
	return testkit.ContainerSpec{
		Name: name, Cmd: append([]string{insideProgram + "/statsdclient"}, args...),
		Env:         []string{"DD_DOGSTATSD_URL=unix://" + insideDir + "/dsd.socket"},
		Binds:       []string{p.dir + ":" + insideProgram + ":ro", a.statsdDir() + ":" + insideDir + ":ro"},
		NetworkMode: "none",
	}
}

// ended waits until a container's program has ended by itself, or by the signal,
// and returns what it has said. It must have ended well.
func ended(t *testing.T, c *testkit.Container, signal string) string {
	t.Helper()
	if signal != "" {
		require.NoError(t, c.Kill(t.Context(), signal))
	}
	code := 0
	testkit.Eventually(t, soon, func() error {
		info, err := c.Inspect(t.Context())
		if err != nil {
			return err
		}
		if info.State.Running {
			return fmt.Errorf("container %s: %w", c.Name, errStill)
		}
		code = info.State.ExitCode
		return nil
	})
	// Not the test's context: a failure is told after its end, too.
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	said, err := c.Logs(ctx)
	require.NoError(t, err)
	require.Zero(t, code, said)
	return said
}

// statsdSettings are tagSettings with the receiver's flush every second in place
// of every ten.
func statsdSettings(sink *testkit.Sink, host string, set ...string) settings {
	return tagSettings(sink, host, append([]string{"receivers::uds_statsd::aggregation_interval: 1s"}, set...)...)
}

func (a *agent) statsdSocket() string { return filepath.Join(a.statsdDir(), "dsd.socket") }

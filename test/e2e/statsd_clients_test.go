package e2e_test

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/test/e2e/statsdclient/load"
)

// loadMetrics is how many metrics each client sends besides sets: 1,600 of each
// kind and tags.
const loadMetrics = 24_000

var errOther = errors.New("not what was sent")

// statsdClient is a container with a real client, and what it must have sent.
type statsdClient struct {
	name string
	args []string
	seed uint64
	*testkit.Container
	want map[string]map[string]*wanted // by metric and tags
}

// wanted is what must come of all metrics of one name and tags.
type wanted struct {
	kind   load.Kind
	sum    *big.Float
	last   float64
	values []float64 // sorted
}

// Clients of the official library in containers of their own, of all transports
// and ways to aggregate, at the same time. What they send arrives to the unit, as
// their containers'.
func TestStatsdClients(t *testing.T) {
	t.Parallel()
	testkit.NeedRoot(t)
	engine := testkit.Docker(t)
	program := buildStatsdClient(t)
	sink := testkit.NewSink(t)
	a := follow(t, sink, statsdSettings(sink, engine.Host(),
		"receivers::uds_statsd::stream_endpoint: ${env:TALLYMAN_STATSD_DIR}/dsd.stream.socket"))
	stream := "unixstream://" + insideDir + "/dsd.stream.socket"
	clients := []*statsdClient{
		{name: "datagram"},
		{name: "stream", args: []string{"-address", stream}},
		{name: "plain", args: []string{"-aggregation", "none"}},
		{name: "packed", args: []string{"-aggregation", "extended"}},
		{name: "packed-stream", args: []string{"-aggregation", "extended", "-address", stream}},
	}
	for i, c := range clients {
		c.seed = uint64(i) + 1
		c.want = expect(c.seed)
		args := append([]string{"load", "-seed", strconv.Itoa(i + 1), "-count", strconv.Itoa(loadMetrics)}, c.args...)
		spec := program.container("statsd-"+c.name, a.agent, args...)
		spec.Cmd = append(append(shell(`until [ -e "$0/go" ]; do sleep 0.1; done; exec "$@"`), insideDir), spec.Cmd...)
		c.Container = engine.RunContainer(t, spec)
	}
	// Whose names the agent knows when they begin to send is a matter of how busy
	// the engine is.
	for _, c := range clients {
		a.awaitTags(t, c.ID, map[string]any{"container.name": c.Name})
	}
	require.NoError(t, os.WriteFile(filepath.Join(a.statsdDir(), "go"), nil, 0o600))
	view := newStatsdView(sink)
	for _, c := range clients {
		testkit.Eventually(t, soon, func() error {
			view.take()
			return errors.Join(a.alive(), c.hasCome(view))
		})
	}
	for _, c := range clients {
		ended(t, c.Container, "SIGTERM")
	}
	log, code := a.stop()
	require.Zero(t, code)
	require.Empty(t, complaints(log))

	// It is still so when all has been said.
	view.take()
	byID := map[any]*statsdClient{}
	for _, c := range clients {
		require.NoError(t, c.hasCome(view), c.name)
		c.nothingElse(t, view)
		c.hasRecords(t, view)
		byID[c.ID] = c
	}
	require.NotEmpty(t, view.resources)
	for _, resource := range view.resources {
		c := byID[resource["container.id"]]
		require.NotNil(t, c, "%v", resource)
		require.NoError(t, hasTags(resource, c.tags()))
	}
}

func (c *statsdClient) tags() map[string]any {
	return map[string]any{
		"statsd.origin": "kernel", "container.id": c.ID, "container.runtime.name": "docker",
		"container.name": c.Name, "container.image.name": "tallyman-test/busybox",
	}
}

// expect works out what must come of a seed.
func expect(seed uint64) map[string]map[string]*wanted {
	all := map[string]map[string]*wanted{}
	for m := range load.Metrics(seed, loadMetrics) {
		byTags := all[m.Name]
		if byTags == nil {
			byTags = map[string]*wanted{}
			all[m.Name] = byTags
		}
		w := byTags[tagsText(m.Tags...)]
		if w == nil {
			w = &wanted{kind: m.Kind, sum: new(big.Float).SetPrec(200)}
			byTags[tagsText(m.Tags...)] = w
		}
		w.sum.Add(w.sum, new(big.Float).SetFloat64(m.Value))
		w.last = m.Value
		w.values = append(w.values, m.Value)
	}
	for _, byTags := range all {
		for _, w := range byTags {
			slices.Sort(w.values)
		}
	}
	return all
}

// hasCome returns nil when all metrics are there, and what the client says of
// itself.
func (c *statsdClient) hasCome(view *statsdView) error {
	var wrong []error
	for metric, byTags := range c.want {
		for tags, w := range byTags {
			starts := view.series[statsdKey{"kernel", c.ID, metric, tags}]
			if len(starts) != 1 {
				wrong = append(wrong, fmt.Errorf("%s%s has %d starts: %w", metric, tags, len(starts), errOther))
				continue
			}
			for _, p := range starts {
				wrong = append(wrong, w.compare(metric+tags, p))
			}
		}
	}
	return errors.Join(append(wrong, c.hasTold(view), c.hasSets(view), c.hasChecks(view))...)
}

// hasTold returns nil when the client's words about itself are there.
func (c *statsdClient) hasTold(view *statsdView) error {
	var wrong []error
	calls := loadMetrics
	for _, set := range load.Sets(c.seed) {
		calls += len(set.Names)
	}
	for metric, want := range map[string]int{
		"metrics": calls, "events": len(load.Events(c.seed)), "service_checks": len(load.Checks(c.seed)),
		"metric_dropped_on_receive": 0, "packets_dropped": 0, "packets_dropped_queue": 0, "packets_dropped_writer": 0,
	} {
		fits := statsdOf(c.ID, "datadog.dogstatsd.client."+metric)
		if got, there := view.total(fits), view.has(fits); !there || got != float64(want) {
			wrong = append(wrong, fmt.Errorf("the client says %s: %v (%v), want %v: %w", metric, got, there, want, errOther))
		}
	}
	if view.total(statsdOf(c.ID, "datadog.dogstatsd.client.packets_sent")) == 0 {
		wrong = append(wrong, fmt.Errorf("the client says that it has sent nothing: %w", errOther))
	}
	return errors.Join(wrong...)
}

// hasSets returns nil when all members have been counted: at once, or once for
// each of the intervals that they fell into.
func (c *statsdClient) hasSets(view *statsdView) error {
	var wrong []error
	for _, set := range load.Sets(c.seed) {
		members := map[string]bool{}
		for _, name := range set.Names {
			members[name] = true
		}
		sum, most := 0, 0
		for _, p := range view.series[statsdKey{"kernel", c.ID, load.UsersSet, tagsText(set.Tags...)}] {
			sum, most = sum+int(p.value), max(most, int(p.value))
		}
		if most > len(members) || sum < len(members) {
			wrong = append(wrong, fmt.Errorf("set %v has %d members, at most %d, want %d: %w", set.Tags, sum, most, len(members), errOther))
		}
	}
	return errors.Join(wrong...)
}

func (c *statsdClient) hasChecks(view *statsdView) error {
	var wrong []error
	for _, check := range load.Checks(c.seed) {
		tags := append(slices.Clone(check.Tags), "dogstatsd.check.name:"+check.Name)
		starts := view.series[statsdKey{"kernel", c.ID, "dogstatsd.service_check", tagsText(tags...)}]
		if len(starts) == 0 {
			wrong = append(wrong, fmt.Errorf("check %s: %w", check.Name, errMissing))
		}
		for _, p := range starts {
			if p.value != float64(check.Status) {
				wrong = append(wrong, fmt.Errorf("%s is %v, want %d: %w", check.Name, p.value, check.Status, errOther))
			}
		}
	}
	return errors.Join(wrong...)
}

// compare holds a series against what was sent.
func (w *wanted) compare(name string, p statsdPoint) error {
	sum, _ := w.sum.Float64()
	want, unit := sum, ""
	switch w.kind {
	case load.Count:
		if !p.monotonic {
			return fmt.Errorf("%s is not monotonic: %w", name, errOther)
		}
	case load.Gauge:
		want = w.last
	case load.Timing:
		want, unit = float64(len(w.values)), "ms"
	default:
		want = float64(len(w.values)) // how many
	}
	if p.value != want || p.unit != unit {
		return fmt.Errorf("%s is %v%s, want %v%s: %w", name, p.value, p.unit, want, unit, errOther)
	}
	if w.kind == load.Histogram || w.kind == load.Distribution || w.kind == load.Timing {
		return w.compareHistogram(name, p.histogram, sum)
	}
	return nil
}

// sumError is what adding some thousand floats may be off, in parts of the
// largest partial sum.
const sumError = 1e-12

func (w *wanted) compareHistogram(name string, h pmetric.ExponentialHistogramDataPoint, sum float64) error {
	var wrong []error
	bad := func(what string, got, want float64) {
		wrong = append(wrong, fmt.Errorf("%s: %s is %v, want %v: %w", name, what, got, want, errOther))
	}
	size := 0.0
	for _, v := range w.values {
		size += math.Abs(v)
	}
	if math.Abs(h.Sum()-sum) > sumError*size {
		bad("sum", h.Sum(), sum)
	}
	if least := w.values[0]; h.Min() != least {
		bad("min", h.Min(), least)
	}
	if most := w.values[len(w.values)-1]; h.Max() != most {
		bad("max", h.Max(), most)
	}
	// base is the width of a bucket. One above 1.1 would allow a percentile to be
	// off by more than 5 %, which nobody wants.
	base := math.Pow(2, math.Pow(2, float64(-h.Scale())))
	if base > 1.1 {
		bad("width of buckets", base, 1.1)
	}
	for _, q := range []float64{0.02, 0.5, 0.95, 0.99} {
		rank := int(math.Ceil(q * float64(len(w.values))))
		got, want := atRank(h, rank, base), w.values[rank-1]
		if off := math.Abs(got - want); off > math.Abs(want)*(math.Sqrt(base)-1)*(1+1e-9) {
			bad(fmt.Sprintf("p%g", 100*q), got, want)
		}
	}
	return errors.Join(wrong...)
}

// atRank is the value of a rank, from 1, as a backend reads it: the middle of its
// bucket.
func atRank(h pmetric.ExponentialHistogramDataPoint, rank int, base float64) float64 {
	left := uint64(rank)
	middle := func(b pmetric.ExponentialHistogramDataPointBuckets, i int) float64 {
		return math.Pow(base, float64(int(b.Offset())+i)+0.5)
	}
	negative := h.Negative().BucketCounts()
	for i := negative.Len() - 1; i >= 0; i-- {
		if left <= negative.At(i) {
			return -middle(h.Negative(), i)
		}
		left -= negative.At(i)
	}
	if left <= h.ZeroCount() {
		return 0
	}
	left -= h.ZeroCount()
	for i, n := range h.Positive().BucketCounts().All() {
		if left <= n {
			return middle(h.Positive(), i)
		}
		left -= n
	}
	return math.NaN()
}

// nothingElse fails for a series that the client did not send.
func (c *statsdClient) nothingElse(t *testing.T, view *statsdView) {
	t.Helper()
	for key := range view.series {
		if _, ok := c.want[key.metric]; ok && key.container == c.ID {
			require.Contains(t, c.want[key.metric], key.tags, key.metric)
		}
	}
}

// hasRecords holds events and checks against what was sent: each once.
func (c *statsdClient) hasRecords(t *testing.T, view *statsdView) {
	t.Helper()
	severities := map[string]plog.SeverityNumber{
		"info": plog.SeverityNumberInfo, "warning": plog.SeverityNumberWarn, "error": plog.SeverityNumberError,
	}
	var want []delivery
	for _, e := range load.Events(c.seed) {
		attributes := attributesOf(e.Tags, map[string]any{
			"dogstatsd.event.title": e.Title, "dogstatsd.event.alert_type": e.Alert, "dogstatsd.event.priority": e.Priority,
			"dogstatsd.event.aggregation_key": e.Key, "dogstatsd.event.source_type": e.Source,
		})
		want = append(want, delivery{name: "dogstatsd.event", body: e.Text, severity: severities[e.Alert], attributes: attributes})
	}
	for _, check := range load.Checks(c.seed) {
		words := []string{"ok", "warning", "critical", "unknown"}
		severity := []plog.SeverityNumber{plog.SeverityNumberInfo, plog.SeverityNumberWarn, plog.SeverityNumberError, plog.SeverityNumberWarn}
		attributes := attributesOf(check.Tags, map[string]any{
			"dogstatsd.check.name": check.Name, "dogstatsd.check.status": words[check.Status],
		})
		want = append(want, delivery{name: "dogstatsd.service_check", body: check.Message, severity: severity[check.Status], attributes: attributes})
	}
	var got []delivery
	for _, r := range view.records {
		if r.resource["container.id"] == c.ID {
			require.NoError(t, hasTags(r.resource, c.tags()))
			got = append(got, delivery{name: r.name, body: r.body, severity: r.severity, attributes: r.attributes})
		}
	}
	require.ElementsMatch(t, want, got)
}

// attributesOf leaves out what is empty, but for tags without a value.
func attributesOf(tags []string, more map[string]any) map[string]any {
	attributes := map[string]any{}
	for key, value := range more {
		if value != "" {
			attributes[key] = value
		}
	}
	for key, value := range tagMap(tags) {
		attributes[key] = value
	}
	return attributes
}

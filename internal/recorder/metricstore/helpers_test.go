package metricstore_test

import (
	"context"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tallymanhq/tallyman/internal/recorder/metricstore"
)

// began is when the tests' clocks start: a full quarter of an hour, as blocks do.
func began() time.Time { return time.UnixMilli(1_763_596_800_000) }

// clock is a clock that moves when it is told to.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: began()} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

// disk is a file system whose free space a test sets.
type disk struct {
	mu          sync.Mutex
	free, total uint64
}

func roomyDisk() *disk { return &disk{free: 80 << 30, total: 100 << 30} }

func (d *disk) Space(string) (free, total uint64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.free, d.total, nil
}

func (d *disk) set(free uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.free = free
}

// options are those of a store that does nothing by itself.
func options(t testing.TB, c *clock) metricstore.Options {
	t.Helper()
	return metricstore.Options{
		Dir:   filepath.Join(t.TempDir(), "metrics"),
		Every: -1,
		Now:   c.Now,
		Space: roomyDisk().Space,
	}
}

func open(t testing.TB, o metricstore.Options) (*metricstore.Store, metricstore.Recovery) {
	t.Helper()
	s, r, err := metricstore.Open(o)
	require.NoError(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, r
}

// bed puts metrics together.
type bed struct {
	md pmetric.Metrics
	sm pmetric.ScopeMetrics
	at time.Time
}

// container begins metrics of one container, all of one time.
func container(id string, at time.Time) *bed {
	b := &bed{md: pmetric.NewMetrics(), at: at}
	b.next(id)
	return b
}

func (b *bed) next(id string) {
	rm := b.md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("container.id", id)
	rm.Resource().Attributes().PutStr("container.name", "name-"+id)
	rm.Resource().Attributes().PutStr("container.image.name", "registry/app")
	rm.Resource().Attributes().PutStr("container.runtime.name", "docker")
	b.sm = rm.ScopeMetrics().AppendEmpty()
}

func (b *bed) metric(name, unit string) pmetric.Metric {
	m := b.sm.Metrics().AppendEmpty()
	m.SetName(name)
	m.SetUnit(unit)
	return m
}

func (b *bed) gauge(name string, v float64, attributes ...string) *bed {
	p := b.metric(name, "By").SetEmptyGauge().DataPoints().AppendEmpty()
	p.SetTimestamp(pcommon.NewTimestampFromTime(b.at))
	p.SetDoubleValue(v)
	putAll(p.Attributes(), attributes)
	return b
}

func (b *bed) counter(name string, v int64, temporality pmetric.AggregationTemporality) *bed {
	sum := b.metric(name, "s").SetEmptySum()
	sum.SetIsMonotonic(true)
	sum.SetAggregationTemporality(temporality)
	p := sum.DataPoints().AppendEmpty()
	p.SetTimestamp(pcommon.NewTimestampFromTime(b.at))
	p.SetIntValue(v)
	return b
}

func putAll(m pcommon.Map, pairs []string) {
	for i := 0; i < len(pairs); i += 2 {
		m.PutStr(pairs[i], pairs[i+1])
	}
}

// write writes and fails the test when anything was dropped.
func write(t testing.TB, s *metricstore.Store, b *bed) {
	t.Helper()
	if w := s.Write(context.Background(), b.md); len(w.Dropped) > 0 {
		t.Fatalf("dropped %v", w.Dropped)
	}
}

// record writes a gauge each second for so long, and lets the store do what is
// due each minute. The clock stands at the last sample then.
func record(t testing.TB, s *metricstore.Store, c *clock, length time.Duration) {
	t.Helper()
	start := c.Now()
	for i := 1; i <= int(length/time.Second); i++ {
		c.set(start.Add(time.Duration(i) * time.Second))
		write(t, s, container("a", c.Now()).gauge("load", float64(i)).gauge("other", float64(i%7)))
		if i%60 == 0 {
			require.NoError(t, s.Maintain(context.Background()))
		}
	}
}

// asker is what stores and captures have in common.
type asker interface {
	Instant(ctx context.Context, expr string, at time.Time) (*promql.Result, error)
}

// ask returns the samples of an instant query as text by labels.
func ask(t testing.TB, a asker, expr string, at time.Time) map[string]float64 {
	t.Helper()
	result, err := a.Instant(context.Background(), expr, at)
	require.NoError(t, err)
	vector, err := result.Vector()
	require.NoError(t, err)
	got := map[string]float64{}
	for _, s := range vector {
		got[s.Metric.String()] = s.F
	}
	return got
}

// askOne returns the only sample of an instant query, NaN when there is none.
func askOne(t testing.TB, a asker, expr string, at time.Time) float64 {
	t.Helper()
	got := ask(t, a, expr, at)
	require.LessOrEqual(t, len(got), 1, "%s: %v", expr, got)
	for _, v := range got {
		return v
	}
	return math.NaN()
}

// samples returns what is stored of a name, as "labels time value" lines.
func samples(t testing.TB, a asker, name string, w metricstore.Window) []string {
	t.Helper()
	window := w.To.Sub(w.From) + time.Second
	expr := fmt.Sprintf("%s[%dms]", name, window.Milliseconds())
	result, err := a.Instant(context.Background(), expr, w.To)
	require.NoError(t, err)
	matrix, err := result.Matrix()
	require.NoError(t, err)
	var lines []string
	for _, series := range matrix {
		for _, p := range series.Floats {
			lines = append(lines, fmt.Sprintf("%s %d %v", series.Metric, p.T, p.F))
		}
		for _, p := range series.Histograms {
			lines = append(lines, fmt.Sprintf("%s %d %s", series.Metric, p.T, p.H))
		}
	}
	return lines
}

func keys(m map[string]float64) []string { return slices.Sorted(maps.Keys(m)) }

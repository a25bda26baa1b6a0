package metricstore_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tallymanhq/tallyman/internal/recorder/metricstore"
)

// TestReference feeds the store with OTLP and a plain TSDB with the samples that
// this must mean, written down by hand, and compares what the engine of
// Prometheus says of both. The store has cut blocks by then; the other has none.
func TestReference(t *testing.T) {
	c := newClock()
	s, _ := open(t, options(t, c))
	ref := newReference(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	totals := map[string]float64{}
	for i := 1; i <= 3000; i++ {
		c.set(began().Add(time.Duration(i) * time.Second))
		var b *bed
		for _, id := range []string{"a", "b", "c"} {
			if b == nil {
				b = container(id, c.Now())
			} else {
				b.next(id)
			}
			totals[id] += float64(rnd.IntN(50))
			if id == "b" && i == 1500 {
				totals[id] = 0 // it was started again
			}
			load := rnd.Float64()
			b.gauge("load", load, "kind", "x")
			b.counter("cpu.time", int64(totals[id]), pmetric.AggregationTemporalityCumulative)
			ref.add(c.Now(), labelled("load_bytes", id, "kind", "x"), load)
			ref.add(c.Now(), labelled("cpu_time_seconds_total", id), totals[id])
			exponential(b, "latency", i)
			ref.histogram(c.Now(), labelled("latency_seconds", id), i)
		}
		write(t, s, b)
		if i%60 == 0 {
			require.NoError(t, s.Maintain(context.Background()))
		}
	}
	require.GreaterOrEqual(t, s.Stats().Blocks, 1)

	engine := promql.NewEngine(promql.EngineOpts{
		MaxSamples: 50e6, Timeout: time.Minute, LookbackDelta: 30 * time.Second,
		EnableAtModifier: true, EnableNegativeOffset: true,
		NoStepSubqueryIntervalFn: func(int64) int64 { return 30_000 },
	})
	w := metricstore.Window{From: began(), To: c.Now().Add(time.Minute)}
	for _, expr := range []string{
		`load_bytes`,
		`load_bytes{container_id="a"} offset 5m`,
		`rate(cpu_time_seconds_total[15s])`,
		`sum by (container_name) (increase(cpu_time_seconds_total[1m]))`,
		`topk(2, max_over_time(load_bytes[1m]))`,
		`quantile_over_time(0.9, load_bytes{kind="x"}[2m])`,
		`histogram_quantile(0.9, sum(rate(latency_seconds[1m])))`,
		`histogram_count(latency_seconds{container_id="c"})`,
		`latency_seconds{container_id="a"}`,
		`max_over_time(rate(cpu_time_seconds_total[30s])[5m:])`,
		`count by (__name__) ({container_id!=""})`,
		`absent(nothing)`,
		`resets(cpu_time_seconds_total[1h])`,
	} {
		got, err := s.Range(context.Background(), expr, w, 7*time.Second)
		require.NoError(t, err, expr)
		q, err := engine.NewRangeQuery(context.Background(), ref.db, nil, expr, w.From, w.To, 7*time.Second)
		require.NoError(t, err)
		want := q.Exec(context.Background())
		require.NoError(t, want.Err, expr)
		if len(want.Value.(promql.Matrix)) == 0 {
			t.Errorf("%s answers nothing: it shows nothing", expr)
		}
		if diff := cmp.Diff(want.Value.String(), got.Value.String()); diff != "" {
			t.Errorf("%s: -want +got\n%.2000s", expr, diff)
		}
		q.Close()
	}
}

// exponential adds a cumulative histogram: in second i there were i values in each of four buckets.
func exponential(b *bed, name string, i int) {
	h := b.metric(name, "s").SetEmptyExponentialHistogram()
	h.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	p := h.DataPoints().AppendEmpty()
	p.SetTimestamp(pcommon.NewTimestampFromTime(b.at))
	p.SetScale(3)
	p.Positive().SetOffset(-2)
	n := uint64(i)
	p.Positive().BucketCounts().FromRaw([]uint64{n, n, 0, n})
	p.SetZeroCount(n)
	p.SetCount(4 * n)
	p.SetSum(3.5 * float64(n))
}

// reference is a TSDB with the defaults of Prometheus.
type reference struct {
	t  *testing.T
	db *tsdb.DB
}

func newReference(t *testing.T) *reference {
	t.Helper()
	db, err := tsdb.Open(t.TempDir(), nil, nil, tsdb.DefaultOptions(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return &reference{t: t, db: db}
}

func labelled(name, id string, more ...string) labels.Labels {
	pairs := append([]string{
		"__name__", name, "container_id", id, "container_name", "name-" + id, "container_image_name", "registry/app",
	}, more...)
	return labels.FromStrings(pairs...)
}

func (r *reference) add(at time.Time, lset labels.Labels, v float64) {
	r.t.Helper()
	app := r.db.Appender(context.Background())
	_, err := app.Append(0, lset, at.UnixMilli(), v)
	require.NoError(r.t, err)
	require.NoError(r.t, app.Commit())
}

// histogram appends what exponential means: OTLP's buckets -2, -1 and 1 are
// Prometheus' -1, 0 and 2.
func (r *reference) histogram(at time.Time, lset labels.Labels, i int) {
	r.t.Helper()
	n := int64(i)
	h := &histogram.Histogram{
		Schema: 3, ZeroThreshold: 1e-128, ZeroCount: uint64(n), Count: uint64(4 * n), Sum: 3.5 * float64(n),
		PositiveSpans:   []histogram.Span{{Offset: -1, Length: 2}, {Offset: 1, Length: 1}},
		PositiveBuckets: []int64{n, 0, 0},
	}
	app := r.db.Appender(context.Background())
	_, err := app.AppendHistogram(0, lset, at.UnixMilli(), h, nil)
	require.NoError(r.t, err)
	require.NoError(r.t, app.Commit())
}

func TestQueryLimits(t *testing.T) {
	c := newClock()
	s, _ := open(t, options(t, c))
	record(t, s, c, time.Minute)
	day := metricstore.Window{From: c.Now().Add(-24 * time.Hour), To: c.Now()}
	_, err := s.Range(context.Background(), "load_bytes", day, time.Second)
	require.ErrorIs(t, err, metricstore.ErrTooManySteps)
	_, err = s.Range(context.Background(), "load_bytes", day, 0)
	require.Error(t, err)
	_, err = s.Instant(context.Background(), "load_bytes{", c.Now())
	require.ErrorContains(t, err, "parse query")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = s.Instant(ctx, "load_bytes", c.Now())
	require.ErrorContains(t, err, "run query")
}

func TestFamilies(t *testing.T) {
	c := newClock()
	s, _ := open(t, options(t, c))
	b := container("a", c.Now()).gauge("load", 1)
	b.counter("cpu.time", 1, pmetric.AggregationTemporalityCumulative)
	exponential(b, "latency", 1)
	write(t, s, b)
	want := map[string]metricstore.Family{
		"load_bytes":             {Type: "gauge", Unit: "By"},
		"cpu_time_seconds_total": {Type: "counter", Unit: "s"},
		"latency_seconds":        {Type: "histogram", Unit: "s"},
	}
	if diff := cmp.Diff(want, s.Families()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	top := s.TopMetrics(10)
	require.Len(t, top, 3)
	require.Equal(t, 1, top[0].Series)
}

package metricstore_test

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tallymanhq/tallyman/internal/recorder/metricstore"
)

func TestDeltas(t *testing.T) {
	c := newClock()
	s, _ := open(t, options(t, c))
	for i := 1; i <= 10; i++ {
		c.set(began().Add(time.Duration(i) * time.Second))
		b := container("a", c.Now())
		b.counter("requests", int64(i), pmetric.AggregationTemporalityDelta)
		classic(b, pmetric.AggregationTemporalityDelta, []float64{1, 10}, []uint64{1, 2, 3})
		exponential(b, "latency", 1)
		delta := b.sm.Metrics().At(2).ExponentialHistogram()
		delta.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
		delta.DataPoints().At(0).SetScale(int32(12 - i)) // from finer than Prometheus has to coarser
		write(t, s, b)
	}
	for expr, want := range map[string]float64{
		"requests_seconds_total":               55,
		`size_seconds_bucket{le="1"}`:          10,
		`size_seconds_bucket{le="10"}`:         30,
		`size_seconds_bucket{le="+Inf"}`:       60,
		"size_seconds_count":                   60,
		"size_seconds_sum":                     70,
		"histogram_count(latency_seconds)":     40,
		"histogram_sum(latency_seconds)":       35,
		`increase(requests_seconds_total[5s])`: askOne(t, s, `5 * rate(requests_seconds_total[5s])`, c.Now()),
	} {
		if got := askOne(t, s, expr, c.Now()); got != want {
			t.Errorf("%s is %v, want %v", expr, got, want)
		}
	}

	// A second point for the same time is in the sum that follows.
	b := container("a", c.Now())
	b.counter("requests", 100, pmetric.AggregationTemporalityDelta)
	write(t, s, b)
	c.set(c.Now().Add(time.Second))
	b = container("a", c.Now())
	b.counter("requests", 1, pmetric.AggregationTemporalityDelta)
	write(t, s, b)
	if got := askOne(t, s, "requests_seconds_total", c.Now()); got != 156 {
		t.Errorf("with a delta that came twice: %v, want 156", got)
	}
}

// TestDeltaForgotten: what was silent for long begins anew, and its memory is freed.
func TestDeltaForgotten(t *testing.T) {
	c := newClock()
	s, _ := open(t, options(t, c))
	send := func() float64 {
		b := container("a", c.Now())
		b.counter("requests", 7, pmetric.AggregationTemporalityDelta)
		write(t, s, b)
		require.NoError(t, s.Maintain(context.Background()))
		return askOne(t, s, "requests_seconds_total", c.Now())
	}
	require.Equal(t, 7.0, send())
	c.set(c.Now().Add(time.Minute))
	require.Equal(t, 14.0, send())
	c.set(c.Now().Add(16 * time.Minute))
	require.NoError(t, s.Maintain(context.Background()))
	require.Equal(t, 7.0, send())
}

// classic adds a histogram with explicit bounds, named size.
func classic(b *bed, temporality pmetric.AggregationTemporality, bounds []float64, counts []uint64) {
	h := b.metric("size", "s").SetEmptyHistogram()
	h.SetAggregationTemporality(temporality)
	p := h.DataPoints().AppendEmpty()
	p.SetTimestamp(pcommon.NewTimestampFromTime(b.at))
	p.ExplicitBounds().FromRaw(bounds)
	p.BucketCounts().FromRaw(counts)
	var total uint64
	for _, n := range counts {
		total += n
	}
	p.SetCount(total)
	p.SetSum(float64(total) + 1)
}

func TestHistograms(t *testing.T) {
	c := newClock()
	s, _ := open(t, options(t, c))
	b := container("a", c.Now())
	classic(b, pmetric.AggregationTemporalityCumulative, []float64{0.5, 10}, []uint64{1, 2, 3})
	summary := b.metric("took", "s").SetEmptySummary().DataPoints().AppendEmpty()
	summary.SetTimestamp(pcommon.NewTimestampFromTime(c.Now()))
	summary.SetCount(9)
	summary.SetSum(3)
	q := summary.QuantileValues().AppendEmpty()
	q.SetQuantile(0.99)
	q.SetValue(0.25)
	w := s.Write(context.Background(), b.md)
	require.Equal(t, metricstore.Written{Samples: 8}, w)
	for expr, want := range map[string]float64{
		`size_seconds_bucket{le="0.5"}`:  1,
		`size_seconds_bucket{le="10"}`:   3,
		`size_seconds_bucket{le="+Inf"}`: 6,
		"size_seconds_count":             6,
		"size_seconds_sum":               7,
		`took_seconds{quantile="0.99"}`:  0.25,
		"took_seconds_count":             9,
		"took_seconds_sum":               3,
	} {
		if got := askOne(t, s, expr, c.Now()); got != want {
			t.Errorf("%s is %v, want %v", expr, got, want)
		}
	}

	// Other bounds are other buckets.
	c.set(c.Now().Add(time.Second))
	b = container("a", c.Now())
	classic(b, pmetric.AggregationTemporalityCumulative, []float64{2}, []uint64{4, 4})
	write(t, s, b)
	if got := askOne(t, s, `size_seconds_bucket{le="2"}`, c.Now()); got != 4 {
		t.Errorf("a bucket that is new has %v", got)
	}
	b = container("a", c.Now())
	classic(b, pmetric.AggregationTemporalityCumulative, []float64{1, 2, 3}, []uint64{4})
	require.Equal(t, map[string]int{metricstore.ReasonInvalid: 1}, s.Write(context.Background(), b.md).Dropped)
}

// TestScales puts one value into a histogram of each scale that OTLP may have;
// what the store answers is the bucket that OTLP's definition gives.
func TestScales(t *testing.T) {
	c := newClock()
	s, _ := open(t, options(t, c))
	for scale := int32(-4); scale <= 12; scale++ {
		const x = 7.3
		index := int32(math.Ceil(math.Log2(x)*math.Exp2(float64(scale)))) - 1
		b := container("a", c.Now())
		h := b.metric(fmt.Sprintf("scale.%d", scale+4), "1").SetEmptyExponentialHistogram()
		h.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		p := h.DataPoints().AppendEmpty()
		p.SetTimestamp(pcommon.NewTimestampFromTime(c.Now()))
		p.SetScale(scale)
		p.Negative().SetOffset(index)
		p.Negative().BucketCounts().FromRaw([]uint64{5})
		p.SetCount(5)
		p.SetSum(-5 * x)
		write(t, s, b)

		base := math.Exp2(math.Exp2(-float64(min(scale, 8))))
		got := askOne(t, s, fmt.Sprintf("histogram_quantile(0.5, scale_%d)", scale+4), c.Now())
		if got >= 0 || -got < x/base || -got > x*base {
			t.Errorf("scale %d: the value %v became %v", scale, -x, got)
		}
	}
	b := container("a", c.Now())
	exponential(b, "coarse", 1)
	b.sm.Metrics().At(0).ExponentialHistogram().DataPoints().At(0).SetScale(-5)
	require.Equal(t, map[string]int{metricstore.ReasonInvalid: 1}, s.Write(context.Background(), b.md).Dropped)
}

// TestLabels shows what becomes of attributes, and that a point cannot speak for
// another container.
func TestLabels(t *testing.T) {
	c := newClock()
	s, _ := open(t, options(t, c))
	b := container("a", c.Now()).gauge("load", 1, "cpu.mode", "user", "9th", "x", "container.id", "b", "__name__", "stolen", "bad", "\xff")
	write(t, s, b)
	// The same set in another order is the same series.
	c.set(c.Now().Add(time.Second))
	b = container("a", c.Now()).gauge("load", 2, "bad", "\xff", "__name__", "stolen", "container.id", "b", "9th", "x", "cpu.mode", "user")
	write(t, s, b)
	want := `{__name__="load_bytes", bad="` + "\uFFFD" + `", container_id="a", container_image_name="registry/app", container_name="name-a", cpu_mode="user", key_9th="x"}`
	require.Equal(t, []string{want}, keys(ask(t, s, "load_bytes", c.Now())))

	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", "agent")
	rm.Resource().Attributes().PutStr("service.instance.id", "1")
	m := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName("up")
	m.SetEmptyGauge().DataPoints().AppendEmpty().SetIntValue(1) // without a time: now
	require.Equal(t, metricstore.Written{Samples: 1}, s.Write(context.Background(), md))
	require.Equal(t, []string{`{__name__="up", service_instance_id="1", service_name="agent"}`}, keys(ask(t, s, "up", c.Now())))
}

func TestSeriesLimits(t *testing.T) {
	c := newClock()
	o := options(t, c)
	o.SeriesPerContainer = 5
	o.MaxSeries = 8
	s, _ := open(t, o)
	flood := func(id string) metricstore.Written {
		b := container(id, c.Now())
		for i := range 20 {
			b.gauge("load", 1, "n", fmt.Sprint(i))
		}
		return s.Write(context.Background(), b.md)
	}
	require.Equal(t, metricstore.Written{Samples: 5, Dropped: map[string]int{metricstore.ReasonSeriesLimit: 15}}, flood("a"))
	require.Equal(t, metricstore.Written{Samples: 3, Dropped: map[string]int{metricstore.ReasonSeriesLimit: 17}}, flood("b"))
	c.set(c.Now().Add(time.Second))
	require.Equal(t, 5, flood("a").Samples, "series that are known go on")
	s.End(context.Background(), "a", c.Now())
	c.set(c.Now().Add(time.Second))
	require.Equal(t, 5, flood("b").Samples, "the room of a container that ended is free")
	long := container("c", c.Now()).gauge("load", 1, "url", string(make([]byte, 9000)))
	require.Equal(t, map[string]int{metricstore.ReasonSeriesLimit: 1}, s.Write(context.Background(), container("c", c.Now()).gauge("x", 1).gauge("y", 1).gauge("z", 1).gauge("v", 1).md).Dropped)
	c.set(c.Now().Add(time.Second))
	s.End(context.Background(), "b", c.Now())
	require.Equal(t, map[string]int{metricstore.ReasonLabels: 1}, s.Write(context.Background(), long.md).Dropped)
}

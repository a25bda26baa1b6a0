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

// odd are the floats with which no sum, bound or threshold can be made.
func odd() []float64 { return []float64{math.NaN(), math.Inf(1), math.Inf(-1)} }

// TestOddThresholds: histograms whose width of zero is no number never end to be
// added up, in the store as in a query.
func TestOddThresholds(t *testing.T) {
	for _, temporality := range []pmetric.AggregationTemporality{pmetric.AggregationTemporalityDelta, pmetric.AggregationTemporalityCumulative} {
		c := newClock()
		s, _ := open(t, options(t, c))
		for i, v := range append(odd(), odd()...) {
			c.set(c.Now().Add(time.Second))
			b := container("a", c.Now())
			exponential(b, "latency", i+1)
			h := b.sm.Metrics().At(0).ExponentialHistogram()
			h.SetAggregationTemporality(temporality)
			h.DataPoints().At(0).SetZeroThreshold(v)
			w := s.Write(context.Background(), b.md)
			require.Equal(t, metricstore.Written{Dropped: map[string]int{metricstore.ReasonInvalid: 1}}, w, "%v %v", temporality, v)
		}
		require.Empty(t, ask(t, s, "sum(latency_seconds)", c.Now()))
	}
}

// TestOddDeltas: one delta that is no number does not spoil the sum of all others.
func TestOddDeltas(t *testing.T) {
	c := newClock()
	s, _ := open(t, options(t, c))
	send := func(v float64) metricstore.Written {
		c.set(c.Now().Add(time.Second))
		b := container("a", c.Now())
		b.counter("requests", 0, pmetric.AggregationTemporalityDelta)
		b.sm.Metrics().At(0).Sum().DataPoints().At(0).SetDoubleValue(v)
		classic(b, pmetric.AggregationTemporalityDelta, []float64{1}, []uint64{1, 2})
		b.sm.Metrics().At(1).Histogram().DataPoints().At(0).SetSum(v)
		exponential(b, "latency", 1)
		h := b.sm.Metrics().At(2).ExponentialHistogram()
		h.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
		h.DataPoints().At(0).SetSum(v)
		return s.Write(context.Background(), b.md)
	}
	require.Empty(t, send(3).Dropped)
	for _, v := range odd() {
		require.Equal(t, metricstore.Written{Samples: 3, Dropped: map[string]int{metricstore.ReasonInvalid: 3}}, send(v), "%v", v)
	}
	require.Empty(t, send(4).Dropped)
	for expr, want := range map[string]float64{
		"requests_seconds_total":         7,
		"size_seconds_sum":               7,
		"size_seconds_count":             15, // these of all points
		"histogram_sum(latency_seconds)": 7,
	} {
		require.Equal(t, want, askOne(t, s, expr, c.Now()), expr)
	}
}

// TestOddBounds: a bound that is no number is equal to none, not even to itself.
func TestOddBounds(t *testing.T) {
	c := newClock()
	s, _ := open(t, options(t, c))
	b := container("a", c.Now())
	classic(b, pmetric.AggregationTemporalityCumulative, []float64{1, math.NaN()}, []uint64{1, 2, 3})
	summary := b.metric("took", "s").SetEmptySummary().DataPoints().AppendEmpty()
	summary.SetTimestamp(pcommon.NewTimestampFromTime(c.Now()))
	summary.QuantileValues().AppendEmpty().SetQuantile(math.NaN())
	w := s.Write(context.Background(), b.md)
	require.Equal(t, metricstore.Written{Dropped: map[string]int{metricstore.ReasonInvalid: 2}}, w)

	// What is measured may be no number: a ratio of nothing is none.
	b = container("a", c.Now()).gauge("ratio", math.NaN()).gauge("most", math.Inf(1))
	write(t, s, b)
	require.Equal(t, "NaN", fmt.Sprint(ask(t, s, "ratio_bytes", c.Now())[`{__name__="ratio_bytes", container_id="a", container_image_name="registry/app", container_name="name-a"}`]))
	require.Equal(t, math.Inf(1), askOne(t, s, "most_bytes", c.Now()))
}

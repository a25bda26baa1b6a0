package udsstatsdreceiver

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// What each type becomes, by default.
func TestTypes(t *testing.T) {
	r := start(t, nil)
	r.send("c:2|c\nneg:-2|c\ng:1.5|g\ns:x|s\nh:1:2|h\nms:1500|ms\nd:3|d\nlate:7|c|T1700000000\nlateg:8|g|T1700000000")
	f := func(name string, kind pmetric.MetricType, unit string) pmetric.Metric {
		t.Helper()
		m, _ := r.await(name)
		require.Equal(t, kind, m.Type(), name)
		require.Equal(t, unit, m.Unit(), name)
		return m
	}
	c := f("c", pmetric.MetricTypeSum, "").Sum()
	require.True(t, c.IsMonotonic())
	require.Equal(t, pmetric.AggregationTemporalityCumulative, c.AggregationTemporality())
	require.False(t, f("neg", pmetric.MetricTypeSum, "").Sum().IsMonotonic())
	f("g", pmetric.MetricTypeGauge, "")
	f("s", pmetric.MetricTypeGauge, "{element}")
	h := f("h", pmetric.MetricTypeExponentialHistogram, "").ExponentialHistogram()
	require.Equal(t, pmetric.AggregationTemporalityCumulative, h.AggregationTemporality())
	ms := f("ms", pmetric.MetricTypeExponentialHistogram, "ms").ExponentialHistogram().DataPoints().At(0)
	require.InDelta(t, 1500, ms.Sum(), 0)
	f("d", pmetric.MetricTypeExponentialHistogram, "")
	late := f("late", pmetric.MetricTypeSum, "").Sum()
	require.Equal(t, pmetric.AggregationTemporalityDelta, late.AggregationTemporality(), "it is no part of any sum")
	require.EqualValues(t, 1700000000, late.DataPoints().At(0).Timestamp().AsTime().Unix())
	lateGauge := f("lateg", pmetric.MetricTypeGauge, "").Gauge().DataPoints().At(0)
	require.EqualValues(t, 1700000000, lateGauge.Timestamp().AsTime().Unix())
}

// Deltas are of one interval, and say so; timers may be in seconds.
func TestDeltasAndSeconds(t *testing.T) {
	r := start(t, func(c *Config) { c.Temporality, c.TimerUnit = temporalityDelta, timerSeconds })
	r.send("ms:1500:500|ms\nc:2|c")
	ms, _ := r.await("ms")
	require.Equal(t, "s", ms.Unit())
	require.InDelta(t, 2, ms.ExponentialHistogram().DataPoints().At(0).Sum(), 1e-12)
	require.Equal(t, pmetric.AggregationTemporalityDelta, ms.ExponentialHistogram().AggregationTemporality())
	first, _ := r.await("c")
	require.Equal(t, pmetric.AggregationTemporalityDelta, first.Sum().AggregationTemporality())
	require.InDelta(t, 2, first.Sum().DataPoints().At(0).DoubleValue(), 0)
	r.send("c:5|c")
	testkit.Eventually(t, patience, func() error {
		second, _, err := r.metric("c")
		if err != nil {
			return err
		}
		if got := second.Sum().DataPoints().At(0); got.DoubleValue() != 5 {
			return fmt.Errorf("%v since %v", got.DoubleValue(), got.StartTimestamp())
		}
		return nil
	})
}

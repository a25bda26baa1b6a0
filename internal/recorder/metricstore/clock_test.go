package metricstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tallymanhq/tallyman/internal/recorder/metricstore"
)

// TestClockBack sets the clock back by an hour: recording goes on under the new
// time, and what was recorded before is still answered.
func TestClockBack(t *testing.T) {
	for name, back := range map[string]time.Duration{"hour": time.Hour, "years": 10 * 365 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			c := newClock()
			o := options(t, c)
			s, _ := open(t, o)
			record(t, s, c, 40*time.Minute)
			before := c.Now()
			c.set(before.Add(-back))
			jumped := c.Now()
			record(t, s, c, 35*time.Minute)
			if got := askOne(t, s, "count_over_time(load_bytes[35m])", c.Now()); got < 35*60 {
				t.Errorf("%v samples after the jump", got)
			}
			if got := askOne(t, s, "load_bytes", before); got != 2400 {
				t.Errorf("before the jump the value was 2400, now %v", got)
			}
			require.NoError(t, s.Close())

			s, r := open(t, o)
			if r.Unclean {
				t.Errorf("%+v", r)
			}
			record(t, s, c, time.Minute)
			if got := askOne(t, s, "count_over_time(load_bytes[36m])", c.Now()); got < 36*60 {
				t.Errorf("%v samples since the jump at %v after a restart", got, jumped)
			}
		})
	}
}

// TestClockBackForSeries: what is remembered of a series does not lie in the
// future after the clock was set back. Deltas go on being added up, and the end
// of a container is where the clock says.
func TestClockBackForSeries(t *testing.T) {
	c := newClock()
	s, _ := open(t, options(t, c))
	send := func() {
		b := container("a", c.Now())
		b.counter("requests", 2, pmetric.AggregationTemporalityDelta)
		write(t, s, b)
	}
	send()
	c.set(began().Add(-time.Hour))
	send()
	if got := askOne(t, s, "requests_seconds_total", c.Now()); got != 4 {
		t.Errorf("deltas before and after the jump add up to %v, want 4", got)
	}
	s.End(context.Background(), "a", c.Now())
	c.set(c.Now().Add(time.Second))
	if got := ask(t, s, "requests_seconds_total", c.Now()); len(got) != 0 {
		t.Errorf("after the end: %v", got)
	}
	write(t, s, container("b", c.Now()).gauge("load", 1))
	if got := askOne(t, s, "load_bytes", c.Now()); got != 1 {
		t.Errorf("after the end of a container: %v", got)
	}
}

// TestClockForward sets the clock of the host ahead by a year: nothing is lost.
func TestClockForward(t *testing.T) {
	c := newClock()
	s, _ := open(t, options(t, c))
	record(t, s, c, 40*time.Minute)
	before := c.Now()
	c.set(before.Add(365 * 24 * time.Hour))
	record(t, s, c, 40*time.Minute)
	if got := askOne(t, s, "count_over_time(load_bytes[40m])", c.Now()); got != 2400 {
		t.Errorf("%v samples after the jump", got)
	}
	if got := askOne(t, s, "count_over_time(load_bytes[40m])", before); got != 2400 {
		t.Errorf("%v samples before the jump", got)
	}
}

// TestSampleTimes drops what is far from the clock and takes what is a little late.
func TestSampleTimes(t *testing.T) {
	c := newClock()
	s, _ := open(t, options(t, c))
	record(t, s, c, 20*time.Minute)
	dropped := func(name string, age time.Duration) map[string]int {
		return s.Write(context.Background(), container("a", c.Now().Add(-age)).gauge(name, -1).md).Dropped
	}
	require.Empty(t, dropped("late", 100*time.Second))
	require.Equal(t, map[string]int{metricstore.ReasonTooOld: 1}, dropped("load", 19*time.Minute))
	require.Equal(t, map[string]int{metricstore.ReasonFuture: 1}, dropped("load", -2*time.Minute))
	require.Equal(t, map[string]int{metricstore.ReasonDuplicate: 1}, dropped("load", 0))
	require.Equal(t, uint64(1), s.Stats().Dropped[metricstore.ReasonFuture])
	if got := askOne(t, s, "late_bytes", c.Now().Add(-90*time.Second)); got != -1 {
		t.Errorf("a late sample is %v", got)
	}
}

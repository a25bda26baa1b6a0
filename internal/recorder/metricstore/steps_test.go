package metricstore_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tallymanhq/tallyman/internal/recorder/metricstore"
)

// TestAnyOrder sends the points of a container in an order that changes with
// each batch, some left out, some with new attributes, in a batch or in two, and
// as gauge or sum of one name and unit or another: each series must have exactly
// the samples that were sent.
func TestAnyOrder(t *testing.T) {
	c := newClock()
	s, _ := open(t, options(t, c))
	rnd := rand.New(rand.NewPCG(3, 5))
	last, count := map[string]float64{}, map[string]float64{}
	const passes = 300
	for i := 1; i <= passes; i++ {
		c.set(began().Add(time.Duration(i) * time.Second))
		batches := []*bed{container("a", c.Now()), container("a", c.Now())}
		order := rnd.Perm(12 + i/30)
		if i%3 > 0 {
			order = order[:0]
			for n := range 12 + i/30 { // the usual: one order, now and then a gap
				if rnd.IntN(40) > 0 {
					order = append(order, n)
				}
			}
		}
		for _, n := range order {
			v := float64(i*1000 + n)
			key := variant(batches[n/8%2], n, v)
			last[key], count[key] = v, count[key]+1
		}
		for _, b := range batches {
			write(t, s, b)
		}
	}
	require.Greater(t, len(last), 20)
	for key, n := range count {
		if got := askOne(t, s, fmt.Sprintf("count_over_time(%s[1h])", key), c.Now()); got != n {
			t.Errorf("%s has %v samples of %v", key, got, n)
		}
		if got := askOne(t, s, fmt.Sprintf("last_over_time(%s[1h])", key), c.Now()); got != last[key] {
			t.Errorf("%s is %v, want %v", key, got, last[key])
		}
	}
}

// variant adds point n of the test and returns the series that it must become.
// The bits of n are metric, unit and type; what is left is an attribute.
func variant(b *bed, n int, v float64) string {
	name, unit, suffix := fmt.Sprintf("m%d", n&1), "", ""
	if n&2 > 0 {
		unit, suffix = "By", "_bytes"
	}
	m := b.metric(name, unit)
	var p pmetric.NumberDataPoint
	if n&4 > 0 {
		m.SetEmptySum().SetIsMonotonic(true)
		m.Sum().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		p = m.Sum().DataPoints().AppendEmpty()
		suffix += "_total"
	} else {
		p = m.SetEmptyGauge().DataPoints().AppendEmpty()
	}
	p.SetTimestamp(pcommon.NewTimestampFromTime(b.at))
	p.SetDoubleValue(v)
	p.Attributes().PutInt("n", int64(n/8))
	return fmt.Sprintf(`%s%s{n="%d"}`, name, suffix, n/8)
}

// TestForgottenByHead writes to a series that the TSDB has dropped from its head
// while the table still knows its reference.
func TestForgottenByHead(t *testing.T) {
	c := newClock()
	s, _ := open(t, options(t, c))
	record(t, s, c, 8*time.Minute)
	write(t, s, container("b", c.Now()).gauge("rare", 1))
	record(t, s, c, 14*time.Minute+50*time.Second)
	require.NoError(t, s.Maintain(context.Background()))
	require.Equal(t, 1, s.Stats().Blocks)
	require.Equal(t, 2, s.Stats().Series, "the head still has the series that was silent")
	write(t, s, container("b", c.Now()).gauge("rare", 2))
	if got := askOne(t, s, "rare_bytes", c.Now()); got != 2 {
		t.Errorf("the value is %v", got)
	}
	s.End(context.Background(), "b", c.Now())
	c.set(c.Now().Add(time.Second))
	if got := ask(t, s, "rare_bytes", c.Now()); len(got) != 0 {
		t.Errorf("after the end: %v", got)
	}
}

// TestLimitCountsOnce: a point that takes turns between two types does not use
// up the room of its container.
func TestLimitCountsOnce(t *testing.T) {
	c := newClock()
	o := options(t, c)
	o.SeriesPerContainer = 4
	s, _ := open(t, o)
	for i := range 20 {
		c.set(began().Add(time.Duration(i) * time.Second))
		b := container("a", c.Now()).gauge("load", 1)
		if i%2 == 1 {
			b = container("a", c.Now())
			b.counter("load", 1, pmetric.AggregationTemporalityCumulative)
		}
		require.Equal(t, metricstore.Written{Samples: 1}, s.Write(context.Background(), b.md))
	}
}

// TestEndAfterLong ends a container whose metrics are older than the table's
// memory of what is silent: one that came all the time, and one that came again.
func TestEndAfterLong(t *testing.T) {
	c := newClock()
	s, _ := open(t, options(t, c))
	write(t, s, container("a", c.Now()).gauge("load", -1).gauge("other", -1).gauge("rare", 1))
	record(t, s, c, 25*time.Minute)
	write(t, s, container("a", c.Now().Add(time.Second)).gauge("load", -1).gauge("other", -1).gauge("rare", 2))
	if got := askOne(t, s, "rare_bytes", c.Now().Add(time.Second)); got != 2 {
		t.Errorf("what came again is %v", got)
	}
	s.End(context.Background(), "a", c.Now().Add(time.Second))
	c.set(c.Now().Add(2 * time.Second))
	if got := ask(t, s, `{container_id="a"}`, c.Now()); len(got) != 0 {
		t.Errorf("after the end: %v", got)
	}
}

// TestReferencesChange: samples go to memory, where other series have the
// references that the series on disk had.
func TestReferencesChange(t *testing.T) {
	c, d := newClock(), roomyDisk()
	o := options(t, c)
	o.Space = d.Space
	s, _ := open(t, o)
	write(t, s, container("a", c.Now()).gauge("one", 1).gauge("two", 2))
	d.set(0)
	require.NoError(t, s.Maintain(context.Background()))
	require.Equal(t, metricstore.MemoryOnly, s.Stats().Mode)
	c.set(c.Now().Add(time.Second))
	b := container("b", c.Now()).gauge("three", 3).gauge("four", 4)
	b.next("a")
	write(t, s, b.gauge("one", 10).gauge("two", 20))
	for name, want := range map[string]float64{"one": 10, "two": 20, "three": 3, "four": 4} {
		if got := askOne(t, s, name+"_bytes", c.Now()); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

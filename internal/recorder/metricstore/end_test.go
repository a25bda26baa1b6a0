package metricstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tallymanhq/tallyman/internal/recorder/metricstore"
)

// TestEnd ends one of two containers. From then on it has no values, of numbers
// and of histograms, though the lookback would still find some.
func TestEnd(t *testing.T) {
	c := newClock()
	s, _ := open(t, options(t, c))
	for i := 1; i <= 60; i++ {
		c.set(began().Add(time.Duration(i) * time.Second))
		b := container("dead", c.Now()).gauge("load", 1)
		exponential(b, "latency", i)
		b.next("alive")
		b.gauge("load", 2)
		write(t, s, b)
	}
	ended := c.Now()
	s.End(context.Background(), "dead", ended)
	s.End(context.Background(), "never seen", ended)

	at := ended.Add(time.Second)
	if got := ask(t, s, "load_bytes", at); len(got) != 1 {
		t.Errorf("a second after the end: %v", got)
	}
	if got := askOne(t, s, `count(latency_seconds) or vector(0)`, at); got != 0 {
		t.Errorf("%v histograms a second after the end", got)
	}
	if got := ask(t, s, "load_bytes", ended); len(got) != 2 {
		t.Errorf("at the end itself: %v", got)
	}

	// What the pipeline held back still arrives, and then a container of the
	// same id is started again.
	write(t, s, container("dead", ended.Add(-500*time.Millisecond)).gauge("load", 1))
	if got := ask(t, s, "load_bytes", at); len(got) != 1 {
		t.Errorf("a late sample woke the dead: %v", got)
	}
	c.set(ended.Add(10 * time.Second))
	write(t, s, container("dead", c.Now()).gauge("load", 3))
	if got := askOne(t, s, `load_bytes{container_id="dead"}`, c.Now()); got != 3 {
		t.Errorf("after the restart: %v", got)
	}
}

// TestNoRecordedValue ends a single series as OTLP does it.
func TestNoRecordedValue(t *testing.T) {
	c := newClock()
	s, _ := open(t, options(t, c))
	write(t, s, container("a", c.Now()).gauge("load", 1))
	c.set(c.Now().Add(time.Second))
	b := container("a", c.Now()).gauge("load", 0)
	b.sm.Metrics().At(0).Gauge().DataPoints().At(0).SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(true))
	write(t, s, b)
	if got := ask(t, s, "load_bytes", c.Now()); len(got) != 0 {
		t.Errorf("after the end of the series: %v", got)
	}
}

// TestCut takes five minutes of one container out of a store whose window lies
// in a block and in the head, and asks the result.
func TestCut(t *testing.T) {
	c := newClock()
	s, _ := open(t, options(t, c))
	start := c.Now()
	for i := 1; i <= 40*60; i++ {
		c.set(start.Add(time.Duration(i) * time.Second))
		b := container("a", c.Now()).gauge("load", float64(i))
		exponential(b, "latency", i)
		b.next("b")
		b.gauge("load", -1)
		write(t, s, b)
		if i%60 == 0 {
			require.NoError(t, s.Maintain(context.Background()))
		}
	}
	require.GreaterOrEqual(t, s.Stats().Blocks, 1)
	w := metricstore.Window{From: start.Add(12 * time.Minute), To: start.Add(17 * time.Minute)}
	dir := t.TempDir()
	stats, err := s.Cut(context.Background(), w, ofContainer("a"), dir)
	require.NoError(t, err)
	if stats.Series != 2 || stats.Samples != 2*301 || stats.Damaged != 0 || stats.Bytes == 0 {
		t.Errorf("%+v", stats)
	}

	r, err := metricstore.OpenBlocks(dir)
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	require.Equal(t, w, r.Window())
	for _, name := range []string{`load_bytes{container_id="a"}`, "latency_seconds"} {
		want := samples(t, s, name, w)
		require.Len(t, want, 301)
		require.Equal(t, want, samples(t, r, name, w))
	}
	if got := ask(t, r, `load_bytes{container_id="b"}`, w.To); len(got) != 0 {
		t.Errorf("what was not wanted: %v", got)
	}
}

func TestCutNothing(t *testing.T) {
	c := newClock()
	s, _ := open(t, options(t, c))
	record(t, s, c, time.Minute)
	dir := t.TempDir()
	w := metricstore.Window{From: began(), To: c.Now()}
	stats, err := s.Cut(context.Background(), w, ofContainer("z"), dir)
	require.NoError(t, err)
	require.Equal(t, metricstore.CutStats{}, stats)
	_, err = metricstore.OpenBlocks(dir)
	require.ErrorIs(t, err, metricstore.ErrNoBlocks)
	_, err = s.Cut(context.Background(), metricstore.Window{From: w.To, To: w.From}, nil, dir)
	require.ErrorContains(t, err, "goes backwards")
}

func ofContainer(id string) func(labels.Labels) bool {
	return func(l labels.Labels) bool { return l.Get("container_id") == id }
}

package evidence

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tallymanhq/tallyman/internal/recorder/capture"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/eventstore"
	"github.com/tallymanhq/tallyman/internal/recorder/metricstore"
)

// only keeps one container and the host.
func only(wanted string) func(string) bool {
	return func(container string) bool { return container == "" || container == wanted }
}

func cut(t *testing.T, s *Source, w bundle.Window, keep func(string) bool) (dir string, result capture.CutResult) {
	t.Helper()
	dir = t.TempDir()
	result, err := s.Cut(t.Context(), capture.CutRequest{Window: w, Keep: keep, Dir: dir})
	require.NoError(t, err)
	return dir, result
}

// counted asks a cut how many samples of a metric each container has.
func counted(t *testing.T, dir, metric string, w bundle.Window) map[string]float64 {
	t.Helper()
	reader, err := metricstore.OpenBlocks(dir)
	require.NoError(t, err)
	defer func() { require.NoError(t, reader.Close()) }()
	result, err := reader.Instant(t.Context(), `count_over_time(`+metric+`[1h])`, w.To)
	require.NoError(t, err)
	got := map[string]float64{}
	for _, sample := range result.Value.(promql.Vector) {
		got[sample.Metric.Get("container_id")] += sample.F
	}
	return got
}

func TestCutMetricsByContainer(t *testing.T) {
	s := newScene(t)
	a, b := idler(1), idler(2)
	s.record(120, a, b)
	w := s.last(59)
	dir, result := cut(t, Metrics(s.metrics), w, only(a.id))
	require.Empty(t, result.Gaps)
	require.Empty(t, result.Drops)
	require.Equal(t, map[string]float64{a.id: 60}, counted(t, dir, "container_memory_usage_bytes", w), "a's samples of the window")
	require.Equal(t, map[string]float64{"": 120}, counted(t, dir, "system_memory_pressure_seconds_total", w), "two series of the host")
}

func TestCutEventsByContainer(t *testing.T) {
	s := newScene(t)
	a, b := idler(1), idler(2)
	s.tell(a, "container.start", "before the window", nil)
	s.pass(time.Minute)
	s.tell(a, "container.stop", "", nil)
	s.tell(b, "container.stop", "", nil)
	s.tell(actor{}, "host.event", "", nil)
	w := s.last(30)
	dir, result := cut(t, Events(s.events), w, only(a.id))
	require.Empty(t, result.Gaps)
	reader, _, err := eventstore.OpenDir(dir)
	require.NoError(t, err)
	defer func() { require.NoError(t, reader.Close()) }()
	var got []string
	require.NoError(t, reader.Scan(t.Context(), eventstore.Query{}, func(e eventstore.Event) bool {
		got = append(got, e.Name+" "+e.Container)
		return true
	}))
	require.ElementsMatch(t, []string{"container.stop " + a.id, "host.event "}, got)

	// A window from before the oldest event.
	require.NoError(t, s.events.Flush())
	_, result = cut(t, Events(s.events), s.last(300), only(a.id))
	require.Len(t, result.Gaps, 1)
	require.Equal(t, bundle.Window{From: s.now.Add(-5 * time.Minute), To: s.now.Add(-time.Minute)}, result.Gaps[0].Window)
}

func TestCutOfNothing(t *testing.T) {
	s := newScene(t)
	s.record(30, idler(1))
	s.tell(idler(1), "container.start", "", nil)
	early := bundle.Window{From: began.Add(-time.Hour), To: began.Add(-time.Minute)}
	_, result := cut(t, Metrics(s.metrics), early, only(id(1)))
	require.Equal(t, []bundle.Gap{{Window: early, Why: noSamples}}, result.Gaps)
	_, result = cut(t, Events(s.events), early, only(id(1)))
	require.Empty(t, result.Gaps, "there may just have been no events")

	ended, stop := context.WithCancel(t.Context())
	stop()
	for _, source := range []*Source{Metrics(s.metrics), Events(s.events)} {
		_, err := source.Cut(ended, capture.CutRequest{Window: s.last(30), Keep: only(""), Dir: t.TempDir()})
		require.ErrorIs(t, err, context.Canceled)
	}
}

func TestGapsAreFound(t *testing.T) {
	s := newScene(t)
	a := idler(1)
	s.record(60, a)
	s.pass(90 * time.Second)
	s.record(60, a)
	s.now = s.now.Add(20 * time.Second) // a query bridges this
	s.record(60, a)
	_, result := cut(t, Metrics(s.metrics), bundle.Window{From: began.Add(-time.Minute), To: s.now}, only(a.id))
	require.Len(t, result.Gaps, 2)
	require.WithinRange(t, result.Gaps[0].To, began, began.Add(time.Second), "before the recorder began")
	require.InDelta(t, 90, result.Gaps[1].To.Sub(result.Gaps[1].From).Seconds(), 2)
	require.WithinRange(t, result.Gaps[1].From, began.Add(59*time.Second), began.Add(61*time.Second))

	// The end: nothing came in the last minute.
	_, result = cut(t, Metrics(s.metrics), bundle.Window{From: s.now.Add(-30 * time.Second), To: s.now.Add(time.Minute)}, only(a.id))
	require.Len(t, result.Gaps, 1)
	require.Equal(t, s.now.Add(time.Minute), result.Gaps[0].To)
}

// Who measures once a minute has no gaps.
func TestSlowMetricsAreNoGaps(t *testing.T) {
	s := newScene(t)
	for range 12 {
		s.pass(59 * time.Second)
		s.record(1, idler(1))
	}
	_, result := cut(t, Metrics(s.metrics), bundle.Window{From: began, To: s.now}, only(id(1)))
	require.Empty(t, result.Gaps)
}

func TestDropsOfTheWindow(t *testing.T) {
	s := newScene(t)
	a := idler(1)
	source := Metrics(s.metrics)
	source.drops.now = s.clock
	late := func(n int) {
		md := pmetric.NewMetrics()
		p := pen{scope: md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty(), at: s.now.Add(-time.Hour)}
		for range n {
			p.gauge("late", "1", 1)
		}
		written := s.metrics.Write(t.Context(), md)
		require.Equal(t, map[string]int{metricstore.ReasonTooOld: n}, written.Dropped)
	}
	s.record(10, a)
	late(3)
	source.Note()
	s.record(60, a)
	late(4)
	release := source.Pin(s.last(10).From, s.now)
	release()
	s.record(60, a)
	late(5)
	_, result := cut(t, source, s.last(20), only(a.id))
	require.Equal(t, map[string]uint64{metricstore.ReasonTooOld: 5}, result.Drops, "since the trigger")
	_, result = cut(t, source, s.last(90), only(a.id))
	require.Equal(t, map[string]uint64{metricstore.ReasonTooOld: 9}, result.Drops, "since the note")
	_, result = cut(t, source, bundle.Window{From: began, To: s.now}, only(a.id))
	require.Equal(t, map[string]uint64{metricstore.ReasonTooOld: 12}, result.Drops, "since the start")
}

func TestNotesAreBounded(t *testing.T) {
	now := began
	d := newDrops(func() map[string]uint64 { return map[string]uint64{"late": uint64(now.Sub(began) / time.Second)} })
	d.now = func() time.Time { return now }
	for range 10_000 {
		now = now.Add(time.Second)
		d.note()
	}
	require.LessOrEqual(t, len(d.notes), maxNotes)
	require.InDelta(t, 1800, float64(d.since(now.Add(-30*time.Minute), now)["late"]), 31)
	// Of a window of the past: what was dropped later is none of it.
	require.InDelta(t, 600, float64(d.since(now.Add(-30*time.Minute), now.Add(-20*time.Minute))["late"]), 61)
	// The clock goes back by an hour: what was noted is of the future.
	now = now.Add(-time.Hour)
	d.note()
	require.False(t, slices.ContainsFunc(d.notes, func(n note) bool { return n.at.After(now) }))
	require.Subset(t, []string{"late"}, slices.Collect(maps.Keys(d.since(now, now))))
}

// A pin of a source is a pin of its store.
func TestPin(t *testing.T) {
	s := newScene(t)
	pinned := false
	source := Events(s.events)
	source.pin = func(from, to time.Time) func() {
		pinned = from.Equal(began) && to.Equal(s.now)
		return func() { pinned = false }
	}
	release := source.Pin(began, s.now)
	require.True(t, pinned)
	release()
	require.False(t, pinned)
}

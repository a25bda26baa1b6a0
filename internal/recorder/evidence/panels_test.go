package evidence

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tallymanhq/tallyman/internal/cadence"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/report"
)

// recordRarely writes everything of so many seconds, once every so many of them, and
// moves the clock.
func (s *scene) recordRarely(seconds, every int, a actor) {
	s.t.Helper()
	for range seconds / every {
		s.pass(time.Duration(every) * time.Second)
		second := int(s.now.Sub(began) / time.Second)
		md := pmetric.NewMetrics()
		p := pen{scope: md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty(), at: s.now}
		p.host(second)
		resource := md.ResourceMetrics().AppendEmpty()
		a.resource(resource.Resource().Attributes())
		p.scope = resource.ScopeMetrics().AppendEmpty()
		p.scope.Scope().SetName(ownScope)
		p.container(&a, second, s.random)
		require.Empty(s.t, s.metrics.Write(s.t.Context(), md).Dropped)
	}
}

// With collection_interval 10s, and for connections always, there is a sample in every
// fifth step of the plot.
func TestPlotsOfRareSamples(t *testing.T) {
	s := newScene(t)
	a := idler(1)
	a.limit = 70 << 20
	s.recordRarely(12*60, 10, a)
	plots, err := Story(s.metrics, s.events).Plots(t.Context(), a.id, s.last(12*60))
	require.NoError(t, err)
	require.Len(t, plots, len(containerPanels()))
	for _, p := range plots {
		require.Greater(t, len(p.Lines), 1, p.Title)
		for _, l := range p.Lines {
			// One point every two seconds, after the first two samples.
			require.GreaterOrEqual(t, len(l.Points), 340, "%s %s", p.Title, l.Name)
		}
	}
	closed := plots[len(plots)-1].Lines[1]
	require.Equal(t, "closed per second", closed.Name)
	require.InDelta(t, 1, closed.Points[len(closed.Points)-1].Value, 0.05)
}

// The far window sees samples of what has ended, and must not draw it on.
func TestRatesEndWithTheirContainer(t *testing.T) {
	s := newScene(t)
	a, other := idler(1), idler(2)
	s.record(120, a, other)
	end := s.now
	s.metrics.End(t.Context(), a.id, end)
	s.record(60, other)
	plots, err := Story(s.metrics, s.events).Plots(t.Context(), a.id, s.last(180))
	require.NoError(t, err)
	looked := 0
	for _, p := range plots {
		if p.Title == hostPressure().title {
			continue
		}
		for _, l := range p.Lines {
			last := time.UnixMilli(l.Points[len(l.Points)-1].At)
			require.LessOrEqual(t, last.Sub(end), near, "%s %s", p.Title, l.Name)
			looked++
		}
	}
	require.Greater(t, looked, 10)
}

// The windows of every rate are filled in, and reach far enough.
func TestRatesReachFar(t *testing.T) {
	q := question{w: newScene(t).last(300), step: time.Second, container: id(1)}
	seen := 0
	for _, p := range append(containerPanels(), hostPanels()...) {
		for _, l := range p.lines {
			expr := q.fill(l.expr)
			if !strings.Contains(expr, "rate(") {
				continue
			}
			seen++
			require.NotContains(t, expr, "$", p.title)
			for _, window := range []string{"[12s]", "[22s]", "[45s]"} {
				require.Equal(t, 1, strings.Count(expr, window), expr)
			}
		}
	}
	require.Greater(t, seen, 10)
}

// What does not change comes every 5 s. A plot of a container that works now and then
// is that of one whose every second is there: no holes, and no jump where it falls
// silent or begins.
func TestPlotsOfASilentContainer(t *testing.T) {
	s := newScene(t)
	full, thinned := id(1), id(2)
	s.recordWork(180, full, thinned, func(second int) bool { return second%80 > 50 && second%80 < 70 })
	q := question{metrics: s.metrics, w: s.last(160), step: time.Second, container: full}
	for _, series := range []string{`container_disk_io_bytes_total{$c}`, `container_network_io_bytes_total{$c}`} {
		drawn := func(container string) []report.Point {
			q.container = container
			plot, err := q.ask(t.Context(), panel{lines: []line{{"", sumRate("", series), ""}}})
			require.NoError(t, err)
			require.Len(t, plot.Lines, 1)
			return plot.Lines[0].Points
		}
		want, got := drawn(full), drawn(thinned)
		require.Len(t, got, len(want), "no holes")
		highest := 0.0
		for i := range want {
			// rate() guesses beyond the first sample of its window, which is further
			// from the edge in one of them.
			require.InDelta(t, want[i].Value, got[i].Value, 100, "%d s", i)
			highest = max(highest, got[i].Value)
		}
		require.InDelta(t, 1000, highest, 10)
	}
}

// A container of a few seconds has few samples far back. Its rate is the share of the
// near window that it has lived, as everywhere in PromQL, and no less.
func TestRatesOfAYoungContainer(t *testing.T) {
	s := newScene(t)
	full, thinned := id(1), id(2)
	s.record(60, idler(3)) // there is a past
	s.recordWork(6, full, thinned, func(int) bool { return true })
	q := question{metrics: s.metrics, w: s.last(1), step: time.Second}
	for _, q.container = range []string{full, thinned} {
		plot, err := q.ask(t.Context(), panel{lines: []line{{"", sumRate("", `container_disk_io_bytes_total{$c}`), ""}}})
		require.NoError(t, err)
		points := plot.Lines[0].Points
		require.GreaterOrEqual(t, points[len(points)-1].Value, 1000*5.0/12)
	}
}

// recordWork writes two counters of two containers each second, which grow by 1000
// while it works: of full all of them, of thinned what [cadence] tells.
func (s *scene) recordWork(seconds int, full, thinned string, works func(second int) bool) {
	s.t.Helper()
	steps, every := cadence.Begin(3), cadence.New(time.Second, 5*time.Second)
	total, was := 0, 0
	for second := range seconds {
		s.pass(time.Second)
		if was = total; works(second) {
			total += 1000
		}
		md := pmetric.NewMetrics()
		write := func(container string, at time.Time, total int) {
			resource := md.ResourceMetrics().AppendEmpty()
			resource.Resource().Attributes().PutStr("container.id", container)
			scope := resource.ScopeMetrics().AppendEmpty()
			for _, name := range []string{"container.disk.io", "container.network.io"} {
				m := scope.Metrics().AppendEmpty()
				m.SetName(name)
				m.SetUnit("By")
				sum := m.SetEmptySum()
				sum.SetIsMonotonic(true)
				sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
				p := sum.DataPoints().AppendEmpty()
				p.SetTimestamp(pcommon.NewTimestampFromTime(at))
				p.SetIntValue(int64(5000 + total))
			}
		}
		write(full, s.now, total)
		tell, before := steps.Next(every, total != was)
		if before {
			write(thinned, s.now.Add(-time.Second), was)
		}
		if tell {
			write(thinned, s.now, total)
		}
		require.Empty(s.t, s.metrics.Write(s.t.Context(), md).Dropped)
	}
}

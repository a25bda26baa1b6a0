package live

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

const scope = "github.com/tallymanhq/tallyman/receiver/cgroupreceiver"

var epoch = time.Date(2026, time.November, 20, 3, 12, 0, 0, time.UTC)

func sec(s float64) time.Time { return epoch.Add(time.Duration(s * float64(time.Second))) }

// measured is one point. pairs are attributes; "true" and "false" become booleans.
type measured struct {
	metric string
	value  float64
	pairs  []string
}

func m(metric string, value float64, pairs ...string) measured {
	return measured{metric, value, pairs}
}

// batch makes a resource with points: gauges, except what ends in a counter's
// name, which has a start.
func batch(id string, start, at time.Time, points ...measured) pmetric.Metrics {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	if id != "" {
		rm.Resource().Attributes().PutStr("container.id", id)
	}
	sm := rm.ScopeMetrics().AppendEmpty()
	sm.Scope().SetName(scope)
	for _, p := range points {
		into := sm.Metrics().AppendEmpty()
		into.SetName(p.metric)
		sum := into.SetEmptySum()
		sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		dp := sum.DataPoints().AppendEmpty()
		dp.SetTimestamp(pcommon.NewTimestampFromTime(at))
		dp.SetStartTimestamp(pcommon.NewTimestampFromTime(start))
		dp.SetDoubleValue(p.value)
		for i := 0; i < len(p.pairs); i += 2 {
			switch text := p.pairs[i+1]; text {
			case "true", "false":
				dp.Attributes().PutBool(p.pairs[i], text == "true")
			default:
				dp.Attributes().PutStr(p.pairs[i], text)
			}
		}
	}
	return md
}

// last returns the newest number of a container.
func last(t *testing.T, l *Live, id string, metric Metric) float32 {
	t.Helper()
	h, ok := l.History(id)
	require.True(t, ok, "no row of %q", id)
	return h.Values[metric][len(h.Values[metric])-1]
}

func TestHeadlineNumbers(t *testing.T) {
	l := New(Options{})
	pass := func(at, n float64) {
		l.Observe(batch("a", sec(-100), sec(at),
			m("container.cpu.usage", 0.5),
			m("container.cpu.limit", 2),
			m("container.memory.usage", 600),
			m("container.memory.limit", 1000),
			m("container.memory.utilization", 0.6),
			m("container.cpu.throttling.periods", 100+1*n, "cpu.throttled", "true"),
			m("container.cpu.throttling.periods", 900+3*n, "cpu.throttled", "false"),
			m("container.cpu.pressure.total", 5+0.1*n, "psi.type", "some"),
			m("container.cpu.pressure.total", 50+5*n, "psi.type", "full"),
			m("container.memory.pressure.total", 5+0.2*n, "psi.type", "some"),
			m("container.io.pressure.total", 5+0.3*n, "psi.type", "some"),
			m("container.disk.io", 10+7*n, "disk.io.direction", "read", "system.device", "sda"),
			m("container.disk.io", 10+8*n, "disk.io.direction", "read", "system.device", "sdb"),
			m("container.disk.io", 10+9*n, "disk.io.direction", "write", "system.device", "sda"),
			m("container.network.io", 1e9+100*n, "network.io.direction", "receive", "network.interface.name", "eth0"),
			m("container.network.io", 1e9+200*n, "network.io.direction", "transmit", "network.interface.name", "eth0"),
			m("container.pids.count", 12),
			m("container.network.tcp.connection.count", 31, "network.connection.state", "established"),
			m("container.network.tcp.connection.count", 99, "network.connection.state", "time_wait"),
			m("container.connection.count", 40+2*n, "connection.outcome", "closed"),
			m("container.connection.count", 4+2*n, "connection.outcome", "failed"),
			m("container.connection.count", 2+1*n, "connection.outcome", "timeout"),
		))
		// Interfaces that came later have a resource of their own.
		l.Observe(batch("a", sec(-50), sec(at),
			m("container.network.io", 50*n, "network.io.direction", "receive", "network.interface.name", "eth1")))
		l.Tick(sec(at + 0.1))
	}
	pass(1, 1)
	for metric, known := range map[Metric]bool{CPU: true, MemoryLimit: true, NetworkReceive: false, Throttled: false, ConnectionsFailed: false} {
		require.Equal(t, known, !isNaN(last(t, l, "a", metric)), metric)
	}
	pass(3, 3) // two seconds later, twice as much more
	h, _ := l.History("a")
	want := []float32{0.5, 2, 600, 1000, 0.6, 0.25, 0.1, 0.2, 0.3, 15, 9, 150, 200, 12, 31, 3}
	require.Len(t, Columns(), Metrics)
	require.Len(t, want, Metrics)
	for i, column := range Columns() {
		require.InDelta(t, want[i], h.Values[i][1], 1e-5, column.Name)
	}
}

// TestRates: a counter that begins anew, one that goes back, and a gap.
func TestRates(t *testing.T) {
	l := New(Options{})
	read := func(start, at, total float64) float32 {
		l.Observe(batch("a", sec(start), sec(at), m("container.disk.io", total, "disk.io.direction", "read")))
		l.Tick(sec(at))
		return last(t, l, "a", IORead)
	}
	require.True(t, isNaN(read(0, 10, 1000)), "nothing to compare with")
	require.InDelta(t, 50, read(0, 12, 1100), 1e-3)
	require.InDelta(t, 0, read(0, 13, 1100), 1e-3)
	// Restarted at 13.5: 30 bytes in half a second.
	require.InDelta(t, 60, read(13.5, 14, 30), 1e-3)
	require.InDelta(t, 10, read(13.5, 15, 40), 1e-3)
	// It went back without a new start: a device was taken away.
	require.True(t, isNaN(read(13.5, 16, 5)))
	require.InDelta(t, 5, read(13.5, 17, 10), 1e-3)
	// A gap of a minute: unknown while it lasts, and the mean afterwards.
	l.Tick(sec(31.9))
	require.InDelta(t, 5, last(t, l, "a", IORead), 1e-3, "held for fifteen seconds")
	l.Tick(sec(33))
	require.True(t, isNaN(last(t, l, "a", IORead)))
	require.InDelta(t, 2, read(13.5, 77, 130), 1e-3)
	// Late points change nothing, and are counted.
	require.InDelta(t, 2, read(13.5, 76, 1e9), 1e-3)
	require.Equal(t, uint64(1), l.Stats().Dropped["late"])
	// The clock was set back by an hour.
	require.True(t, isNaN(read(-5000, -3523, 200)))
	require.InDelta(t, 7, read(-5000, -3522, 207), 1e-3)
}

// TestUnchanged: what stays the same comes every 5 s, and is known all the time. When
// it changes, the reading before comes late, at its own time.
func TestUnchanged(t *testing.T) {
	l := New(Options{})
	told := map[int][]int{0: {0}, 1: {1}, 2: {2}, 5: {5}, 10: {10}, 13: {12, 13}, 14: {14}}
	total := map[int]float64{0: 0, 1: 100, 2: 100, 5: 100, 10: 100, 12: 100, 13: 150, 14: 150}
	for at := range 25 {
		for _, then := range told[at] {
			l.Observe(batch("a", sec(0), sec(float64(then)), m("container.disk.io", total[then], "disk.io.direction", "read"),
				m("container.cpu.usage", 0.25)))
		}
		l.Tick(sec(float64(at)))
		require.InDelta(t, 0.25, last(t, l, "a", CPU), 1e-6, at)
		want := map[int]float64{1: 100, 13: 50}[at]
		if at > 0 {
			require.InDelta(t, want, last(t, l, "a", IORead), 1e-3, at)
		}
	}
}

// TestSlowCollection: at one pass in ten seconds numbers are held in between.
func TestSlowCollection(t *testing.T) {
	l := New(Options{})
	for at := range 60 {
		if at%10 == 0 && at < 30 {
			l.Observe(batch("a", sec(0), sec(float64(at)), m("container.cpu.usage", float64(at))))
		}
		l.Tick(sec(float64(at)))
		known := at <= 20+30
		require.Equal(t, known, !isNaN(last(t, l, "a", CPU)), at)
	}
}

func TestRing(t *testing.T) {
	l := New(Options{})
	for at := range 130 {
		l.Observe(batch("b", sec(0), sec(float64(at)), m("container.pids.count", float64(at))))
		l.Observe(batch("a", sec(0), sec(float64(at)), m("container.pids.count", 1)))
		l.Tick(sec(float64(at)))
		if at == 4 {
			require.Equal(t, []float32{0, 1, 2, 3, 4}, l.Snapshot().Rows[1].Values[Pids])
		}
	}
	s := l.Snapshot()
	require.Equal(t, uint64(130), s.Tick)
	require.Equal(t, sec(129), s.At)
	require.Len(t, s.Rows, 2)
	require.Equal(t, "b", s.Rows[1].ID)
	values := s.Rows[1].Values[Pids]
	require.Len(t, values, Seconds)
	for i, v := range values {
		require.Equal(t, float32(10+i), v)
	}
	require.True(t, isNaN(s.Rows[1].Values[CPU][0]))
	_, ok := l.History("nobody")
	require.False(t, ok)
}

func TestDelta(t *testing.T) {
	l := New(Options{})
	tick := func(at float64, values map[string]float64) {
		for id, v := range values {
			l.Observe(batch(id, sec(0), sec(at), m("container.pids.count", v)))
		}
		l.Tick(sec(at))
	}
	var d Delta
	ids := func(since uint64) string {
		l.Delta(since, &d)
		var all []string
		for _, r := range d.Rows {
			all = append(all, fmt.Sprint(r.ID, "=", r.Values[Pids]))
		}
		return strings.Join(all, " ")
	}
	tick(1, map[string]float64{"a": 1})
	tick(2, map[string]float64{"a": 1, "b": 5})
	require.Equal(t, "a=1 b=5", ids(0))
	require.Equal(t, uint64(2), d.Tick)
	require.Equal(t, sec(2), d.At)
	require.Equal(t, "b=5", ids(1))
	tick(3, map[string]float64{"a": 1, "b": 6})
	require.Equal(t, "b=6", ids(2))
	require.Equal(t, "", ids(3))
	l.End("b", sec(3.5))
	// Its last points come late.
	l.Observe(batch("b", sec(0), sec(3), m("container.pids.count", 6)))
	l.Observe(batch("b", sec(0), sec(3.5), m("container.pids.count", 6)))
	tick(4, map[string]float64{"a": 1})
	require.Equal(t, "b=NaN", ids(3))
	for at := range Seconds {
		tick(float64(5+at), map[string]float64{"a": 1})
		if at < Seconds-2 {
			require.Equal(t, 2, l.Stats().Rows)
		}
	}
	require.Equal(t, 1, l.Stats().Rows)
	require.Equal(t, "", ids(4))
	require.Equal(t, []string{"b"}, d.Gone)
	ids(d.Tick)
	require.Empty(t, d.Gone)
	// It comes back: no longer gone.
	tick(200, map[string]float64{"b": 1})
	ids(4)
	require.Empty(t, d.Gone)
}

func TestBound(t *testing.T) {
	l := New(Options{MaxContainers: 2})
	see := func(id string, at float64) {
		l.Observe(batch(id, sec(0), sec(at), m("container.pids.count", 1), m("container.cpu.usage", 1)))
	}
	see("a", 1)
	see("b", 1)
	see("c", 1)
	l.Tick(sec(1))
	require.Equal(t, Stats{Rows: 2, Dropped: map[string]uint64{"rows": 2, "late": 0}}, l.Stats())
	l.End("a", sec(1.5))
	l.Tick(sec(2))
	see("c", 3)
	l.Tick(sec(3))
	_, ok := l.History("a")
	require.False(t, ok, "the silent one made room")
	require.InDelta(t, 1, last(t, l, "c", CPU), 0)
	require.InDelta(t, 1, last(t, l, "b", CPU), 0)
}

func TestWhoHasRow(t *testing.T) {
	l := New(Options{})
	host := batch("", sec(0), sec(1), m("system.network.tcp.connection.count", 7, "network.connection.state", "established"))
	l.Observe(host)
	pod := batch("", sec(0), sec(1), m("container.cpu.usage", 1))
	pod.ResourceMetrics().At(0).Resource().Attributes().PutStr("k8s.pod.uid", "x")
	l.Observe(pod)
	foreign := batch("x", sec(0), sec(1), m("container.cpu.usage", 1))
	foreign.ResourceMetrics().At(0).ScopeMetrics().At(0).Scope().SetName("somebody.else")
	l.Observe(foreign)
	other := batch("y", sec(0), sec(1), m("container.uptime", 1))
	l.Observe(other)
	delta := batch("z", sec(0), sec(1), m("container.cpu.usage", 1))
	delta.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Sum().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	l.Observe(delta)
	l.Tick(sec(1))
	require.Equal(t, 1, l.Stats().Rows)
	require.InDelta(t, 7, last(t, l, "", Connections), 0)
	require.True(t, isNaN(last(t, l, "", CPU)))
}

func TestGaugesAndNoValue(t *testing.T) {
	l := New(Options{})
	md := batch("a", sec(0), sec(1), m("container.pids.count", 1))
	metric := md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0)
	dp := metric.SetEmptyGauge().DataPoints().AppendEmpty()
	dp.SetTimestamp(pcommon.NewTimestampFromTime(sec(1)))
	dp.SetIntValue(9)
	l.Observe(md)
	l.Tick(sec(1))
	require.InDelta(t, 9, last(t, l, "a", Pids), 0)
	dp.SetTimestamp(pcommon.NewTimestampFromTime(sec(2)))
	dp.SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(true))
	l.Observe(md)
	l.Tick(sec(2))
	require.InDelta(t, 9, last(t, l, "a", Pids), 0, "held, as nothing was recorded")
}

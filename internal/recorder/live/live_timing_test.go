package live

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// host is what 200 containers send in a second: the 12 metrics that are shown, and
// as many others as make it 60.
func host(containers, others int) pmetric.Metrics {
	md := pmetric.NewMetrics()
	for i := range containers {
		points := []measured{
			m("container.cpu.usage", 1),
			m("container.cpu.limit", 1),
			m("container.memory.usage", 1),
			m("container.memory.limit", 1),
			m("container.memory.utilization", 1),
			m("container.cpu.pressure.total", 1, "psi.type", "some"),
			m("container.memory.pressure.total", 1, "psi.type", "some"),
			m("container.io.pressure.total", 1, "psi.type", "some"),
			m("container.network.io", 1, "network.io.direction", "receive", "network.interface.name", "eth0"),
			m("container.network.io", 1, "network.io.direction", "transmit", "network.interface.name", "eth0"),
			m("container.pids.count", 1),
			m("container.network.tcp.connection.count", 1, "network.connection.state", "established"),
		}
		for j := range others {
			points = append(points, m(fmt.Sprintf("container.other.%d", j), 1))
		}
		batch(fmt.Sprintf("%064x", i), epoch, epoch, points...).ResourceMetrics().MoveAndAppendTo(md.ResourceMetrics())
	}
	return md
}

// advance gives all points another time and value.
func advance(md pmetric.Metrics, at time.Time) {
	for i := range md.ResourceMetrics().Len() {
		all := md.ResourceMetrics().At(i).ScopeMetrics().At(0).Metrics()
		for j := range all.Len() {
			p := all.At(j).Sum().DataPoints().At(0)
			p.SetTimestamp(pcommon.NewTimestampFromTime(at))
			p.SetDoubleValue(p.DoubleValue() + float64(j))
		}
	}
}

// TestNoAllocationPerPass is the budget of the steady state: 200 containers with
// 12 metrics each, and a delta for those who follow.
func TestNoAllocationPerPass(t *testing.T) {
	l := New(Options{})
	const runs = 50
	var passes []pmetric.Metrics // made before, because pdata allocates each value
	for n := range runs + 3 {
		md := host(200, 0)
		for range n {
			advance(md, sec(float64(n)))
		}
		passes = append(passes, md)
	}
	var d Delta
	n := 0
	step := func() {
		l.Observe(passes[n])
		l.Tick(sec(float64(n)))
		n++
		l.Delta(uint64(n-1), &d)
	}
	step()
	step()
	require.Zero(t, testing.AllocsPerRun(runs, step))
	require.Equal(t, len(passes), n)
	require.Len(t, d.Rows, 200)
	require.InDelta(t, 8, d.Rows[0].Values[NetworkReceive], 0, "the eighth of the metrics grows by 8 a second")
}

// BenchmarkPass is a second of 200 containers with 60 metrics each, of which 12 are
// shown, with a delta.
func BenchmarkPass(b *testing.B) {
	l := New(Options{})
	md := host(200, 48)
	var d Delta
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		b.StopTimer()
		advance(md, sec(float64(n)))
		b.StartTimer()
		l.Observe(md)
		l.Tick(sec(float64(n)))
		l.Delta(uint64(n-1), &d)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*200*60), "ns/sample")
}

func BenchmarkSnapshot(b *testing.B) {
	l := New(Options{})
	md := host(200, 0)
	for n := range Seconds {
		advance(md, sec(float64(n)))
		l.Observe(md)
		l.Tick(sec(float64(n)))
	}
	b.ReportAllocs()
	for b.Loop() {
		if len(l.Snapshot().Rows) != 200 {
			b.Fatal("rows are missing")
		}
	}
}

// TestMemory holds the package to what doc.go says of its memory.
func TestMemory(t *testing.T) {
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	md := host(200, 0)
	before := heap()
	l := New(Options{})
	l.Observe(md)
	used := heap() - before
	t.Logf("%d bytes a row", used/200)
	require.Less(t, used, uint64(200*10<<10))
	runtime.KeepAlive(l)
	runtime.KeepAlive(md)
}

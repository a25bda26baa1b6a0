package entity

import (
	"fmt"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// pass is what the receiver cgroup sends for some containers, with 25 tags each
// and a list among them.
func pass(containers, metrics int) pmetric.Metrics {
	md := pmetric.NewMetrics()
	for i := range containers {
		rm := md.ResourceMetrics().AppendEmpty()
		m := rm.Resource().Attributes()
		m.PutStr("container.id", fmt.Sprintf("%064x", i))
		m.PutStr("container.name", fmt.Sprintf("shop_web_%d", i))
		m.PutEmptySlice("container.image.tags").AppendEmpty().SetStr("1.4")
		for j := range 23 {
			m.PutStr(fmt.Sprintf("some.key.of.tag.%d", j), fmt.Sprintf("some value %d", j))
		}
		sm := rm.ScopeMetrics().AppendEmpty()
		sm.Scope().SetName(cgroupScope)
		for j := range metrics {
			p := sm.Metrics().AppendEmpty()
			p.SetName(fmt.Sprintf("container.metric.%d", j))
			p.SetEmptyGauge().DataPoints().AppendEmpty()
		}
		up := sm.Metrics().AppendEmpty()
		up.SetName("container.uptime")
		up.SetEmptyGauge().DataPoints().AppendEmpty()
	}
	return md
}

// advance gives a pass another time. Containers began at the epoch.
func advance(md pmetric.Metrics, at time.Time) {
	for i := range md.ResourceMetrics().Len() {
		all := md.ResourceMetrics().At(i).ScopeMetrics().At(0).Metrics()
		for j := range all.Len() {
			p := all.At(j).Gauge().DataPoints().At(0)
			p.SetTimestamp(pcommon.NewTimestampFromTime(at))
			p.SetDoubleValue(at.Sub(epoch).Seconds())
		}
	}
}

// BenchmarkObserveMetrics is a pass over 200 containers of 60 metrics, as once a
// second.
func BenchmarkObserveMetrics(b *testing.B) {
	table := newTable(Options{})
	md := pass(200, 60)
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		b.StopTimer()
		advance(md, epoch.Add(time.Duration(n)*time.Second))
		b.StartTimer()
		table.ObserveMetrics(md)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*200*61), "ns/sample")
}

func BenchmarkList(b *testing.B) {
	table := newTable(Options{})
	for i := range 50_000 {
		table.Observe(attributes(fmt.Sprintf("%064x", i), "container.name", fmt.Sprint("name", i%100)), epoch)
	}
	b.ReportAllocs()
	for b.Loop() {
		if n := len(table.List(Filter{Text: "name7"})); n != 500+500*10 {
			b.Fatal(n)
		}
	}
}

// TestNoAllocationPerPass: nothing new, nothing allocated.
func TestNoAllocationPerPass(t *testing.T) {
	table := newTable(Options{Now: func() time.Time { return epoch.Add(time.Hour) }})
	const runs = 20
	var passes []pmetric.Metrics // made before, because pdata allocates each value
	for n := range runs + 2 {
		md := pass(200, 12)
		advance(md, epoch.Add(time.Duration(n+1)*time.Second))
		passes = append(passes, md)
	}
	step := func() {
		table.ObserveMetrics(passes[0])
		passes = passes[1:]
	}
	step()
	require.Zero(t, testing.AllocsPerRun(runs, step))
	require.Empty(t, passes)
	require.Len(t, table.List(Filter{}), 200)
}

// TestMemoryOfChoosing: what is not chosen costs no map of tags. A map of 25 is 2 kB.
func TestMemoryOfChoosing(t *testing.T) {
	table := newTable(Options{})
	const known = 5000
	md := pass(known, 0)
	advance(md, epoch)
	table.ObserveMetrics(md)
	allocated := func(step func()) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		step()
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	chosen := 0
	used := allocated(func() {
		for range table.Walk() {
			chosen++
		}
	})
	require.Equal(t, known, chosen)
	require.Less(t, used, uint64(known*50), "walk")
	used = allocated(func() {
		require.NoError(t, table.Write(io.Discard, func(e *Entity) bool { return e.Seq == 7 }))
	})
	require.Less(t, used, uint64(known*50), "write")
}

// TestMemoryOfFullTable holds the package to what it says about its memory:
// 50,000 incarnations of 25 tags each, three of them nobody else's, in 100 MB.
func TestMemoryOfFullTable(t *testing.T) {
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	table := newTable(Options{})
	m := pcommon.NewMap()
	for i := range 50_000 {
		m.Clear()
		m.PutStr("container.id", fmt.Sprintf("%064x", i))
		m.PutStr("container.name", fmt.Sprintf("shop_web_%d", i))
		m.PutStr("docker.swarm.task.id", fmt.Sprintf("%025d", i))
		m.PutInt("network.namespace.inode", int64(4026532000+i))
		for j := range 22 {
			m.PutStr(fmt.Sprintf("some.key.of.tag.%d", j), fmt.Sprintf("some value %d", j))
		}
		table.Observe(m, epoch)
	}
	used := heap() - before
	t.Logf("%d bytes for each, %d in all counted as text", used/50_000, table.weight.held)
	require.Equal(t, 50_000, table.Stats().Entities)
	require.Less(t, used, uint64(100<<20))
	runtime.KeepAlive(table)
}

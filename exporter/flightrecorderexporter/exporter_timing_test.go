package flightrecorderexporter

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// BenchmarkQueue is one batch through the queue, with n that wait in it.
func BenchmarkQueue(b *testing.B) {
	for _, n := range []int{0, 3, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			q := newQueue[int](1 << 20)
			for range n {
				q.put(batch[int]{items: 1, weight: 1})
			}
			b.ReportAllocs()
			for b.Loop() {
				q.put(batch[int]{items: 1, weight: 1})
				q.take()
			}
		})
	}
	b.Run("full", func(b *testing.B) {
		q := newQueue[int](1000)
		b.ReportAllocs()
		for b.Loop() {
			q.put(batch[int]{items: 1, weight: 1})
		}
	})
}

// TestQueueAllocates holds the queue to its word.
func TestQueueAllocates(t *testing.T) {
	q := newQueue[int](100)
	for range 50 {
		q.put(batch[int]{items: 1, weight: 1})
	}
	pass := func() {
		for range 1000 {
			q.put(batch[int]{items: 1, weight: 1})
			q.take()
		}
		for range 200 { // more than fit
			q.put(batch[int]{items: 1, weight: 1})
		}
	}
	pass()
	require.Zero(t, testing.AllocsPerRun(10, pass))
	require.LessOrEqual(t, cap(q.waiting), 512, "it grows with what went through")
}

// BenchmarkConsume is what a pipeline pays for a pass over 200 containers with 60
// metrics each, and what such a pass is.
func BenchmarkConsume(b *testing.B) {
	md := pass(200, 60)
	e, err := createMetrics(b.Context(), settings(), &Config{Queue: 1})
	require.NoError(b, err)
	items, size := metricsSignal().measure(md)
	b.ReportAllocs()
	for b.Loop() {
		if err := e.ConsumeMetrics(b.Context(), md); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(size)/float64(items), "wire-B/point")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*items), "ns/point")
}

// BenchmarkCopy is what it would cost besides if the exporter claimed to change data
// in a pipeline that has another exporter; its B/op over the points is the memory that
// a point takes while it waits.
func BenchmarkCopy(b *testing.B) {
	md := pass(200, 60)
	b.ReportAllocs()
	for b.Loop() {
		md.CopyTo(pmetric.NewMetrics())
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*md.DataPointCount()), "ns/point")
}

// pass has metrics as receiver cgroup and container_tag make them.
func pass(containers, metrics int) pmetric.Metrics {
	md := pmetric.NewMetrics()
	for i := range containers {
		rm := md.ResourceMetrics().AppendEmpty()
		for j := range 15 {
			rm.Resource().Attributes().PutStr(fmt.Sprintf("container.label.number.%d", j), fmt.Sprintf("value-%d-%d", i, j))
		}
		list := rm.ScopeMetrics().AppendEmpty().Metrics()
		for j := range metrics {
			m := list.AppendEmpty()
			m.SetName(fmt.Sprintf("container.memory.metric.%d", j))
			m.SetUnit("By")
			p := m.SetEmptySum().DataPoints().AppendEmpty()
			p.SetIntValue(int64(i * j))
			p.SetTimestamp(pcommon.Timestamp(1_700_000_000_000_000_000 + i))
			p.SetStartTimestamp(1_600_000_000_000_000_000)
			p.Attributes().PutStr("system.paging.fault.type", "major")
		}
	}
	return md
}

package containertagprocessor

import (
	"context"

	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// mutates is what all three say of themselves.
type mutates struct{}

// Capabilities implements the consumers.
func (mutates) Capabilities() consumer.Capabilities { return consumer.Capabilities{MutatesData: true} }

// metricsTags is the processor in a pipeline of metrics.
type metricsTags struct {
	*core
	mutates
	next consumer.Metrics
	hold *hold[pmetric.Metrics]
}

func newMetricsTags(c *core, next consumer.Metrics) *metricsTags {
	m := &metricsTags{core: c, next: next}
	m.hold = newHold(m.passHeld, pmetric.Metrics.DataPointCount, c.now)
	c.waits = m.hold
	return m
}

// ConsumeMetrics tags what it can at once; the rest follows when it can be.
func (m *metricsTags) ConsumeMetrics(ctx context.Context, md pmetric.Metrics) error {
	v := m.visit(m.peerOf(ctx))
	md.ResourceMetrics().RemoveIf(func(rm pmetric.ResourceMetrics) bool {
		f := v.look(rm.Resource().Attributes())
		later := aside(v, m.hold, &f, func() pmetric.Metrics {
			alone := pmetric.NewMetrics()
			rm.MoveTo(alone.ResourceMetrics().AppendEmpty())
			return alone
		})
		return later || !m.tag(v, rm, &f)
	})
	if md.ResourceMetrics().Len() == 0 {
		return nil
	}
	return m.next.ConsumeMetrics(ctx, md)
}

func (m *metricsTags) tag(v *visit, rm pmetric.ResourceMetrics, f *found) (selected bool) {
	m.tagger.peers(rm)
	return v.apply(rm.Resource().Attributes(), f)
}

func (m *metricsTags) passHeld(data []pmetric.Metrics) {
	for _, md := range data {
		items := md.DataPointCount()
		v := m.visit(noPeer)
		md.ResourceMetrics().RemoveIf(func(rm pmetric.ResourceMetrics) bool {
			f := v.look(rm.Resource().Attributes())
			return !m.tag(v, rm, &f)
		})
		if md.ResourceMetrics().Len() > 0 {
			m.handedOn(m.next.ConsumeMetrics(context.Background(), md), items)
		}
	}
}

// logsTags is the processor in a pipeline of logs.
type logsTags struct {
	*core
	mutates
	next consumer.Logs
	hold *hold[plog.Logs]
}

func newLogsTags(c *core, next consumer.Logs) *logsTags {
	l := &logsTags{core: c, next: next}
	l.hold = newHold(l.passHeld, plog.Logs.LogRecordCount, c.now)
	c.waits = l.hold
	return l
}

// ConsumeLogs tags what it can at once; the rest follows when it can be.
func (l *logsTags) ConsumeLogs(ctx context.Context, ld plog.Logs) error {
	v := l.visit(l.peerOf(ctx))
	ld.ResourceLogs().RemoveIf(func(rl plog.ResourceLogs) bool {
		f := v.look(rl.Resource().Attributes())
		later := aside(v, l.hold, &f, func() plog.Logs {
			alone := plog.NewLogs()
			rl.MoveTo(alone.ResourceLogs().AppendEmpty())
			return alone
		})
		return later || !v.apply(rl.Resource().Attributes(), &f)
	})
	if ld.ResourceLogs().Len() == 0 {
		return nil
	}
	return l.next.ConsumeLogs(ctx, ld)
}

func (l *logsTags) passHeld(data []plog.Logs) {
	for _, ld := range data {
		items := ld.LogRecordCount()
		v := l.visit(noPeer)
		ld.ResourceLogs().RemoveIf(func(rl plog.ResourceLogs) bool {
			f := v.look(rl.Resource().Attributes())
			return !v.apply(rl.Resource().Attributes(), &f)
		})
		if ld.ResourceLogs().Len() > 0 {
			l.handedOn(l.next.ConsumeLogs(context.Background(), ld), items)
		}
	}
}

// tracesTags is the processor in a pipeline of traces. Spans come at their end,
// when their container has long been known: they do not wait.
type tracesTags struct {
	*core
	mutates
	next consumer.Traces
}

// ConsumeTraces tags with what is known now.
func (t *tracesTags) ConsumeTraces(ctx context.Context, td ptrace.Traces) error {
	v := t.visit(t.peerOf(ctx))
	td.ResourceSpans().RemoveIf(func(rs ptrace.ResourceSpans) bool {
		f := v.look(rs.Resource().Attributes())
		return !v.apply(rs.Resource().Attributes(), &f)
	})
	if td.ResourceSpans().Len() == 0 {
		return nil
	}
	return t.next.ConsumeTraces(ctx, td)
}

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
	m.hold = newHold(m.passHeld, metricsSize, c.now)
	c.waits = m.hold
	return m
}

func metricsSize(md pmetric.Metrics) int {
	return max(md.DataPointCount(), new(pmetric.ProtoMarshaler).MetricsSize(md)/itemBytes)
}

// ConsumeMetrics tags what it can at once; the rest follows when it can be. An
// error leaves the batch whole, for who tries again.
func (m *metricsTags) ConsumeMetrics(ctx context.Context, md pmetric.Metrics) error {
	v := m.visit(m.peerOf(ctx))
	var later []setAside[pmetric.Metrics]
	md.ResourceMetrics().RemoveIf(func(rm pmetric.ResourceMetrics) bool {
		attributes := rm.Resource().Attributes()
		f := v.look(attributes)
		if !waits(v, m.hold, &f) {
			return !m.tag(v, rm, &f)
		}
		v.name(attributes, &f)
		alone := pmetric.NewMetrics()
		rm.MoveTo(alone.ResourceMetrics().AppendEmpty())
		later = append(later, setAside[pmetric.Metrics]{found: f, data: alone})
		return true
	})
	if md.ResourceMetrics().Len() > 0 {
		if err := m.next.ConsumeMetrics(ctx, md); err != nil {
			for _, l := range later {
				l.data.ResourceMetrics().MoveAndAppendTo(md.ResourceMetrics())
			}
			return err
		}
	}
	putAside(v, m.hold, later)
	return nil
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
			m.handedOn(m.next.ConsumeMetrics(m.passing, md), items)
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
	l.hold = newHold(l.passHeld, logsSize, c.now)
	c.waits = l.hold
	return l
}

func logsSize(ld plog.Logs) int {
	return max(ld.LogRecordCount(), new(plog.ProtoMarshaler).LogsSize(ld)/itemBytes)
}

// ConsumeLogs does for logs what ConsumeMetrics does for metrics.
func (l *logsTags) ConsumeLogs(ctx context.Context, ld plog.Logs) error {
	v := l.visit(l.peerOf(ctx))
	var later []setAside[plog.Logs]
	ld.ResourceLogs().RemoveIf(func(rl plog.ResourceLogs) bool {
		attributes := rl.Resource().Attributes()
		f := v.look(attributes)
		if !waits(v, l.hold, &f) {
			return !l.tag(v, rl, &f)
		}
		v.name(attributes, &f)
		alone := plog.NewLogs()
		rl.MoveTo(alone.ResourceLogs().AppendEmpty())
		later = append(later, setAside[plog.Logs]{found: f, data: alone})
		return true
	})
	if ld.ResourceLogs().Len() > 0 {
		if err := l.next.ConsumeLogs(ctx, ld); err != nil {
			for _, a := range later {
				a.data.ResourceLogs().MoveAndAppendTo(ld.ResourceLogs())
			}
			return err
		}
	}
	putAside(v, l.hold, later)
	return nil
}

func (l *logsTags) tag(v *visit, rl plog.ResourceLogs, f *found) (selected bool) {
	l.tagger.ends(rl)
	return v.apply(rl.Resource().Attributes(), f)
}

func (l *logsTags) passHeld(data []plog.Logs) {
	for _, ld := range data {
		items := ld.LogRecordCount()
		v := l.visit(noPeer)
		ld.ResourceLogs().RemoveIf(func(rl plog.ResourceLogs) bool {
			f := v.look(rl.Resource().Attributes())
			return !l.tag(v, rl, &f)
		})
		if ld.ResourceLogs().Len() > 0 {
			l.handedOn(l.next.ConsumeLogs(l.passing, ld), items)
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

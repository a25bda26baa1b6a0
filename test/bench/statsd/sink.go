package main

import (
	"context"
	"strings"
	"sync"

	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// sink is the consumer: it keeps what it gets, and looks at it when it is asked.
type sink struct {
	mu   sync.Mutex
	kept []pmetric.Metrics
	// came has an entry after something was kept.
	came chan struct{}
}

func newSink() *sink { return &sink{came: make(chan struct{}, 1)} }

// Capabilities implements consumer.Metrics.
func (s *sink) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

// ConsumeMetrics implements consumer.Metrics.
func (s *sink) ConsumeMetrics(_ context.Context, md pmetric.Metrics) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = append(s.kept, md)
	select {
	case s.came <- struct{}{}:
	default:
	}
	return nil
}

// totals adds up all deltas, and of what is cumulative the last state. Messages
// are not known here.
func (s *sink) totals() totals {
	s.mu.Lock()
	defer s.mu.Unlock()
	var sum totals
	last := map[string]totals{}
	for _, md := range s.kept {
		eachPoint(md, func(p point) {
			if p.cumulative {
				last[p.key()] = p.totals
				return
			}
			sum = sum.plus(p.totals)
		})
	}
	for _, t := range last {
		sum = sum.plus(t)
	}
	return sum
}

// origin is what the last data say about who has sent them; "" is nothing.
func (s *sink) origin() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kept) == 0 {
		return ""
	}
	value, ok := s.kept[len(s.kept)-1].ResourceMetrics().At(0).Resource().Attributes().Get("statsd.origin")
	if !ok {
		return ""
	}
	return value.AsString()
}

// point is of a counter or a histogram.
type point struct {
	name       string
	tags       pcommon.Map
	cumulative bool
	totals     totals
}

// key tells points of different contexts apart. A context has its tags always in
// the same order.
func (p point) key() string {
	var b strings.Builder
	b.WriteString(p.name)
	for key, value := range p.tags.All() {
		b.WriteString("\x00" + key + "\x00" + value.AsString())
	}
	return b.String()
}

func eachPoint(md pmetric.Metrics, f func(point)) {
	for _, rm := range md.ResourceMetrics().All() {
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				eachOf(m, f)
			}
		}
	}
}

func eachOf(m pmetric.Metric, f func(point)) {
	const cumulative = pmetric.AggregationTemporalityCumulative
	switch m.Type() {
	case pmetric.MetricTypeSum:
		for _, d := range m.Sum().DataPoints().All() {
			n := int(d.IntValue())
			if d.ValueType() == pmetric.NumberDataPointValueTypeDouble {
				n = int(d.DoubleValue())
			}
			f(point{m.Name(), d.Attributes(), m.Sum().AggregationTemporality() == cumulative, totals{Counted: n}})
		}
	case pmetric.MetricTypeExponentialHistogram:
		h := m.ExponentialHistogram()
		for _, d := range h.DataPoints().All() {
			f(point{m.Name(), d.Attributes(), h.AggregationTemporality() == cumulative, totals{Observed: int(d.Count())}})
		}
	}
}

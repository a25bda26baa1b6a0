package live

import (
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// ownScopes begins the scope names of Tallyman's receivers. Others use some of the
// same names with other attributes.
const ownScopes = "github.com/tallymanhq/tallyman/"

// Observe takes a batch of metrics. Points of one time are added up within a batch
// and over batches.
func (l *Live) Observe(md pmetric.Metrics) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range md.ResourceMetrics().Len() {
		rm := md.ResourceMetrics().At(i)
		if id, ok := idOf(rm.Resource().Attributes()); ok {
			l.resource(id, rm)
		}
	}
	for i, r := range l.touched {
		r.settle()
		r.touched = false
		l.touched[i] = nil
	}
	l.touched = l.touched[:0]
}

// idOf is the container that a resource is about, "" for the host. A resource
// that is neither, such as a pod or a slice, has no row.
func idOf(attributes pcommon.Map) (string, bool) {
	if v, ok := attributes.Get("container.id"); ok {
		return v.Str(), v.Str() != ""
	}
	for _, other := range []string{"linux.cgroup.path", "k8s.pod.uid", "otel.metric.overflow"} {
		if _, ok := attributes.Get(other); ok {
			return "", false
		}
	}
	return "", true
}

func (l *Live) resource(id string, rm pmetric.ResourceMetrics) {
	for i := range rm.ScopeMetrics().Len() {
		sm := rm.ScopeMetrics().At(i)
		if !strings.HasPrefix(sm.Scope().Name(), ownScopes) {
			continue
		}
		for j := range sm.Metrics().Len() {
			m := sm.Metrics().At(j)
			if ways := routes[m.Name()]; ways != nil {
				l.metric(id, m, ways)
			}
		}
	}
}

func (l *Live) metric(id string, m pmetric.Metric, ways []route) {
	var points pmetric.NumberDataPointSlice
	switch {
	case m.Type() == pmetric.MetricTypeGauge:
		points = m.Gauge().DataPoints()
	case m.Type() == pmetric.MetricTypeSum && m.Sum().AggregationTemporality() == pmetric.AggregationTemporalityCumulative:
		points = m.Sum().DataPoints()
	default:
		return // none of the routes' metrics is anything else
	}
	if points.Len() == 0 {
		return
	}
	r := l.row(id)
	if r == nil {
		l.noPlace += uint64(points.Len())
		return
	}
	if !r.touched {
		r.touched = true
		l.touched = append(l.touched, r)
	}
	for i := range points.Len() {
		l.point(r, points.At(i), ways)
	}
}

func (l *Live) point(r *row, p pmetric.NumberDataPoint, ways []route) {
	if p.Flags().NoRecordedValue() {
		return
	}
	if r.ended != 0 && int64(p.Timestamp()) <= r.ended {
		return // in the past, which the plots have
	}
	taken := reading{at: int64(p.Timestamp()), start: int64(p.StartTimestamp()), sum: number(p)}
	for i := range ways {
		way := &ways[i]
		chosen := way.chooses(p.Attributes())
		if !chosen && !way.zero {
			continue
		}
		if !chosen {
			taken.sum = 0
		}
		if !r.meters[way.to].add(taken) {
			l.late++
		}
	}
}

// settle makes numbers of what was measured.
func (r *row) settle() {
	for _, g := range gauges {
		m := &r.meters[g.from]
		r.newest[g.metric].set(float32(m.now.sum), m)
	}
	for _, g := range rates {
		m := &r.meters[g.from]
		r.newest[g.metric].set(m.rate(), m)
	}
	throttled := &r.meters[periodsThrottled]
	r.newest[Throttled].set(share(throttled, &r.meters[periodsFree]), throttled)
}

func number(p pmetric.NumberDataPoint) float64 {
	if p.ValueType() == pmetric.NumberDataPointValueTypeInt {
		return float64(p.IntValue())
	}
	return p.DoubleValue()
}

package browser_test

import (
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// scopes begins the scope names of Tallyman's receivers.
const scopes = "github.com/tallymanhq/tallyman/receiver/"

// points writes the metrics of one resource, all of one moment.
type points struct {
	to    pmetric.MetricSlice
	at    pcommon.Timestamp
	begin pcommon.Timestamp
	// open is the metric that was written last: points of one name follow each other.
	open pmetric.Metric
	name string
}

// into begins the metrics of a receiver.
func into(rm pmetric.ResourceMetrics, receiver string, begin, at time.Time) *points {
	sm := rm.ScopeMetrics().AppendEmpty()
	sm.Scope().SetName(scopes + receiver)
	return &points{to: sm.Metrics(), at: pcommon.NewTimestampFromTime(at), begin: pcommon.NewTimestampFromTime(begin)}
}

// gauge writes a gauge; attributes are pairs of key and value.
func (p *points) gauge(name, unit string, v float64, attributes ...string) {
	m := p.metric(name, unit, func(m pmetric.Metric) { m.SetEmptyGauge() })
	p.point(m.Gauge().DataPoints().AppendEmpty(), v, attributes)
}

// counter writes a monotonic sum, level one that goes down as well.
func (p *points) counter(name, unit string, v float64, attributes ...string) {
	p.sum(true, name, unit).fill(p, v, attributes)
}

func (p *points) level(name, unit string, v float64, attributes ...string) {
	p.sum(false, name, unit).fill(p, v, attributes)
}

type sum struct{ pmetric.Sum }

func (p *points) sum(isMonotonic bool, name, unit string) sum {
	m := p.metric(name, unit, func(m pmetric.Metric) {
		s := m.SetEmptySum()
		s.SetIsMonotonic(isMonotonic)
		s.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	})
	return sum{m.Sum()}
}

func (s sum) fill(p *points, v float64, attributes []string) {
	p.point(s.DataPoints().AppendEmpty(), v, attributes)
}

func (p *points) metric(name, unit string, make func(pmetric.Metric)) pmetric.Metric {
	if p.name == name {
		return p.open
	}
	m := p.to.AppendEmpty()
	m.SetName(name)
	m.SetUnit(unit)
	make(m)
	p.open, p.name = m, name
	return m
}

func (p *points) point(to pmetric.NumberDataPoint, v float64, attributes []string) {
	to.SetTimestamp(p.at)
	to.SetStartTimestamp(p.begin)
	to.SetDoubleValue(v)
	for i := 0; i+1 < len(attributes); i += 2 {
		to.Attributes().PutStr(attributes[i], attributes[i+1])
	}
}

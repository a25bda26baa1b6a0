package udsstatsdreceiver

import (
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/aggregate"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/dogstatsd"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/metadata"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/origin"
)

// metricKey is what points of one metric have in common.
type metricKey struct {
	name            string
	kind            dogstatsd.Type
	monotonic, late bool
}

// form is what all metrics of a receiver have in common.
type form struct {
	version     string
	temporality pmetric.AggregationTemporality
	timerUnit   string
}

// pointsOf makes the metrics of one origin: each name and type once.
func pointsOf(from *origin.Origin, points []aggregate.Point, f form) pmetric.Metrics {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	describe(rm.Resource().Attributes(), from)
	sm := rm.ScopeMetrics().AppendEmpty()
	sm.Scope().SetName(metadata.ScopeName)
	sm.Scope().SetVersion(f.version)
	rows, of := rowsOf(points)
	sm.Metrics().EnsureCapacity(len(rows))
	for i := range rows {
		rows[i].metric = sm.Metrics().AppendEmpty()
		f.begin(rows[i].metric, &points[rows[i].first])
		reserve(rows[i].metric, rows[i].points)
	}
	for i := range points {
		addPoint(rows[of[i]].metric, &points[i])
	}
	return md
}

// row is a metric that is made: its first point, and how many there are.
type row struct {
	metric        pmetric.Metric
	first, points int
}

// rowsOf groups points by metric before anything is made: lists that grow are two
// thirds of the time otherwise.
func rowsOf(points []aggregate.Point) (rows []row, of []int) {
	known := make(map[metricKey]int)
	of = make([]int, len(points))
	for i := range points {
		p := &points[i]
		key := metricKey{p.Name, p.Type, p.Monotonic, p.Late}
		n, ok := known[key]
		if !ok {
			n = len(rows)
			known[key] = n
			rows = append(rows, row{first: i})
		}
		rows[n].points++
		of[i] = n
	}
	return rows, of
}

func reserve(m pmetric.Metric, points int) {
	switch m.Type() {
	case pmetric.MetricTypeSum:
		m.Sum().DataPoints().EnsureCapacity(points)
	case pmetric.MetricTypeGauge:
		m.Gauge().DataPoints().EnsureCapacity(points)
	case pmetric.MetricTypeExponentialHistogram:
		m.ExponentialHistogram().DataPoints().EnsureCapacity(points)
	}
}

// describe says whose the data are. A sender that is not in a container has no id,
// and so has one that nobody could find.
func describe(resource pcommon.Map, o *origin.Origin) {
	kind := "none"
	switch o.Kind {
	case origin.KindKernel, origin.KindHost:
		kind = "kernel"
	case origin.KindClient:
		kind = "client"
	}
	resource.PutStr("statsd.origin", kind)
	for _, a := range []struct{ key, value string }{
		{"container.id", o.ContainerID}, {"container.runtime.name", o.Runtime},
		{"k8s.pod.uid", o.PodUID}, {"k8s.container.name", o.ContainerName},
	} {
		if a.value != "" {
			resource.PutStr(a.key, a.value)
		}
	}
}

// begin gives a metric its name and type. Values with a time of their own are no
// part of any sum, so their sums are deltas.
func (f form) begin(m pmetric.Metric, p *aggregate.Point) {
	m.SetName(p.Name)
	temporality := f.temporality
	if p.Late {
		temporality = pmetric.AggregationTemporalityDelta
	}
	switch p.Type {
	case dogstatsd.Counter:
		sum := m.SetEmptySum()
		sum.SetIsMonotonic(p.Monotonic)
		sum.SetAggregationTemporality(temporality)
	case dogstatsd.Gauge:
		m.SetEmptyGauge()
	case dogstatsd.Set:
		m.SetUnit("{element}")
		m.SetEmptyGauge()
	default:
		if p.Type == dogstatsd.Timer {
			m.SetUnit(f.timerUnit)
		}
		m.SetEmptyExponentialHistogram().SetAggregationTemporality(temporality)
	}
}

func addPoint(m pmetric.Metric, p *aggregate.Point) {
	switch m.Type() {
	case pmetric.MetricTypeSum:
		addNumber(m.Sum().DataPoints().AppendEmpty(), p, true)
	case pmetric.MetricTypeGauge:
		addNumber(m.Gauge().DataPoints().AppendEmpty(), p, p.Type == dogstatsd.Set)
	case pmetric.MetricTypeExponentialHistogram:
		addHistogram(m.ExponentialHistogram().DataPoints().AppendEmpty(), p)
	}
}

func addNumber(to pmetric.NumberDataPoint, p *aggregate.Point, hasStart bool) {
	if hasStart {
		to.SetStartTimestamp(pcommon.Timestamp(p.Start))
	}
	to.SetTimestamp(pcommon.Timestamp(p.Time))
	if p.Type == dogstatsd.Set {
		to.SetIntValue(int64(p.Value))
	} else {
		to.SetDoubleValue(p.Value)
	}
	addTags(to.Attributes(), p)
}

func addHistogram(to pmetric.ExponentialHistogramDataPoint, p *aggregate.Point) {
	h := p.Histogram
	to.SetStartTimestamp(pcommon.Timestamp(p.Start))
	to.SetTimestamp(pcommon.Timestamp(p.Time))
	to.SetCount(h.Count)
	to.SetSum(h.Sum)
	to.SetMin(h.Min)
	to.SetMax(h.Max)
	to.SetScale(h.Scale)
	to.SetZeroCount(h.Zero)
	addBuckets(to.Positive(), h.Positive)
	addBuckets(to.Negative(), h.Negative)
	addTags(to.Attributes(), p)
}

func addBuckets(to pmetric.ExponentialHistogramDataPointBuckets, b aggregate.Buckets) {
	if len(b.Counts) == 0 {
		return
	}
	to.SetOffset(b.Offset)
	to.BucketCounts().FromRaw(b.Counts)
}

// addTags takes for granted that no key comes twice.
func addTags(to pcommon.Map, p *aggregate.Point) {
	n := 0
	for range p.Tags() {
		n++
	}
	to.EnsureCapacity(n)
	for key, value := range p.Tags() {
		to.PutStr(key, value)
	}
}

package metricstore

import (
	"math"
	"slices"

	"github.com/prometheus/otlptranslator"
	"github.com/prometheus/prometheus/model/labels"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// metrics adds all points of md.
func (b *batch) metrics(md pmetric.Metrics) {
	for _, rm := range md.ResourceMetrics().All() {
		r := b.table.resource(rm.Resource().Attributes())
		r.steps.begin()
		b.last = r.account.last
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				b.metric(r, m)
			}
		}
		r.account.last = b.last
	}
}

// metric adds all points of one metric.
func (b *batch) metric(r *resource, m pmetric.Metric) {
	f := feed{batch: b, resource: r, source: m, name: m.Name(), unit: m.Unit(), kind: m.Type()}
	switch f.kind {
	case pmetric.MetricTypeGauge:
		f.numbers(m.Gauge().DataPoints(), false)
	case pmetric.MetricTypeSum:
		f.numbers(m.Sum().DataPoints(), isDelta(m.Sum().AggregationTemporality()))
	case pmetric.MetricTypeHistogram:
		f.delta = isDelta(m.Histogram().AggregationTemporality())
		for _, p := range m.Histogram().DataPoints().All() {
			f.histogram(p)
		}
	case pmetric.MetricTypeExponentialHistogram:
		f.delta = isDelta(m.ExponentialHistogram().AggregationTemporality())
		for _, p := range m.ExponentialHistogram().DataPoints().All() {
			f.exponential(p)
		}
	case pmetric.MetricTypeSummary:
		for _, p := range m.Summary().DataPoints().All() {
			f.summary(p)
		}
	}
}

func isDelta(t pmetric.AggregationTemporality) bool {
	return t == pmetric.AggregationTemporalityDelta
}

// feed is the metric of a batch that is being added.
type feed struct {
	*batch
	resource   *resource
	source     pmetric.Metric
	name, unit string
	kind       pmetric.MetricType
	delta      bool
	at         int64 // time of the present point, milliseconds
}

// pointKey is that of the point whose attributes are in the table's key.
func (f *feed) pointKey() pointKey {
	return pointKey{name: f.name, unit: f.unit, attributes: f.table.text(), kind: f.kind}
}

// numbers adds the points of a gauge or sum.
func (f *feed) numbers(points pmetric.NumberDataPointSlice, delta bool) {
	f.delta = delta
	for _, p := range points.All() {
		at, ok := f.time(p.Timestamp())
		if !ok {
			continue
		}
		v := p.DoubleValue()
		if p.ValueType() == pmetric.NumberDataPointValueTypeInt {
			v = float64(p.IntValue())
		}
		f.number(p.Attributes(), sample{at, v, p.Flags().NoRecordedValue()})
	}
}

// number adds one point of a gauge or sum.
func (f *feed) number(attributes pcommon.Map, x sample) {
	f.table.key = appendAttributes(f.table.key[:0], attributes)
	st := f.resource.steps.next(f)
	if st == nil {
		known := f.point(attributes, nil)
		if known == nil {
			return
		}
		st = f.resource.steps.take(f, known)
	}
	st.seen, st.last = f.table.now, x.at
	if f.delta || x.none || st.ref == 0 || !f.addKnown(st.ref, x) {
		s := st.point.series[0]
		f.value(s, x)
		st.ref = s.ref
	}
}

// sample is a value at a time in milliseconds, or the news that there is none.
type sample struct {
	at   int64
	v    float64
	none bool
}

// value adds one sample to a series. Deltas are added up; one that comes late,
// or a second one for the same time, shows with the next. One that is no number would
// make the sum none for as long as it lives.
func (f *feed) value(s *series, x sample) {
	switch {
	case x.none:
		x.v = stale()
	case f.delta && !isFinite(x.v):
		f.drop(ReasonInvalid, 1)
		return
	case f.delta:
		s.total += x.v
		x.v = s.total
		if x.at <= s.last {
			return
		}
	}
	f.add(s, x.at, x.v)
}

func isFinite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// time converts a time to milliseconds. A point without one is of now.
func (f *feed) time(t pcommon.Timestamp) (at int64, ok bool) {
	at = int64(t / 1e6)
	if t == 0 {
		at = f.table.now
	}
	if t != 0 && at > f.newest {
		f.drop(ReasonFuture, 1)
		return 0, false
	}
	f.at = at
	return at, true
}

// point returns what is known of a set of attributes, nil when there is no room
// for it. The bounds are those of the buckets or quantiles that it has now.
func (f *feed) point(attributes pcommon.Map, bounds []float64) *point {
	f.table.key = appendAttributes(f.table.key[:0], attributes)
	p := f.resource.points[pointKey{f.name, f.unit, string(f.table.key), f.kind}]
	if p != nil && slices.Equal(bounds, p.bounds) {
		p.seen = f.table.now
		return p
	}
	owner := f.resource.account
	if p == nil {
		f.succeed()
	}
	if !f.table.hasRoom(owner, f.seriesFor(bounds)) {
		f.drop(ReasonSeriesLimit, 1)
		return nil
	}
	name, ok := f.table.name(f.source)
	lset := f.table.labelSet(&f.resource.identity, attributes)
	if !ok || len(name)+int(lset.ByteSize()) > maxLabelBytes {
		f.drop(ReasonLabels, 1)
		return nil
	}
	if p == nil {
		owner.points++
	} else {
		f.resource.steps.forget(p)
	}
	p = &point{seen: f.table.now, series: f.layout(named(lset, name, "", ""), bounds), bounds: slices.Clone(bounds)}
	f.resource.points[f.pointKey()] = p
	return p
}

// resource returns what is known of a resource.
func (t *table) resource(attributes pcommon.Map) *resource {
	id := identify(attributes)
	t.key = id.appendKey(t.key[:0])
	r := t.resources[string(t.key)]
	if r == nil {
		r = &resource{identity: id, account: t.account(&id), points: map[pointKey]*point{}}
		t.resources[string(t.key)] = r
		r.account.join(r)
	}
	return r
}

// name makes the name of a metric as Prometheus writes it, if one can be made,
// and notes what is to be told about it.
func (t *table) name(m pmetric.Metric) (name string, ok bool) {
	kind, family := describe(m)
	name, err := t.namer.Build(otlptranslator.Metric{Name: m.Name(), Unit: m.Unit(), Type: kind})
	if err != nil {
		return "", false
	}
	if len(t.families) < maxFamilies {
		t.families[name] = family
	}
	return name, true
}

// describe returns what decides about the suffixes of a name, and what is told
// about it.
func describe(m pmetric.Metric) (otlptranslator.MetricType, Family) {
	kind, text := otlptranslator.MetricType(otlptranslator.MetricTypeUnknown), "unknown"
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		kind, text = otlptranslator.MetricTypeGauge, "gauge"
	case pmetric.MetricTypeSum:
		kind, text = otlptranslator.MetricTypeNonMonotonicCounter, "gauge"
		if m.Sum().IsMonotonic() {
			kind, text = otlptranslator.MetricTypeMonotonicCounter, "counter"
		}
	case pmetric.MetricTypeHistogram:
		kind, text = otlptranslator.MetricTypeHistogram, "histogram"
	case pmetric.MetricTypeExponentialHistogram:
		kind, text = otlptranslator.MetricTypeExponentialHistogram, "histogram"
	case pmetric.MetricTypeSummary:
		kind, text = otlptranslator.MetricTypeSummary, "summary"
	}
	return kind, Family{Type: text, Unit: m.Unit(), Help: m.Description()}
}

// named returns lset with a metric name and, unless it is empty, one more label.
func named(lset labels.Labels, name, label, text string) labels.Labels {
	b := labels.NewBuilder(lset)
	b.Set(nameLabel, name)
	if label != "" {
		b.Set(label, text)
	}
	return b.Labels()
}

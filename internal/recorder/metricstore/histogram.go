package metricstore

import (
	"math"
	"slices"
	"strconv"

	"github.com/prometheus/prometheus/model/labels"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// seriesFor tells how many series a point becomes.
func (f *feed) seriesFor(bounds []float64) int {
	switch f.kind {
	case pmetric.MetricTypeHistogram:
		return len(bounds) + 3 // +Inf, count, sum
	case pmetric.MetricTypeSummary:
		return len(bounds) + 2 // count, sum
	}
	return 1
}

// layout makes the series of a point from its labels and the metric's name, in the
// order in which they are filled.
func (f *feed) layout(lset labels.Labels, bounds []float64) []*series {
	t, owner, name := f.table, f.resource.account, lset.Get(nameLabel)
	var list []*series
	add := func(lset labels.Labels) { list = append(list, t.intern(lset, owner)) }
	switch f.kind {
	case pmetric.MetricTypeHistogram:
		for _, bound := range bounds {
			add(named(lset, name+"_bucket", labels.BucketLabel, number(bound)))
		}
		add(named(lset, name+"_bucket", labels.BucketLabel, "+Inf"))
	case pmetric.MetricTypeSummary:
		for _, quantile := range bounds {
			add(named(lset, name, "quantile", number(quantile)))
		}
	default:
		add(lset)
		return list
	}
	add(named(lset, name+"_count", "", ""))
	add(named(lset, name+"_sum", "", ""))
	return list
}

// number writes a bound as Prometheus' own conversion from OTLP does.
func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// histogram adds a point with explicit bounds, as classic buckets.
func (f *feed) histogram(p pmetric.HistogramDataPoint) {
	at, ok := f.time(p.Timestamp())
	if !ok {
		return
	}
	counts, from := p.BucketCounts(), p.ExplicitBounds()
	if counts.Len() != from.Len()+1 && (counts.Len() != 0 || from.Len() != 0) {
		f.drop(ReasonInvalid, 1)
		return
	}
	bounds := f.table.bounds[:0]
	for i := range from.Len() {
		bounds = append(bounds, from.At(i))
	}
	f.table.bounds = bounds
	known := f.bounded(p.Attributes(), bounds)
	if known == nil {
		return
	}
	none := p.Flags().NoRecordedValue()
	var below uint64
	for i := range bounds {
		below += counts.At(i)
		f.value(known.series[i], sample{at, float64(below), none})
	}
	rest := known.series[len(bounds):]
	f.value(rest[0], sample{at, float64(p.Count()), none})
	f.value(rest[1], sample{at, float64(p.Count()), none})
	if p.HasSum() || none {
		f.value(rest[2], sample{at, p.Sum(), none})
	}
}

// bounded returns the point with these bounds, or quantiles. One that is no number is
// not even equal to itself: the point would be a new one each time.
func (f *feed) bounded(attributes pcommon.Map, bounds []float64) *point {
	if slices.ContainsFunc(bounds, math.IsNaN) {
		f.drop(ReasonInvalid, 1)
		return nil
	}
	return f.point(attributes, bounds)
}

// summary adds a point with quantiles.
func (f *feed) summary(p pmetric.SummaryDataPoint) {
	at, ok := f.time(p.Timestamp())
	if !ok {
		return
	}
	quantiles := f.table.bounds[:0]
	for _, q := range p.QuantileValues().All() {
		quantiles = append(quantiles, q.Quantile())
	}
	f.table.bounds = quantiles
	known := f.bounded(p.Attributes(), quantiles)
	if known == nil {
		return
	}
	none := p.Flags().NoRecordedValue()
	for i, q := range p.QuantileValues().All() {
		f.value(known.series[i], sample{at, q.Value(), none})
	}
	rest := known.series[len(quantiles):]
	f.value(rest[0], sample{at, float64(p.Count()), none})
	f.value(rest[1], sample{at, p.Sum(), none})
}

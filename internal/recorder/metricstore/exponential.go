package metricstore

import (
	"math"

	"github.com/prometheus/prometheus/model/histogram"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

const (
	// zeroThreshold is what Prometheus' own conversion takes where OTLP says
	// nothing: it holds zero and nothing else that occurs.
	zeroThreshold = 1e-128
	// maxDeltaBuckets bounds a histogram that is added up, in both signs
	// together: that of OTLP's own default for one sign.
	maxDeltaBuckets = 160
)

// exponential adds a point as a native histogram.
func (f *feed) exponential(p pmetric.ExponentialHistogramDataPoint) {
	at, ok := f.time(p.Timestamp())
	if !ok {
		return
	}
	// What is coarser than Prometheus can say, or has no width of zero. With one that
	// is no number Prometheus' addition of histograms never ends.
	if p.Scale() < histogram.ExponentialSchemaMin || !isFinite(p.ZeroThreshold()) {
		f.drop(ReasonInvalid, 1)
		return
	}
	known := f.point(p.Attributes(), nil)
	if known == nil {
		return
	}
	s := known.series[0]
	h := native(p)
	switch {
	case p.Flags().NoRecordedValue():
		f.addHistogram(s, at, &histogram.Histogram{Sum: stale()}, nil)
	case f.delta:
		f.accumulate(s, at, h)
	default:
		f.addHistogram(s, at, h, nil)
	}
}

// addHistogram appends one of both kinds of histogram.
func (f *feed) addHistogram(s *series, at int64, h *histogram.Histogram, fh *histogram.FloatHistogram) {
	ref, err := f.app.AppendHistogram(s.ref, s.labels, at, h, fh)
	if err != nil {
		f.refuse(err)
		return
	}
	f.took(s, ref, at)
}

// accumulate adds a histogram to what the series has and appends the sum. The
// TSDB keeps what it is given until the commit, hence the copy.
func (f *feed) accumulate(s *series, at int64, h *histogram.Histogram) {
	if err := h.Validate(); err != nil || !isFinite(h.Sum) {
		f.drop(ReasonInvalid, 1)
		return
	}
	add := h.ToFloat(nil)
	if s.hist == nil {
		s.hist = add
	} else {
		sum, _, _, err := s.hist.Add(add)
		if err != nil {
			f.drop(ReasonInvalid, 1)
			return
		}
		s.hist = sum
	}
	for len(s.hist.PositiveBuckets)+len(s.hist.NegativeBuckets) > maxDeltaBuckets && s.hist.Schema > histogram.ExponentialSchemaMin {
		if err := s.hist.ReduceResolution(s.hist.Schema - 1); err != nil {
			f.drop(ReasonInvalid, 1)
			return
		}
	}
	if at > s.last {
		f.addHistogram(s, at, nil, s.hist.Copy())
	}
}

// native converts a point. Whether the counters began anew is for the TSDB to
// find out: a hint that is wrong would be worse than none.
func native(p pmetric.ExponentialHistogramDataPoint) *histogram.Histogram {
	down := max(0, p.Scale()-histogram.ExponentialSchemaMax)
	h := &histogram.Histogram{
		Schema:        p.Scale() - down,
		ZeroThreshold: math.Max(p.ZeroThreshold(), zeroThreshold),
		ZeroCount:     p.ZeroCount(),
		Count:         p.Count(),
		Sum:           p.Sum(),
	}
	h.PositiveSpans, h.PositiveBuckets = nativeBuckets(p.Positive(), down)
	h.NegativeSpans, h.NegativeBuckets = nativeBuckets(p.Negative(), down)
	return h
}

// nativeBuckets converts the buckets of one sign: from dense counts to spans of
// neighbours that are not empty, each count as its difference from the one
// before. OTLP's bucket i ends where Prometheus' bucket i+1 does; a scale that is
// finer by down steps than Prometheus has merges 2^down buckets into one.
func nativeBuckets(b pmetric.ExponentialHistogramDataPointBuckets, down int32) ([]histogram.Span, []int64) {
	w := spanWriter{}
	counts, offset := b.BucketCounts(), b.Offset()
	for i := 0; i < counts.Len(); {
		index := (offset + int32(i)) >> down
		sum := counts.At(i)
		for i++; i < counts.Len() && (offset+int32(i))>>down == index; i++ {
			sum += counts.At(i)
		}
		w.add(index+1, int64(sum))
	}
	return w.spans, w.deltas
}

// spanWriter builds spans from buckets in rising order.
type spanWriter struct {
	spans  []histogram.Span
	deltas []int64
	next   int32 // index after the last bucket
	last   int64 // count of the last bucket
}

func (w *spanWriter) add(index int32, count int64) {
	switch {
	case count == 0:
		return
	case len(w.spans) == 0:
		w.spans = append(w.spans, histogram.Span{Offset: index})
	case index != w.next:
		w.spans = append(w.spans, histogram.Span{Offset: index - w.next})
	}
	w.spans[len(w.spans)-1].Length++
	w.deltas = append(w.deltas, count-w.last)
	w.next, w.last = index+1, count
}

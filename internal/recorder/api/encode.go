package api

import (
	"encoding/json"
	"io"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// flushAt is when a stream sends what it has: large enough for few system calls,
// small enough for the result of 60 series over six hours not to be held twice.
const flushAt = 32 << 10

// stream writes JSON piece by piece. After the first error it writes nothing.
type stream struct {
	to  io.Writer
	buf []byte
	err error
}

func newStream(to io.Writer) *stream {
	return &stream{to: to, buf: make([]byte, 0, flushAt+4<<10)}
}

// more sends the buffer if it is full. False says that nobody listens any more.
func (s *stream) more() bool {
	if len(s.buf) >= flushAt {
		s.flush()
	}
	return s.err == nil
}

func (s *stream) flush() {
	if s.err == nil && len(s.buf) > 0 {
		_, s.err = s.to.Write(s.buf)
	}
	s.buf = s.buf[:0]
}

func (s *stream) raw(text string) { s.buf = append(s.buf, text...) }

// value writes the result of a query. Prometheus writes scalars and strings by
// encoding/json, the others by hand; so do we.
func (s *stream) value(v parser.Value) error {
	switch v := v.(type) {
	case promql.Vector:
		s.vector(v)
	case promql.Matrix:
		s.matrix(v)
	default:
		text, err := json.Marshal(v)
		if err != nil {
			return err
		}
		s.buf = append(s.buf, text...)
	}
	return nil
}

func (s *stream) vector(v promql.Vector) {
	s.raw("[")
	for i := range v {
		if !s.more() {
			return
		}
		if i > 0 {
			s.raw(",")
		}
		s.raw(`{"metric":`)
		s.buf = appendLabels(s.buf, v[i].Metric)
		if v[i].H == nil {
			s.raw(`,"value":`)
			s.buf = appendPoint(s.buf, v[i].T, v[i].F)
		} else {
			s.raw(`,"histogram":`)
			s.buf = appendHistogramPoint(s.buf, v[i].T, v[i].H)
		}
		s.raw("}")
	}
	s.raw("]")
}

func (s *stream) matrix(m promql.Matrix) {
	s.raw("[")
	for i := range m {
		if i > 0 {
			s.raw(",")
		}
		s.raw(`{"metric":`)
		s.buf = appendLabels(s.buf, m[i].Metric)
		if len(m[i].Floats) > 0 {
			s.floats(m[i].Floats)
		}
		if len(m[i].Histograms) > 0 {
			s.histograms(m[i].Histograms)
		}
		s.raw("}")
		if !s.more() {
			return
		}
	}
	s.raw("]")
}

func (s *stream) floats(points []promql.FPoint) {
	s.raw(`,"values":[`)
	for i, p := range points {
		if i > 0 {
			s.raw(",")
		}
		s.buf = appendPoint(s.buf, p.T, p.F)
		if !s.more() {
			return
		}
	}
	s.raw("]")
}

func (s *stream) histograms(points []promql.HPoint) {
	s.raw(`,"histograms":[`)
	for i, p := range points {
		if i > 0 {
			s.raw(",")
		}
		s.buf = appendHistogramPoint(s.buf, p.T, p.H)
		if !s.more() {
			return
		}
	}
	s.raw("]")
}

func appendPoint(b []byte, millis int64, f float64) []byte {
	b = append(b, '[')
	b = appendMillis(b, millis)
	b = append(b, ',')
	b = appendQuoted(b, f)
	return append(b, ']')
}

func appendHistogramPoint(b []byte, millis int64, h *histogram.FloatHistogram) []byte {
	b = append(b, '[')
	b = appendMillis(b, millis)
	b = append(b, ',')
	b = appendHistogram(b, h)
	return append(b, ']')
}

// appendHistogram writes the buckets that are not empty as [rule, lower, upper,
// count]; see boundaryRule.
func appendHistogram(b []byte, h *histogram.FloatHistogram) []byte {
	b = append(b, `{"count":`...)
	b = appendQuoted(b, h.Count)
	b = append(b, `,"sum":`...)
	b = appendQuoted(b, h.Sum)
	lead := `,"buckets":[`
	for it := h.AllBucketIterator(); it.Next(); {
		bucket := it.At()
		if bucket.Count == 0 {
			continue
		}
		b = append(b, lead...)
		lead = ","
		b = append(b, '[', boundaryRule(bucket.LowerInclusive, bucket.UpperInclusive), ',')
		b = appendQuoted(b, bucket.Lower)
		b = append(b, ',')
		b = appendQuoted(b, bucket.Upper)
		b = append(b, ',')
		b = appendQuoted(b, bucket.Count)
		b = append(b, ']')
	}
	if lead == "," {
		b = append(b, ']')
	}
	return append(b, '}')
}

// boundaryRule says which boundaries belong to a bucket: 0 the upper, 1 the lower,
// 2 none, 3 both.
func boundaryRule(lower, upper bool) byte {
	switch {
	case lower && upper:
		return '3'
	case lower:
		return '1'
	case upper:
		return '0'
	}
	return '2'
}

// appendMillis writes milliseconds as seconds: no decimals or three.
func appendMillis(b []byte, millis int64) []byte {
	size := uint64(millis)
	if millis < 0 {
		b = append(b, '-')
		size = -size // right for the smallest int64, too
	}
	b = strconv.AppendUint(b, size/1000, 10)
	if rest := size % 1000; rest != 0 {
		b = append(b, '.', '0'+byte(rest/100), '0'+byte(rest/10%10), '0'+byte(rest%10))
	}
	return b
}

// appendQuoted writes a number as a string, because JSON has neither NaN nor Inf.
func appendQuoted(b []byte, f float64) []byte {
	b = append(b, '"')
	b = appendFloat(b, f, 64)
	return append(b, '"')
}

// appendFloat switches to an exponent where JavaScript does.
func appendFloat(b []byte, f float64, bits int) []byte {
	format := byte('f')
	if size := math.Abs(f); size != 0 && (size < 1e-6 || size >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(b, f, format, -1, bits)
}

func appendLabels(b []byte, set labels.Labels) []byte {
	b = append(b, '{')
	first := true
	set.Range(func(l labels.Label) {
		if !first {
			b = append(b, ',')
		}
		first = false
		b = appendString(b, l.Name)
		b = append(b, ':')
		b = appendString(b, l.Value)
	})
	return append(b, '}')
}

// appendString escapes as Prometheus does in labels: what JSON demands and no more.
// What is no UTF-8 becomes U+FFFD, because a browser refuses the whole answer else.
func appendString(b []byte, text string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c >= utf8.RuneSelf:
			r, size := utf8.DecodeRuneInString(text[i:])
			b = utf8.AppendRune(b, r)
			i += size
			continue
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\r':
			b = append(b, '\\', 'r')
		case c == '\t':
			b = append(b, '\\', 't')
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
		i++
	}
	return append(b, '"')
}

package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
)

// twoSided is a histogram whose encoding is known from Prometheus' own tests
// (web/api/v1/json_codec_test.go of v0.313.2).
func twoSided() *histogram.FloatHistogram {
	return &histogram.FloatHistogram{
		Schema: 2, ZeroThreshold: 0.001, ZeroCount: 12, Count: 10, Sum: 20,
		PositiveSpans:   []histogram.Span{{Offset: 3, Length: 2}, {Offset: 1, Length: 3}},
		NegativeSpans:   []histogram.Span{{Offset: 2, Length: 2}},
		PositiveBuckets: []float64{1, 2, 2, 1, 1},
		NegativeBuckets: []float64{2, 1},
	}
}

const twoSidedJSON = `{"count":"10","sum":"20","buckets":[` +
	`[1,"-1.6817928305074288","-1.414213562373095","1"],[1,"-1.414213562373095","-1.189207115002721","2"],` +
	`[3,"-0.001","0.001","12"],` +
	`[0,"1.414213562373095","1.6817928305074288","1"],[0,"1.6817928305074288","2","2"],` +
	`[0,"2.378414230005442","2.82842712474619","2"],[0,"2.82842712474619","3.3635856610148576","1"],` +
	`[0,"3.3635856610148576","4","1"]]}`

// TestValues has the expectations of Prometheus' own tests, and some of our own for
// what those leave out.
func TestValues(t *testing.T) {
	foo, bar := labels.FromStrings("__name__", "foo"), labels.FromStrings("__name__", "bar")
	f := func(v parser.Value, want string) {
		t.Helper()
		var out bytes.Buffer
		s := newStream(&out)
		require.NoError(t, s.value(v))
		s.flush()
		require.NoError(t, s.err)
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("%T: -want +got\n%s", v, diff)
		}
	}
	f(promql.Vector{{Metric: foo, T: 1000, F: 1}, {Metric: bar, T: 2000, F: 2}},
		`[{"metric":{"__name__":"foo"},"value":[1,"1"]},{"metric":{"__name__":"bar"},"value":[2,"2"]}]`)
	f(promql.Vector{{Metric: foo, T: 1000, H: twoSided()}},
		`[{"metric":{"__name__":"foo"},"histogram":[1,`+twoSidedJSON+`]}]`)
	f(promql.Matrix{{Metric: foo, Floats: []promql.FPoint{{F: 1, T: 1000}}}, {Metric: bar, Floats: []promql.FPoint{{F: 2, T: 2000}}}},
		`[{"metric":{"__name__":"foo"},"values":[[1,"1"]]},{"metric":{"__name__":"bar"},"values":[[2,"2"]]}]`)
	f(promql.Matrix{{Metric: foo, Histograms: []promql.HPoint{{H: twoSided(), T: 1000}}}},
		`[{"metric":{"__name__":"foo"},"histograms":[[1,`+twoSidedJSON+`]]}]`)
	f(promql.Matrix{{Metric: foo, Floats: []promql.FPoint{{F: 1, T: 1000}}, Histograms: []promql.HPoint{{H: &histogram.FloatHistogram{}, T: 2000}}}},
		`[{"metric":{"__name__":"foo"},"values":[[1,"1"]],"histograms":[[2,{"count":"0","sum":"0"}]]}]`)
	f(promql.Matrix{{}}, `[{"metric":{}}]`)
	f(promql.Vector{}, `[]`)
	f(promql.Vector(nil), `[]`)
	f(promql.Matrix(nil), `[]`)
	f(promql.Scalar{T: 1500, V: math.NaN()}, `[1.5,"NaN"]`)
	f(promql.Scalar{T: 1000, V: 1e21}, `[1,"1000000000000000000000"]`)
	f(promql.String{T: 1000, V: `a"<`}, `[1,"a\"\u003c"]`)
}

func TestPoints(t *testing.T) {
	f := func(millis int64, v float64, want string) {
		t.Helper()
		if got := string(appendPoint(nil, millis, v)); got != want {
			t.Errorf("%d, %v: %s, want %s", millis, v, got, want)
		}
	}
	f(0, 0, `[0,"0"]`)
	f(1, 20, `[0.001,"20"]`)
	f(10, 20, `[0.010,"20"]`)
	f(100, 20, `[0.100,"20"]`)
	f(1001, 20, `[1.001,"20"]`)
	f(1010, 20, `[1.010,"20"]`)
	f(1100, 20, `[1.100,"20"]`)
	f(12345678123456555, 20, `[12345678123456.555,"20"]`)
	f(-1, 20, `[-0.001,"20"]`)
	f(math.MinInt64, 20, `[-9223372036854775.808,"20"]`)
	f(0, math.NaN(), `[0,"NaN"]`)
	f(0, math.Float64frombits(value.StaleNaN), `[0,"NaN"]`)
	f(0, math.Inf(1), `[0,"+Inf"]`)
	f(0, math.Inf(-1), `[0,"-Inf"]`)
	f(0, 1.2345678e6, `[0,"1234567.8"]`)
	f(0, 1.2345678e-6, `[0,"0.0000012345678"]`)
	f(0, 1.2345678e-67, `[0,"1.2345678e-67"]`)
	f(0, 1e21, `[0,"1e+21"]`)
	f(0, math.Copysign(0, -1), `[0,"-0"]`)
}

// TestClientReadsIt decodes with the types that Prometheus' Go client uses.
func TestClientReadsIt(t *testing.T) {
	var out bytes.Buffer
	s := newStream(&out)
	require.NoError(t, s.value(promql.Matrix{{
		Metric:     labels.FromStrings("__name__", "foo", "path", "C:\\\"x\"\n\t\x01\u2028é"),
		Floats:     []promql.FPoint{{T: 1234, F: 0.1}, {T: 2234, F: math.Inf(-1)}},
		Histograms: []promql.HPoint{{T: 3234, H: twoSided()}},
	}}))
	s.flush()
	var got model.Matrix
	require.NoError(t, json.Unmarshal(out.Bytes(), &got), out.String())
	require.Len(t, got, 1)
	require.Equal(t, model.LabelValue("C:\\\"x\"\n\t\x01\u2028é"), got[0].Metric["path"])
	require.Equal(t, []model.SamplePair{{Timestamp: 1234, Value: 0.1}, {Timestamp: 2234, Value: model.SampleValue(math.Inf(-1))}}, got[0].Values)
	require.Len(t, got[0].Histograms, 1)
	require.Equal(t, model.Time(3234), got[0].Histograms[0].Timestamp)
	require.Len(t, got[0].Histograms[0].Histogram.Buckets, 8)
	require.InDelta(t, 20, float64(got[0].Histograms[0].Histogram.Sum), 0)
}

// brokenWriter takes a number of pieces.
type brokenWriter struct{ takes, calls int }

var errGone = errors.New("gone")

// Write counts.
func (b *brokenWriter) Write(text []byte) (int, error) {
	b.calls++
	if b.calls > b.takes {
		return 0, errGone
	}
	return len(text), nil
}

// TestStreamStops shows that a result of many pieces is sent in pieces, and that its
// encoding ends with its reader.
func TestStreamStops(t *testing.T) {
	points := make([]promql.FPoint, 100_000)
	matrix := promql.Matrix{{Floats: points}, {Floats: points}}
	whole := &brokenWriter{takes: math.MaxInt}
	s := newStream(whole)
	require.NoError(t, s.value(matrix))
	require.Greater(t, whole.calls, 20)
	require.LessOrEqual(t, cap(s.buf), 2*flushAt, "the buffer grew with the result")

	broken := &brokenWriter{takes: 1}
	s = newStream(broken)
	require.NoError(t, s.value(matrix))
	s.flush()
	require.ErrorIs(t, s.err, errGone)
	require.Equal(t, 2, broken.calls, "it went on writing")
}

func FuzzAppendString(f *testing.F) {
	for _, seed := range []string{"", "a", `"\`, "\x00\x1f\x7f", "é\u2028", "\xff\xc3", "<&>"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		quoted := appendString(nil, text)
		var got string
		if err := json.Unmarshal(quoted, &got); err != nil {
			t.Fatalf("%q: %v", quoted, err)
		}
		var want strings.Builder
		for _, r := range text {
			want.WriteRune(r) // each wrong byte becomes one U+FFFD
		}
		if got != want.String() {
			t.Errorf("%q came back as %q", text, got)
		}
	})
}

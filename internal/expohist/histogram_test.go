package expohist_test

import (
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/expohist"
)

func newHist() *expohist.Histogram {
	h := &expohist.Histogram{}
	h.Init()
	return h
}

// pointOf is a copy that is the caller's alone.
func pointOf(h *expohist.Histogram) expohist.Point {
	return *new(expohist.Copies).Take(h, 0)
}

// exactBucket is the definition, without a logarithm and without rounding: v to
// the power of 2^scale lies above 2^i and not above 2^(i+1).
func exactBucket(v float64, scale int) int32 {
	// Each squaring doubles the bits that are needed; 53 << 7 are all there are.
	x := new(big.Float).SetPrec(53 << expohist.MaxScale).SetFloat64(v)
	for range scale {
		x.Mul(x, x)
	}
	mantissa := new(big.Float)
	exponent := x.MantExp(mantissa) // mantissa is in [0.5, 1)
	i := int32(exponent) - 1
	if mantissa.Cmp(big.NewFloat(0.5)) == 0 {
		i--
	}
	for ; scale < 0; scale++ {
		i >>= 1
	}
	return i
}

// borders are values where a bucket ends, and their neighbours.
func borders() []float64 {
	var all []float64
	for k := -300; k <= 300; k++ {
		at := math.Exp2(float64(k) / (1 << expohist.MaxScale))
		all = append(all, math.Nextafter(at, 0), at, math.Nextafter(at, math.Inf(1)))
	}
	for e := -1074; e <= 1023; e++ {
		at := math.Ldexp(1, e)
		all = append(all, math.Nextafter(at, 0), at, math.Nextafter(at, math.Inf(1)))
	}
	all = append(all, math.MaxFloat64)
	return slices.DeleteFunc(all, func(v float64) bool { return v <= 0 })
}

func TestBucketOfIsExact(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	values := borders()
	for range 20_000 {
		v := math.Float64frombits(random.Uint64() >> 1)
		if v > 0 && !math.IsInf(v, 0) && !math.IsNaN(v) {
			values = append(values, v)
		}
		values = append(values, 1+random.Float64())
	}
	for _, v := range values {
		if got, want := expohist.BucketOf(v), exactBucket(v, expohist.MaxScale); got != want {
			t.Fatalf("bucket of %b (%g): %d, should be %d", v, v, got, want)
		}
	}
}

// weighted is a value that counts n times.
type weighted struct {
	v float64
	n uint64
}

// oracle builds the histogram anew from all values, at the finest scale at which
// both signs fit.
func oracle(values []weighted) expohist.Point {
	h := expohist.Point{Min: math.Inf(1), Max: math.Inf(-1), Scale: expohist.MaxScale}
	for !fit(values, int(h.Scale)) {
		h.Scale--
	}
	positive, negative := map[int32]uint64{}, map[int32]uint64{}
	for _, w := range values {
		h.Count += w.n
		h.Min, h.Max = min(h.Min, w.v), max(h.Max, w.v)
		switch {
		case w.v == 0:
			h.Zero += w.n
		case w.v > 0:
			positive[exactBucket(w.v, int(h.Scale))] += w.n
		default:
			negative[exactBucket(-w.v, int(h.Scale))] += w.n
		}
	}
	h.Positive, h.Negative = row(positive), row(negative)
	return h
}

func fit(values []weighted, scale int) bool {
	for _, sign := range []float64{1, -1} {
		low, high := int32(math.MaxInt32), int32(math.MinInt32)
		for _, w := range values {
			if w.v*sign > 0 {
				i := exactBucket(w.v*sign, scale)
				low, high = min(low, i), max(high, i)
			}
		}
		if low <= high && high-low >= expohist.MaxBuckets {
			return false
		}
	}
	return true
}

func row(counts map[int32]uint64) expohist.Row {
	if len(counts) == 0 {
		return expohist.Row{}
	}
	low, high := int32(math.MaxInt32), int32(math.MinInt32)
	for i := range counts {
		low, high = min(low, i), max(high, i)
	}
	b := expohist.Row{Offset: low, Counts: make([]uint64, high-low+1)}
	for i, n := range counts {
		b.Counts[i-low] = n
	}
	return b
}

// shapes are distributions that differ in width, sign and weight.
func shapes(random *rand.Rand) map[string]func() weighted {
	return map[string]func() weighted{
		"constant": func() weighted { return weighted{42.5, 1} },
		"latency":  func() weighted { return weighted{math.Exp(random.NormFloat64()), 1} },
		"wide":     func() weighted { return weighted{math.Exp(20 * random.NormFloat64()), 1} },
		"signs":    func() weighted { return weighted{math.Round(10 * random.NormFloat64()), 1} },
		"weights":  func() weighted { return weighted{random.Float64(), random.Uint64N(1 << 20)} },
		"all":      func() weighted { return weighted{math.Ldexp(random.Float64()-.5, random.IntN(2090)-1070), 1} },
		"negative": func() weighted { return weighted{-math.Exp(random.NormFloat64()), 3} },
		"heavy":    func() weighted { return weighted{1 + random.Float64(), 1 << (3 * random.IntN(11))} },
		"two_sides": func() weighted {
			return weighted{math.Copysign(math.Exp(3*random.NormFloat64()), random.NormFloat64()), 1}
		},
	}
}

func TestHistogramAgainstOracle(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for name, draw := range shapes(random) {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{1, 2, 10, 200, 2000} {
				var values []weighted
				h := newHist()
				// A second round in memory that was used before.
				for range 2 {
					h.Reset()
					values = values[:0]
					for range n {
						w := draw()
						w.n = max(w.n, 1)
						values = append(values, w)
						h.Record(w.v, w.n)
					}
					compare(t, pointOf(h), oracle(values))
				}
			}
		})
	}
}

func compare(t *testing.T, got, want expohist.Point) {
	t.Helper()
	got.Sum = 0
	if len(got.Negative.Counts) == 0 {
		got.Negative = expohist.Row{}
	}
	if len(got.Positive.Counts) == 0 {
		got.Positive = expohist.Row{}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

// Merging gives what adding everything to one gives, up to the scale: the order
// of values does not matter, so neither does where they were.
func TestHistogramMerge(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	all := shapes(random)
	for nameA, drawA := range all {
		for nameB, drawB := range all {
			t.Run(nameA+"_"+nameB, func(t *testing.T) {
				a, b := newHist(), newHist()
				var values []weighted
				for i := range 200 {
					draw, into := drawA, a
					if i%2 == 1 {
						draw, into = drawB, b
					}
					w := draw()
					w.n = max(w.n, 1)
					values = append(values, w)
					into.Record(w.v, w.n)
				}
				a.Merge(b)
				compare(t, pointOf(a), oracle(values))
				a.Merge(newHist())
				compare(t, pointOf(a), oracle(values))
			})
		}
	}
}

// A percentile read from the middle of its bucket is off by half a bucket.
func TestPercentilesWithinTheScale(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	h := newHist()
	var values []float64
	for range 50_000 {
		v := 20 * math.Exp(random.NormFloat64())
		values = append(values, v)
		h.Record(v, 1)
	}
	slices.Sort(values)
	p := pointOf(h)
	require.GreaterOrEqual(t, p.Scale, int32(3), "sigma 1 should leave buckets of 9 %%")
	base := math.Exp2(math.Exp2(-float64(p.Scale)))
	bound := (base - 1) / (base + 1)
	for _, q := range []float64{.01, .25, .5, .9, .95, .99, .999} {
		rank := uint64(q * float64(len(values)))
		exact := values[rank]
		got := percentile(p, rank, base)
		require.LessOrEqual(t, math.Abs(got-exact)/exact, bound*(1+1e-9), "percentile %v: %v for %v", q, got, exact)
	}
}

func percentile(h expohist.Point, rank uint64, base float64) float64 {
	seen := uint64(0)
	for i, n := range h.Positive.Counts {
		if seen += n; seen > rank {
			low := math.Pow(base, float64(h.Positive.Offset)+float64(i))
			return 2 * low * base / (1 + base)
		}
	}
	return math.NaN()
}

// A counter of a bucket widens at 2^8, 2^16 and 2^32, and nothing is lost.
func TestBucketsWiden(t *testing.T) {
	h := newHist()
	want := uint64(1)
	h.Record(1.1, 1)
	h.Record(1, 1)
	small := h.Bytes()
	for _, n := range []uint64{253, 1, 1, 65_279, 1, 1, math.MaxUint32 - 65_536, 1, 1 << 40} {
		h.Record(1, n)
		want += n
		p := pointOf(h)
		require.Equal(t, want, p.Positive.Counts[0])
		require.Equal(t, uint64(1), p.Positive.Counts[len(p.Positive.Counts)-1])
	}
	require.Equal(t, 8*small, h.Bytes())
}

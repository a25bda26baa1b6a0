package aggregate_test

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/aggregate"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/dogstatsd"
)

func TestKinds(t *testing.T) {
	r := newRig(t, aggregate.Settings{})
	r.add(1, "c:1|c", "c:2:3|c", "c:4|c|@0.5", "g:1:2.5|g", "g:-7|g|@0.1", "s:a|s", "s:b|s|@0.1", "s:a|s",
		"h:1:2|h", "h:3|h|@0.25", "h:5|ms", "h:6|d|#x")
	r.add(2, "c:100|c")
	points := r.flush()
	require.Equal(t, map[string]float64{
		"1 c|c": 14, "1 g|g": -7, "1 s|s": 2, "1 h|h": 6, "1 h|ms": 1, "1 h|d x=": 1, "2 c|c": 100,
	}, values(points))
	h := points["1 h|h"].Histogram
	require.Equal(t, []float64{15, 1, 3}, []float64{h.Sum, h.Min, h.Max})
	require.True(t, points["1 c|c"].Monotonic)
	require.Empty(t, r.flush(), "nothing was touched")
	require.Empty(t, r.counts())
}

func TestTagsMakeOneContext(t *testing.T) {
	r := newRig(t, aggregate.Settings{})
	r.add(1,
		"m:1|c|#b:2,a:1", "m:1|c|#a:1,b:2", "m:1|c|#a:1,b:2,a:1,,", // order, repetition, empty
		"m:1|c|#a:1,b:2,dd.internal.entity_id:uid,dd.internal.card:low", // pseudo
		"m:1|c|#k:z,k:y,bare,k:y,bare:",                                 // one key, several values
		"m:1|c|#host:web", "m:1|c|#a:1:2", "m:1|c|#a:x\xff\xfey", "\x01m:1|c")
	require.Equal(t, map[string]float64{
		"1 m|c a=1 b=2":     4,
		"1 m|c bare= k=y,z": 1,
		"1 m|c host=web":    1,
		"1 m|c a=1:2":       1,
		"1 m|c a=x\uFFFDy":  1,
		"1 \uFFFDm|c":       1,
	}, values(r.flush()))
	require.Equal(t, 6, r.table.Len())
	require.Equal(t, map[string]uint64{"1 invalid_text": 2}, r.counts())
}

// Sums of value/rate are as exact as the result can be: against sums without
// any rounding.
func TestCountersAgainstExactSums(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for range 50 {
		r := newRig(t, aggregate.Settings{Cumulative: true})
		exact := new(big.Float).SetPrec(4000)
		r.table.Lock()
		for range 2000 {
			rate := 1.0
			if random.IntN(2) == 0 {
				rate = 1 / float64(1+random.IntN(1000))
			}
			v := math.Ldexp(random.Float64()-.5, random.IntN(100))
			r.table.Add(1, &dogstatsd.Sample{Name: []byte("m"), Type: dogstatsd.Counter, Values: []float64{v}, Rate: rate})
			exact.Add(exact, new(big.Float).SetFloat64(v*(1/rate)))
		}
		r.table.Unlock()
		want, _ := exact.Float64()
		require.InEpsilon(t, want, r.flush()["1 m|c"].Value, 1e-15)
	}
}

// The count of a histogram follows the sum of 1/rate within one, its sum exactly.
func TestFractionsAreCarried(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 1))
	for _, rate := range []float64{.3, .7, .9, .15, 1. / 3, .001, 1} {
		r := newRig(t, aggregate.Settings{Cumulative: true})
		sum, exact := new(big.Float).SetPrec(2000), 0.0
		for n := range 3000 {
			v := random.Float64()
			r.table.Lock()
			r.table.Add(1, &dogstatsd.Sample{Name: []byte("m"), Type: dogstatsd.Timer, Values: []float64{v}, Rate: rate})
			r.table.Unlock()
			sum.Add(sum, new(big.Float).SetFloat64(v*(1/rate)))
			exact += 1 / rate
			if n%100 != 0 {
				continue
			}
			h := r.flush()["1 m|ms"].Histogram
			require.InDelta(t, exact, float64(h.Count), 1)
			want, _ := sum.Float64()
			require.InEpsilon(t, want, h.Sum, 1e-15)
		}
	}
}

func TestCumulative(t *testing.T) {
	r := newRig(t, aggregate.Settings{Cumulative: true})
	start := r.now
	r.add(1, "c:1|c", "h:1|h", "s:a|s", "g:1|g")
	r.now = r.now.Add(10 * time.Second)
	first := r.flush()
	require.Equal(t, map[string]float64{"1 c|c": 1, "1 h|h": 1, "1 s|s": 1, "1 g|g": 1}, values(first))
	require.Equal(t, start, first["1 c|c"].Start)
	require.Equal(t, r.now, first["1 c|c"].Time)

	r.now = r.now.Add(10 * time.Second)
	require.Empty(t, r.flush())

	r.add(1, "c:5|c", "h:2|h", "s:b|s")
	r.now = r.now.Add(10 * time.Second)
	second := r.flush()
	require.Equal(t, map[string]float64{"1 c|c": 6, "1 h|h": 2, "1 s|s": 1}, values(second))
	require.Equal(t, start, second["1 c|c"].Start)
	require.Equal(t, start, second["1 h|h"].Start)
	require.Equal(t, 3., second["1 h|h"].Histogram.Sum)
}

func TestDelta(t *testing.T) {
	r := newRig(t, aggregate.Settings{})
	start := r.now
	r.add(1, "c:1|c", "h:4|h")
	r.now = r.now.Add(10 * time.Second)
	flushed := r.now
	require.Equal(t, start, r.flush()["1 c|c"].Start)
	r.now = r.now.Add(20 * time.Second)
	r.add(1, "c:5|c", "h:2|h")
	second := r.flush()
	require.Equal(t, map[string]float64{"1 c|c": 5, "1 h|h": 1}, values(second))
	require.Equal(t, flushed, second["1 c|c"].Start)
	require.Equal(t, []float64{2, 2, 2}, []float64{second["1 h|h"].Histogram.Sum, second["1 h|h"].Histogram.Min, second["1 h|h"].Histogram.Max})
}

// A clock that is set back makes no interval that ends before it began.
func TestClockGoesBack(t *testing.T) {
	r := newRig(t, aggregate.Settings{})
	r.add(1, "c:1|c")
	r.now = r.now.Add(-time.Hour)
	p := r.flush()["1 c|c"]
	require.False(t, p.Time.Before(p.Start))
}

func TestExpiryAndReappearance(t *testing.T) {
	r := newRig(t, aggregate.Settings{Cumulative: true, Expiry: 5 * time.Minute})
	r.add(1, "c:1|c|#a,b", "c:1|c|#b,a", "h:1|h")
	r.flush()
	require.Equal(t, 3, r.table.Keys())
	for range 29 {
		r.now = r.now.Add(10 * time.Second)
		r.add(2, "other:1|c")
		r.flush()
	}
	require.Equal(t, 3, r.table.Len())
	r.add(1, "h:1|h") // 290 s: it is still the same
	require.Equal(t, 2., values(r.flush())["1 h|h"])
	for range 12 { // 410 s: a fifth may pass until it is removed
		r.now = r.now.Add(10 * time.Second)
		r.add(2, "other:1|c")
		r.flush()
	}
	require.Equal(t, 2, r.table.Len(), "only c has expired")
	require.Equal(t, 2, r.table.Keys())
	r.add(1, "c:1|c|#a,b")
	p := r.flush()["1 c|c a= b="]
	require.Equal(t, 1., p.Value)
	require.Equal(t, r.now, p.Start)
	r.now = r.now.Add(time.Hour)
	r.add(1, "c:1|c|#a,b") // expired, but not removed yet
	p = r.flush()["1 c|c a= b="]
	require.Equal(t, 1., p.Value)
	require.Equal(t, r.now, p.Start)
	r.now = r.now.Add(time.Hour)
	r.flush()
	require.Zero(t, r.table.Len())
	require.Zero(t, r.table.Keys())
	require.Zero(t, r.table.Owners())
}

func TestNegativeMakesTheNameNonMonotonic(t *testing.T) {
	r := newRig(t, aggregate.Settings{Cumulative: true})
	r.add(1, "m:5|c|#a", "m:5|c|#b", "n:1|c")
	r.add(2, "m:5|c|#a")
	r.add(1, "m:-2|c|#a", "m:-1|c|#a")
	points := r.flush()
	require.Equal(t, 2., points["1 m|c a="].Value)
	require.False(t, points["1 m|c a="].Monotonic)
	require.False(t, points["1 m|c b="].Monotonic, "the same metric of the same origin")
	require.True(t, points["1 n|c"].Monotonic)
	require.True(t, points["2 m|c a="].Monotonic)
	require.Equal(t, map[string]uint64{"1 non_monotonic": 1}, r.counts())
	r.add(1, "m:5|c|#new")
	require.False(t, r.flush()["1 m|c new="].Monotonic)
}

func TestSets(t *testing.T) {
	r := newRig(t, aggregate.Settings{Cumulative: true})
	for _, n := range []int{1, 2, 64, 128, 129, 5000, 100_000, 128, 3} {
		for i := range n {
			r.add(1, fmt.Sprintf("s:%d|s", i), fmt.Sprintf("s:%d|s", i/2))
		}
		got := r.flush()["1 s|s"].Value
		if n <= 128 {
			require.Equal(t, float64(n), got)
			continue
		}
		require.InEpsilon(t, float64(n), got, 4*.0081, "four standard errors of 2^14 registers")
	}
}

func TestTimestamped(t *testing.T) {
	r := newRig(t, aggregate.Settings{Cumulative: true, MaxAhead: time.Minute})
	now := r.now.Unix()
	at := func(line string, seconds int64) string { return fmt.Sprintf("%s|T%d", line, now+seconds) }
	r.add(1, "c:1|c", at("c:3|c|@0.5", -20), at("c:1:2|c", -20), at("c:1|c", -40), at("c:1|c", 61),
		at("g:1|g", -5), at("g:2|g", -5), at("only:-1|c", -5), at("g:5|g", 60))
	points := r.flush()
	require.Equal(t, map[string]float64{
		"1 c|c": 1, fmt.Sprintf("1 c|c @%d", now-20): 9, fmt.Sprintf("1 c|c @%d", now-40): 1,
		fmt.Sprintf("1 g|g @%d", now-5): 2, fmt.Sprintf("1 g|g @%d", now+60): 5, fmt.Sprintf("1 only|c @%d", now-5): -1,
	}, values(points))
	require.Equal(t, map[string]uint64{"1 timestamp_ahead": 1, "1 non_monotonic": 1}, r.counts())
	require.False(t, points[fmt.Sprintf("1 only|c @%d", now-5)].Monotonic)
	require.Empty(t, r.flush())

	r.add(1, "c:1|c")
	require.Equal(t, map[string]float64{"1 c|c": 2}, values(r.flush()), "late values are in no sum")
	for i := range int64(125) {
		r.add(1, at("c:1|c", -i*7%1000))
	}
	require.Len(t, r.flush(), 120)
	require.Equal(t, map[string]uint64{"1 late_points": 5}, r.counts())

	r.table.Lock()
	r.table.Add(1, &dogstatsd.Sample{Name: []byte("h"), Type: dogstatsd.Timer, Values: []float64{1}, Rate: 1, Timestamp: now})
	r.table.Unlock()
	require.Empty(t, r.flush())
	require.Equal(t, map[string]uint64{"1 late_type": 1}, r.counts())
}

func TestWhatCannotBeAddedIsCounted(t *testing.T) {
	r := newRig(t, aggregate.Settings{Cumulative: true})
	r.add(1, "c:1e308|c", "c:1e308|c", "c:1e308|c|@0.1", "c:-1e308|c", "h:1e308|h", "h:1e308|h")
	require.Equal(t, map[string]uint64{"1 out_of_range": 3, "1 non_monotonic": 1}, r.counts())
	r.add(1, "never:1e308|h|@0.1")
	require.Equal(t, map[string]uint64{"1 out_of_range": 1}, r.counts())
	points := r.flush()
	require.NotContains(t, points, "1 never|h", "a histogram of nothing has no minimum")
	require.Zero(t, points["1 c|c"].Value)
	require.Equal(t, uint64(1), points["1 h|h"].Histogram.Count)

	r.add(1, "w:1|c|@1e-9", "x:1|h|@1e-12")
	points = r.flush()
	require.Equal(t, float64(1<<20), points["1 w|c"].Value)
	require.Equal(t, uint64(1<<20), points["1 x|h"].Histogram.Count)
	require.Equal(t, map[string]uint64{"1 weight_capped": 2}, r.counts())

	r.table.Lock()
	r.table.Add(1, &dogstatsd.Sample{Name: []byte(strings.Repeat("n", 70_000)), Type: dogstatsd.Counter, Values: []float64{1}, Rate: 1})
	r.table.Unlock()
	require.Equal(t, map[string]uint64{"1 too_long": 1}, r.counts())
}

func TestReasonsHaveNames(t *testing.T) {
	names := map[string]bool{}
	for i := range (aggregate.Counts{}) {
		names[aggregate.Reason(i).String()] = true
	}
	require.Len(t, names, len(aggregate.Counts{}))
	require.NotContains(t, names, "")
	require.NotContains(t, names, "unknown")
	require.Equal(t, "unknown", aggregate.Reason(len(aggregate.Counts{})).String())
}

func TestContextIsACacheLine(t *testing.T) {
	require.Equal(t, 64, aggregate.SizeOfContext())
}

package limit_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/limit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestBucket(t *testing.T) {
	b := limit.NewBucket(limit.Rate{PerSecond: 1000, Burst: 5}, time.Hour)
	now := time.Hour
	for range 5 {
		require.True(t, b.Allow(now, 1))
	}
	require.False(t, b.Allow(now, 1))
	require.True(t, b.Allow(now, 0))
	now += time.Millisecond
	require.True(t, b.Allow(now, 1))
	require.False(t, b.Allow(now, 1))
	require.False(t, b.Allow(now-time.Minute, 1), "a clock that goes back gives nothing")
	now += 4 * time.Millisecond
	require.False(t, b.Allow(now, 5))
	require.True(t, b.Allow(now, 4), "what was refused was not taken")
	now += time.Hour
	require.True(t, b.Allow(now, 8), "more than the burst, of a full bucket")
	now += 3 * time.Millisecond
	require.False(t, b.Allow(now, 1), "three were owed")
	now += time.Millisecond
	require.True(t, b.Allow(now, 1))
}

// In the long run exactly the rate passes, however often it is asked.
func TestBucketRate(t *testing.T) {
	for _, step := range []time.Duration{time.Microsecond, 7 * time.Microsecond, 333 * time.Microsecond} {
		b := limit.NewBucket(limit.Rate{PerSecond: 3000, Burst: 1}, 0)
		passed := 0
		for now := time.Duration(0); now < 10*time.Second; now += step {
			if b.Allow(now, 1) {
				passed++
			}
		}
		// A burst of one loses up to a step between two tokens.
		least := float64(10*time.Second) / float64(time.Second/3000+step)
		require.GreaterOrEqual(t, float64(passed), least-1, step)
		require.LessOrEqual(t, passed, 30001, step)
	}
}

func TestRates(t *testing.T) {
	var zero limit.Bucket
	require.True(t, zero.Allow(0, 1<<30))
	none := limit.NewBucket(limit.Rate{PerSecond: -1, Burst: 3}, 0)
	require.True(t, none.Allow(0, 1<<30))
	second := limit.NewBucket(limit.Rate{PerSecond: 10}, 0)
	require.True(t, second.Allow(0, 10))
	require.False(t, second.Allow(0, 1))
	slow := limit.NewBucket(limit.Rate{PerSecond: 0.1}, 0)
	require.True(t, slow.Allow(0, 1), "one at least, or nothing would ever pass")
	require.False(t, slow.Allow(9*time.Second, 1))
	require.True(t, slow.Allow(10*time.Second+time.Millisecond, 1))
}

// No rate and no burst is so far out that a number overflows.
func TestExtremes(t *testing.T) {
	const year = 365 * 24 * time.Hour
	f := func(r limit.Rate, most, perSecond int) {
		t.Helper()
		for _, start := range []time.Duration{0, 10 * year} {
			b := limit.NewBucket(r, start)
			require.True(t, b.Allow(start, math.MaxInt), "of a full bucket")
			require.False(t, b.Allow(start, 1))
			b = limit.NewBucket(r, start)
			require.True(t, b.Allow(start, most))
			require.False(t, b.Allow(start, 1))
			require.False(t, perSecond < most && b.Allow(start+time.Second, perSecond+1))
			require.True(t, b.Allow(start+time.Second, perSecond))
			require.False(t, b.Allow(start+time.Second, 1))
		}
	}
	f(limit.Rate{PerSecond: 1e9}, 1e9, 1e9)
	f(limit.Rate{PerSecond: 1e9, Burst: 2e9}, 2e9, 1e9)
	f(limit.Rate{PerSecond: 2.5, Burst: 3.5}, 3, 2)
	f(limit.Rate{PerSecond: 1e-30}, 1, 0)
	f(limit.Rate{PerSecond: 1e-30, Burst: 1e300}, 1, 0) // a price so high that no burst is left
	f(limit.Rate{PerSecond: 1, Burst: math.Inf(1)}, (1<<61)/16_000_000_000, 1)
	forever := limit.NewBucket(limit.Rate{PerSecond: 1000, Burst: 5}, 0)
	require.True(t, forever.Allow(10*year, 5))
	require.False(t, forever.Allow(10*year, 1))
}

// A flood is refused on its own account: it takes nothing of the common bucket.
func TestFloodHurtsNobodyElse(t *testing.T) {
	l := limit.New[string](limit.Options{
		Origin: limit.Rate{PerSecond: 100, Burst: 10}, Global: limit.Rate{PerSecond: 1000, Burst: 25},
	}, 0)
	for i := range 1000 {
		want := limit.OverOrigin
		if i < 10 {
			want = limit.Pass
		}
		require.Equal(t, want, l.Allow("flood", 0, 1))
	}
	for range 10 {
		require.Equal(t, limit.Pass, l.Allow("quiet", 0, 1))
	}
	for i := range 10 {
		want := limit.OverGlobal
		if i < 5 {
			want = limit.Pass
		}
		require.Equal(t, want, l.Allow("third", 0, 1))
	}
	// What the common bucket refused is still there: 5 and the 0.5 of 5 ms.
	now := 5 * time.Millisecond
	require.Equal(t, limit.Pass, l.Allow("third", now, 5))
	require.Equal(t, limit.OverOrigin, l.Allow("third", now, 1))
	require.Equal(t, limit.Stats{Passed: 30, OverOrigin: 991, OverGlobal: 5, Origins: 3}, l.Stats())
}

func TestTableIsBounded(t *testing.T) {
	l := limit.New[int](limit.Options{Origin: limit.Rate{PerSecond: 1, Burst: 1}, MaxOrigins: 100}, 0)
	require.Equal(t, limit.Pass, l.Allow(-1, 0, 1))
	for i := range 10_000 {
		require.Equal(t, limit.Pass, l.Allow(i, 0, 1))
		require.Equal(t, limit.OverOrigin, l.Allow(-1, 0, 1), "who keeps sending is not forgotten")
	}
	s := l.Stats()
	require.Equal(t, 100, s.Origins)
	require.EqualValues(t, 10_001-100, s.Evicted)
}

func TestVerdicts(t *testing.T) {
	require.Equal(t, "pass", limit.Pass.String())
	require.Equal(t, "origin_rate", limit.OverOrigin.String())
	require.Equal(t, "global_rate", limit.OverGlobal.String())
}

func TestAllowAllocatesNothing(t *testing.T) {
	l := limit.New[int](limit.Options{Origin: limit.Rate{PerSecond: 1e6}, Global: limit.Rate{PerSecond: 1e6}}, 0)
	now := time.Duration(0)
	for i := range 16 {
		l.Allow(i, now, 1)
	}
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		now += time.Microsecond
		l.Allow(int(now/time.Microsecond)%16, now, 1)
	}))
}

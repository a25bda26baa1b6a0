package judge_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/test/soak/judge"
)

const (
	laps  = 20
	level = 150.0
	// noise is what garbage collection does to RSS, up and down.
	noise = 12.0
	bound = 8.0
)

// series makes laps that grow by step each, with noise, and the filling of tables in
// the first quarter.
func series(seed uint64, n int, step, noise float64) []float64 {
	random := rand.New(rand.NewPCG(seed, seed))
	values := make([]float64, n)
	for i := range values {
		values[i] = level + step*float64(i) + noise*(2*random.Float64()-1)
		if i < n/4 {
			values[i] -= level / 2
		}
	}
	return values
}

// What only moves up and down is flat, and what grows beside the same noise is not.
func TestLeakIsToldFromNoise(t *testing.T) {
	const runs = 1000
	found, wrong := 0, 0
	for seed := range uint64(runs) {
		flat, err := judge.Judge(series(seed, laps, 0, noise), judge.Bounds{Whole: bound})
		require.NoError(t, err)
		if flat.Grows {
			wrong++
		}
		leaking, err := judge.Judge(series(seed, laps, 3, noise), judge.Bounds{Whole: bound})
		require.NoError(t, err)
		if leaking.Grows {
			found++
		}
	}
	t.Logf("of %d runs: %d leaks found, %d found where there are none", runs, found, wrong)
	require.GreaterOrEqual(t, found, runs*99/100)
	require.LessOrEqual(t, wrong, runs/100)
}

func TestVerdicts(t *testing.T) {
	f := func(name string, values []float64, grows bool) {
		t.Helper()
		v, err := judge.Judge(values, judge.Bounds{Whole: bound})
		require.NoError(t, err)
		if v.Grows != grows {
			t.Errorf("%s: %+v, want growth %v", name, v, grows)
		}
	}
	f("constant", series(1, laps, 0, 0), false)
	f("one more each lap, within the bound", series(1, laps, 0.5, 0), false)
	f("one more each lap, beyond the bound", series(1, laps, 1, 0), true)
	f("falls", series(1, laps, -3, noise), false)
	f("the least number of laps", series(1, judge.MinLaps, 10, 0), true)

	filling := series(1, laps, 0, 0)
	f("only the first quarter grows", filling, false)

	once := series(1, laps, 0, 1)
	once[laps-1] += 1000
	once[laps-2] += 1000
	f("two outliers at the end", once, false)

	steps := series(1, laps, 0, 1)
	for i := range steps {
		steps[i] += 10 * float64(i/4)
	}
	f("steps that stay", steps, true)
}

// One that is lost with each lap is found whatever the bound of the whole run, and
// beside noise that is larger than it.
func TestOneOfEachLap(t *testing.T) {
	f := func(name string, values []float64, grows bool) {
		t.Helper()
		v, err := judge.Judge(values, judge.Bounds{Whole: 1000, PerLap: 0.5})
		require.NoError(t, err)
		if v.Grows != grows {
			t.Errorf("%s: %+v, want growth %v", name, v, grows)
		}
	}
	f("one each lap", series(1, laps, 1, 0), true)
	f("one each lap, the least number of laps", series(1, judge.MinLaps, 1, 0), true)
	f("one each lap, in noise", series(1, laps, 1, 3), true)
	f("one every third lap", series(1, laps, 1.0/3, 0), false)
	f("constant", series(1, laps, 0, 0), false)

	const runs = 1000
	wrong := 0
	for seed := range uint64(runs) {
		v, err := judge.Judge(series(seed, laps, 0, noise), judge.Bounds{Whole: 1000, PerLap: 0.5})
		require.NoError(t, err)
		if v.Grows {
			wrong++
		}
	}
	t.Logf("of %d runs without a leak %d are taken for one", runs, wrong)
	require.LessOrEqual(t, wrong, runs/200)
}

func TestFigures(t *testing.T) {
	v, err := judge.Judge([]float64{0, 0, 1, 2, 3, 4, 5, 6}, judge.Bounds{Whole: 3})
	require.NoError(t, err)
	require.InDelta(t, 1.5, v.Early, 1e-12, "of 1 and 2")
	require.InDelta(t, 5.5, v.Late, 1e-12, "of 5 and 6")
	require.InDelta(t, 1, v.Slope, 1e-12)
	require.InDelta(t, 1.0/720, v.Chance, 1e-12, "one order of six values")
	require.True(t, v.Grows)

	v, err = judge.Judge([]float64{9, 9, 1, 1, 1, 1, 1, 1}, judge.Bounds{Whole: 3})
	require.NoError(t, err)
	require.GreaterOrEqual(t, v.Chance, 0.5, "equal values are no trend")

	_, err = judge.Judge(make([]float64, judge.MinLaps-1), judge.Bounds{Whole: 1})
	require.ErrorIs(t, err, judge.ErrTooFew)
}

func TestMedian(t *testing.T) {
	require.Zero(t, judge.Median(nil))
	require.InDelta(t, 2, judge.Median([]float64{9, 1, 2}), 0)
	require.InDelta(t, 3, judge.Median([]float64{9, 1, 2, 4}), 0)
}

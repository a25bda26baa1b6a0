package judge

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The orders of four values, counted by hand: 1 without an inversion, 3 with one ...
func TestInversions(t *testing.T) {
	got := inversions(4)
	want := []float64{1, 3, 5, 6, 5, 3, 1}
	require.Len(t, got, len(want))
	for k, n := range want {
		require.InDelta(t, n/24, got[k], 1e-12, "%d inversions", k)
	}
	sum := 0.0
	for _, p := range inversions(360) { // six hours of laps
		sum += p
	}
	require.InDelta(t, 1, sum, 1e-6)
}

func TestKendall(t *testing.T) {
	require.InDelta(t, 1.0/24, kendall([]float64{1, 2, 3, 4}), 1e-12)
	require.InDelta(t, 4.0/24, kendall([]float64{1, 2, 4, 3}), 1e-12)
	require.InDelta(t, 1, kendall([]float64{4, 3, 2, 1}), 1e-12)
}

func TestSlope(t *testing.T) {
	require.InDelta(t, 2, slope([]float64{1, 3, 5, 7}), 1e-12)
	require.InDelta(t, 2, slope([]float64{1, 3, 500, 7, 9}), 1e-12, "with an outlier")
}

package judge

import (
	"errors"
	"fmt"
	"slices"
)

const (
	// MinLaps is the least number of laps that can be judged: of eight, six are, and
	// six that only grow are one order of 720. With fewer nothing is below chance.
	MinLaps = 8
	// chance is below which probability a trend counts as one. With the 20 quantities
	// of a run, one of five runs would have a trend that is none; that is what the bound
	// is for, which noise has to pass at the same time.
	chance = 0.01
	// stepChance is the same for a growth of so much per lap, which has no bound besides:
	// still possible with MinLaps, and rare enough for one wrong run of forty with 14 counts.
	stepChance = 0.002
)

// ErrTooFew says that there are fewer laps than MinLaps.
var ErrTooFew = errors.New("too few laps to judge")

// Verdict is what became of a quantity, in its own unit.
type Verdict struct {
	// Early is the median of the laps of the second quarter, Late that of the last.
	Early, Late float64
	// Slope is the growth from one lap to the next (Theil-Sen), after the first quarter.
	Slope float64
	// Chance is the probability of such a trend without there being one (Kendall, one-sided).
	Chance float64
	// Grows is true if the growth is no chance and more than is allowed.
	Grows bool
}

// Bounds are how much growth is allowed, in the quantity's own unit.
type Bounds struct {
	Whole float64 // from the second to the last quarter
	// PerLap is a slope that is too much, however short the run; 0: there is none.
	PerLap float64
}

// Judge decides about one value per lap, oldest first.
func Judge(laps []float64, b Bounds) (Verdict, error) {
	if len(laps) < MinLaps {
		return Verdict{}, fmt.Errorf("judge %d laps: %w (at least %d)", len(laps), ErrTooFew, MinLaps)
	}
	quarter := len(laps) / 4
	judged := laps[quarter:]
	v := Verdict{
		Early:  Median(judged[:quarter]),
		Late:   Median(laps[len(laps)-quarter:]),
		Slope:  slope(judged),
		Chance: kendall(judged),
	}
	beyond := v.Chance < chance && v.Late-v.Early > b.Whole
	eachLap := v.Chance < stepChance && b.PerLap > 0 && v.Slope >= b.PerLap
	v.Grows = beyond || eachLap
	return v, nil
}

// Median of nothing is 0; of an even number it is the mean of the two in the middle.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

package guest

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

var errDisagree = errors.New("disagrees with the kernel")

// rounding is how much a float may differ by being computed in another order.
const rounding = 1e-9

// bracket is what the page has about one container between two readings of the kernel.
type bracket struct {
	before, after facts
	page          figures
}

// wrong returns what can never be right: a counter outside of what was read before and after.
func (b bracket) wrong() error {
	var errs []error
	for name, low := range b.before {
		got, ok := b.page[name]
		if !ok || low.gauge {
			continue
		}
		if err := within(got, low.value, b.after[name].value); err != nil {
			errs = append(errs, fmt.Errorf("counter %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// unsettled returns what may be a matter of the moment: gauges, and series that are not there.
func (b bracket) unsettled() error {
	var errs []error
	for name, before := range b.before {
		got, ok := b.page[name]
		if !ok {
			errs = append(errs, fmt.Errorf("%s: %w", name, errMissing))
			continue
		}
		if !before.gauge {
			continue
		}
		after := b.after[name].value
		if err := within(got, min(before.value, after), max(before.value, after)); err != nil {
			errs = append(errs, fmt.Errorf("gauge %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

func within(got, low, high float64) error {
	if math.IsNaN(got) || got < low-rounding*math.Abs(low) || got > high+rounding*math.Abs(high) {
		return fmt.Errorf("%w: %v is not between %v and %v", errDisagree, got, low, high)
	}
	return nil
}

// A comparison that cannot fail would be worth nothing.
func TestBracketNoticesEachMistake(t *testing.T) {
	good := bracket{
		before: facts{"c": {value: 1}, "g": {value: 12, gauge: true}},
		after:  facts{"c": {value: 3}, "g": {value: 10, gauge: true}},
		page:   figures{"c": 2, "g": 11, "more": 1},
	}
	require.NoError(t, errors.Join(good.wrong(), good.unsettled()))
	f := func(name series, value float64, check func(bracket) error, want error) {
		t.Helper()
		b := good
		b.page = maps.Clone(good.page)
		b.page[name] = value
		if want == errMissing {
			delete(b.page, name)
		}
		require.ErrorIs(t, check(b), want)
	}
	f("c", 0.99, bracket.wrong, errDisagree)
	f("c", 3.01, bracket.wrong, errDisagree)
	f("c", math.NaN(), bracket.wrong, errDisagree)
	f("g", 9.99, bracket.unsettled, errDisagree)
	f("g", 12.01, bracket.unsettled, errDisagree)
	f("c", 0, bracket.unsettled, errMissing)
	f("g", 0, bracket.unsettled, errMissing)
}

package e2e_test

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	errDisagree = errors.New("disagrees with the kernel")
	errOld      = errors.New("measured before the kernel was read")
	errUnknown  = errors.New("on the page, but not among the kernel's files")
)

// rounding is how much a float may differ by being computed in another order.
const rounding = 1e-9

// derived are the series that no cgroup file holds. TestNumbersAgree looks at
// them on their own.
var derived = []string{
	"container_uptime_seconds", "container_cpu_usage", "container_degraded_ratio", "container_oom_kill_count_total",
}

// bracket is the page between two readings of the kernel.
type bracket struct {
	before, after facts
	since         time.Time // the first reading was made
	page          figures
	// bytes and tasks are how far the container's memory and tasks go up and
	// down; 0 when it is quiet.
	bytes, tasks float64
}

// wrong returns what can never be right: a counter outside of what was read
// before and after.
func (b bracket) wrong() error {
	var errs []error
	for name, high := range b.after {
		got, ok := b.point(name)
		if !ok || high.gauge {
			continue
		}
		low := b.before[name].value // 0 for a device that was not there yet
		if err := within(got.value, low, high.value); err != nil {
			errs = append(errs, fmt.Errorf("counter %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// unsettled returns what may be a matter of the moment: gauges, and series
// that just appear.
func (b bracket) unsettled() error {
	var errs []error
	for name, after := range b.after {
		got, ok := b.point(name)
		before, both := b.before[name]
		switch {
		case !ok && both:
			errs = append(errs, fmt.Errorf("%s: %w", name, errMissing))
		case ok && both && got.at.Before(b.since):
			errs = append(errs, fmt.Errorf("%s: %w", name, errOld))
		case ok && both && after.gauge:
			slack := after.slack + after.perByte*b.bytes + after.perTask*b.tasks
			low, high := min(before.value, after.value), max(before.value, after.value)
			if err := within(got.value, low-slack, high+slack); err != nil {
				errs = append(errs, fmt.Errorf("gauge %s: %w", name, err))
			}
		}
	}
	for name := range b.page {
		if _, ok := b.after[name]; !ok && !b.isDerived(name) {
			errs = append(errs, fmt.Errorf("%s: %w", name, errUnknown))
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

// point finds a series, or the sum of both CPU modes. Periods are counted and
// shown without a lock, so the difference of two may be off by one.
func (b bracket) point(name series) (point, bool) {
	if name != sumOfModes {
		p, ok := b.page[name]
		return p, ok
	}
	user, ok := b.page[sumOfModes+`{cpu_mode="user"}`]
	system := b.page[sumOfModes+`{cpu_mode="system"}`]
	return point{user.value + system.value, user.at}, ok
}

func (b bracket) isDerived(name series) bool {
	metric, _, _ := strings.Cut(string(name), "{")
	_, summed := b.after[sumOfModes]
	// TestNetworkToTheByte looks at the network.
	return strings.HasPrefix(metric, "container_network_") || slices.Contains(derived, metric) || summed && series(metric) == sumOfModes
}

// A comparison that cannot fail would be worth nothing.
func TestBracketNoticesEachMistake(t *testing.T) {
	at := time.Unix(1000, 0)
	good := func() bracket {
		return bracket{
			before: facts{"c": {value: 1}, "g": {value: 10, gauge: true, perByte: 1}},
			after:  facts{"c": {value: 3}, "g": {value: 12, gauge: true, perByte: 1}, "new": {value: 5}},
			since:  at, bytes: 2,
			page: figures{"c": {2, at}, "g": {8, at}, "new": {4, at}, "container_uptime_seconds": {9, at}},
		}
	}
	require.NoError(t, errors.Join(good().wrong(), good().unsettled()))
	f := func(name series, p point, want error) {
		t.Helper()
		b := good()
		b.page = maps.Clone(b.page)
		b.page[name] = p
		if want == errMissing {
			delete(b.page, name)
		}
		require.ErrorIs(t, errors.Join(b.wrong(), b.unsettled()), want)
	}
	f("c", point{0.99, at}, errDisagree)
	f("c", point{3.01, at}, errDisagree)
	f("c", point{math.NaN(), at}, errDisagree)
	f("new", point{5.01, at}, errDisagree)
	f("g", point{7.9, at}, errDisagree)
	f("g", point{14.1, at}, errDisagree)
	f("g", point{11, at.Add(-time.Millisecond)}, errOld)
	f("other", point{1, at}, errUnknown)
	f("g", point{}, errMissing)
}

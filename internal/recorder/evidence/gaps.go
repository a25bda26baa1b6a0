package evidence

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/metricstore"
)

// shortestGap is what a query bridges: the lookback of the metric store, three
// times the slowest default interval.
const shortestGap = 30 * time.Second

// maxGaps bounds a manifest: 30 min have room for 59 of the shortest ones.
const maxGaps = 60

const noSamples = "no metrics were recorded in this time"

// findGaps returns the parts of the window in which no series of a cut has a
// sample.
func findGaps(ctx context.Context, dir string, w bundle.Window) ([]bundle.Gap, error) {
	reader, err := metricstore.OpenBlocks(dir)
	if err != nil {
		return nil, err
	}
	c := newCoverage(w)
	err = c.read(ctx, reader)
	return c.gaps(), errors.Join(err, reader.Close())
}

// coverage is of which seconds of a window there are samples.
type coverage struct {
	from time.Time
	seen []bool
}

func newCoverage(w bundle.Window) *coverage {
	return &coverage{from: w.From, seen: make([]bool, int(w.To.Sub(w.From)/time.Second)+1)}
}

// read looks at series until all is covered, which mostly is after the first.
func (c *coverage) read(ctx context.Context, from storage.Queryable) error {
	all, err := labels.NewMatcher(labels.MatchRegexp, labelName, ".+")
	if err != nil {
		return fmt.Errorf("read cut: %w", err)
	}
	q, err := from.Querier(c.from.UnixMilli(), c.from.Add(time.Duration(len(c.seen))*time.Second).UnixMilli())
	if err != nil {
		return fmt.Errorf("read cut: %w", err)
	}
	defer func() { _ = q.Close() }() // nothing is written through it
	set := q.Select(ctx, false, nil, all)
	var it chunkenc.Iterator
	for set.Next() {
		it = set.At().Iterator(it)
		c.add(it)
		if err := it.Err(); err != nil {
			return fmt.Errorf("read cut: %w", err)
		}
		if _, longest := c.distances(); longest*time.Second <= shortestGap {
			return nil
		}
	}
	return set.Err()
}

func (c *coverage) add(it chunkenc.Iterator) {
	for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
		at := it.AtT()
		if kind == chunkenc.ValFloat {
			if _, v := it.At(); value.IsStaleNaN(v) {
				continue // it says that there is nothing
			}
		}
		if i := int(time.UnixMilli(at).Sub(c.from) / time.Second); i >= 0 && i < len(c.seen) {
			c.seen[i] = true
		}
	}
}

// distances are in seconds from one that is covered to the next one, and to the
// ends of the window.
func (c *coverage) distances() (all []time.Duration, longest time.Duration) {
	last := -1
	for i, seen := range append(slices.Clip(c.seen), true) {
		if !seen {
			continue
		}
		d := time.Duration(i - last)
		all, longest = append(all, d), max(longest, d)
		last = i
	}
	return all, longest
}

// gaps takes the usual distance into account: somebody may have chosen to
// measure once a minute.
func (c *coverage) gaps() []bundle.Gap {
	all, _ := c.distances()
	slices.Sort(all)
	bound := max(shortestGap, 3*all[len(all)/2]*time.Second)
	var gaps []bundle.Gap
	at := func(i int) time.Time { return c.from.Add(time.Duration(i) * time.Second) }
	last := 0
	for i, seen := range append(slices.Clip(c.seen), true) {
		if !seen {
			continue
		}
		to := min(i, len(c.seen)-1)
		if w := (bundle.Window{From: at(last), To: at(to)}); w.To.Sub(w.From) > bound && len(gaps) < maxGaps {
			gaps = append(gaps, bundle.Gap{Window: w, Why: noSamples})
		}
		last = i
	}
	return gaps
}

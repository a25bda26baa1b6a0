package metricstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// Window is a piece of time, both ends included.
type Window struct{ From, To time.Time }

// CutStats tells what a cut took: the number of series, samples and bytes. Block is the folder of the block, empty when
// there was nothing to take.
type CutStats struct {
	Block   string
	Damaged int // series of which samples could not be read
	Series  int
	Samples int
	Bytes   int64
}

// Cut writes the samples of the window, of the series that keep accepts (nil:
// all), as one block below dir, which is made if need be. The labels given to
// keep are only valid during the call.
func (s *Store) Cut(ctx context.Context, w Window, keep func(labels.Labels) bool, dir string) (CutStats, error) {
	from, to := w.From.UnixMilli(), w.To.UnixMilli()
	if to < from {
		return CutStats{}, fmt.Errorf("cut metrics: window %v to %v goes backwards", w.From, w.To)
	}
	q, err := s.Querier(from, to)
	if err != nil {
		return CutStats{}, fmt.Errorf("cut metrics: %w", err)
	}
	defer func() { _ = q.Close() }() // nothing is written through it
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return CutStats{}, fmt.Errorf("cut metrics: %w", err)
	}
	writer, err := s.newBlockWriter(to - from)
	if err != nil {
		return CutStats{}, fmt.Errorf("cut metrics: %w", err)
	}
	defer writer.close()
	stats, err := copySeries(ctx, copyJob{from: q, to: writer, keep: keep})
	if err != nil {
		return stats, fmt.Errorf("cut metrics: %w", err)
	}
	if stats.Samples == 0 {
		return stats, nil
	}
	id, err := writer.flush(ctx, dir, nil)
	if err != nil {
		return stats, fmt.Errorf("cut metrics: %w", err)
	}
	stats.Block = dir + string(os.PathSeparator) + id.String()
	stats.Bytes = treeBytes(stats.Block)
	return stats, nil
}

// copyJob is what copySeries does: from where to where, and what of it (nil:
// all). What the target refuses is left out and told to refused; without that it ends
// the copy.
type copyJob struct {
	from storage.Querier
	to   storage.Appendable
	keep func(labels.Labels) bool

	refused func(error)
}

// commitEvery bounds the memory of a copy: about 10 MB of samples not yet in
// chunks.
const commitEvery = 200_000

// copySeries appends all samples of the job to its target, but for those that
// cannot be read.
func copySeries(ctx context.Context, job copyJob) (CutStats, error) {
	set := job.from.Select(ctx, true, nil, everything())
	app := job.to.Appender(ctx)
	var stats CutStats
	var it chunkenc.Iterator
	pending := 0
	for set.Next() {
		series := set.At()
		lset := series.Labels()
		if job.keep != nil && !job.keep(lset) {
			continue
		}
		it = series.Iterator(it)
		n, err := copySamples(app, lset, it, job.refused)
		if it.Err() != nil { // the rest of the series is damaged, the others are not
			stats.Damaged++
		} else if err != nil {
			return stats, errors.Join(fmt.Errorf("copy %s: %w", lset, err), app.Rollback())
		}
		if n == 0 {
			continue
		}
		stats.Series++
		stats.Samples += n
		if pending += n; pending > commitEvery {
			if err := app.Commit(); err != nil {
				return stats, err
			}
			app, pending = job.to.Appender(ctx), 0
		}
	}
	if err := set.Err(); err != nil {
		return stats, errors.Join(err, app.Rollback())
	}
	return stats, app.Commit()
}

// everything matches all series.
func everything() *labels.Matcher {
	return labels.MustNewMatcher(labels.MatchRegexp, nameLabel, ".+")
}

func copySamples(app storage.Appender, lset labels.Labels, it chunkenc.Iterator, refused func(error)) (n int, err error) {
	var ref storage.SeriesRef
	for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
		switch kind {
		case chunkenc.ValFloat:
			t, v := it.At()
			ref, err = app.Append(ref, lset, t, v)
		case chunkenc.ValHistogram:
			t, h := it.AtHistogram(nil)
			ref, err = app.AppendHistogram(ref, lset, t, h, nil)
		case chunkenc.ValFloatHistogram:
			t, h := it.AtFloatHistogram(nil)
			ref, err = app.AppendHistogram(ref, lset, t, nil, h)
		}
		switch {
		case err == nil:
			n++
		case refused == nil:
			return n, err
		default:
			refused(err)
		}
	}
	return n, nil
}

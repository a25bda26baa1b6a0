package metricstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// Reasons for which samples are dropped.
const (
	// ReasonTooOld: older than the out-of-order window.
	ReasonTooOld = "too_old"
	// ReasonFuture: ahead of the clock by more than half of that window.
	ReasonFuture = "future"
	// ReasonOutOfOrder: older than a sample of the series, in memory-only mode.
	ReasonOutOfOrder = "out_of_order"
	// ReasonDuplicate: the series has another value at that time.
	ReasonDuplicate = "duplicate"
	// ReasonSeriesLimit: one series more than its container, or the store, may have.
	ReasonSeriesLimit = "series_limit"
	// ReasonLabels: labels too long, or no name can be made.
	ReasonLabels = "labels"
	// ReasonInvalid: a point that contradicts itself, or has a float that is no number
	// where that cannot be: a bound, a threshold, a delta.
	ReasonInvalid = "invalid"
	// ReasonNoSpace: the disk was full.
	ReasonNoSpace = "no_space"
	// ReasonError: the log could not be written for another reason.
	ReasonError = "write_error"
	// ReasonClosed: the store is not open.
	ReasonClosed = "closed"
)

// Written tells what became of a batch: samples taken, the markers at the end of a
// container's old identity included, and samples (or points, where no samples were
// made) dropped by reason. Dropped is nil when none was.
type Written struct {
	Samples int
	Dropped map[string]int
}

// counters are the sums of all Written.
type counters struct {
	samples uint64
	dropped map[string]uint64
	failing bool // the last write failed, which is told once
}

func (c *counters) add(w Written) {
	c.samples += uint64(w.Samples)
	for reason, n := range w.Dropped {
		c.dropped[reason] += uint64(n)
	}
}

// errBroken says that the TSDB panicked.
var errBroken = errors.New("metric store is broken")

// Write takes all points of md. It returns when they are in memory and in the
// log, which the kernel writes to disk in its own time.
func (s *Store) Write(ctx context.Context, md pmetric.Metrics) Written {
	if s.clockWentBack() {
		if err := s.rewind(ctx); err != nil {
			s.opts.Log.Error("move to the new time", "error", err)
		}
	}
	return s.append(ctx, func(b *batch) { b.metrics(md) }, md.DataPointCount)
}

// End marks the series of a container as having no value from just after at on,
// so that no query shows its last values for longer than it lived. A time after now
// is now: a sample of tomorrow would make the store take the clock for one that went
// back.
func (s *Store) End(ctx context.Context, containerID string, at time.Time) {
	s.append(ctx, func(b *batch) { b.end(containerID, min(at.UnixMilli(), b.table.now)) }, func() int { return 0 })
}

// append lets fill put samples into a batch and commits it. What a batch would
// have held without a store is told by size.
func (s *Store) append(ctx context.Context, fill func(*batch), size func() int) Written {
	w, err := s.appendLocked(ctx, fill, size)
	switch {
	case errors.Is(err, errBroken):
		s.keeping.Lock()
		defer s.keeping.Unlock()
		s.giveUp()
	case isFull(err):
		if err := s.enterMemory("the log cannot be written"); err != nil {
			s.opts.Log.Error("metrics are not kept", "error", err)
		}
	}
	return w
}

func (s *Store) appendLocked(ctx context.Context, fill func(*batch), size func() int) (w Written, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.note(w, err) }()
	target := s.target()
	if target == nil {
		w.drop(ReasonClosed, size())
		return w, nil
	}
	now := s.opts.Now()
	s.table.now = now.UnixMilli()
	b := batch{table: s.table, app: target.Appender(ctx), newest: now.Add(s.opts.OutOfOrder / 2).UnixMilli()}
	defer func() {
		if r := recover(); r != nil { // the TSDB, when it cannot write a chunk
			w, err = b.lost(ReasonError), fmt.Errorf("%w: %v", errBroken, r)
		}
	}()
	fill(&b)
	if err := b.app.Commit(); err != nil {
		reason := ReasonError
		if isFull(err) {
			reason = ReasonNoSpace
		}
		return b.lost(reason), fmt.Errorf("write metrics: %w", err)
	}
	return b.Written, nil
}

// target is where samples go, nil when the store is closed. It wants mu held.
func (s *Store) target() storage.Appendable {
	switch {
	case s.head != nil:
		return s.head
	case s.db != nil && !s.broken.Load():
		return s.db
	}
	return nil
}

// note adds a batch to the counters. It wants mu held.
func (s *Store) note(w Written, err error) {
	s.count.add(w)
	if failing := err != nil; failing != s.count.failing {
		s.count.failing = failing
		if failing {
			s.opts.Log.Error("metrics are not written", "error", err)
		} else {
			s.opts.Log.Info("metrics are written again")
		}
	}
}

// sweep forgets silent series.
func (s *Store) sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table.sweep(s.opts.Now().UnixMilli())
}

func (w *Written) drop(reason string, n int) {
	if n == 0 {
		return
	}
	if w.Dropped == nil {
		w.Dropped = map[string]int{}
	}
	w.Dropped[reason] += n
}

// batch is one write under way.
type batch struct {
	Written
	table  *table
	app    storage.Appender
	newest int64 // later times are not taken, milliseconds
	last   int64 // time of the newest sample of the account, milliseconds
}

// lost turns the samples of a batch that was not committed into drops.
func (b *batch) lost(reason string) Written {
	w := Written{Dropped: maps.Clone(b.Dropped)}
	w.drop(reason, b.Samples)
	return w
}

// addKnown appends one sample by the reference of its series alone. It returns
// false when that is not enough, or is refused.
func (b *batch) addKnown(ref storage.SeriesRef, x sample) bool {
	if _, err := b.app.Append(ref, labels.EmptyLabels(), x.at, x.v); err != nil {
		return false
	}
	b.last = max(b.last, x.at)
	b.Samples++
	return true
}

// add appends one sample of a series.
func (b *batch) add(s *series, at int64, v float64) {
	ref, err := b.app.Append(s.ref, s.labels, at, v)
	if err != nil {
		b.refuse(err)
		return
	}
	b.took(s, ref, at)
}

// took notes what the TSDB said of a sample that it took.
func (b *batch) took(s *series, ref storage.SeriesRef, at int64) {
	s.ref = ref
	s.last = max(s.last, at)
	b.last = max(b.last, at)
	b.Samples++
}

func (b *batch) refuse(err error) { b.drop(reasonOf(err), 1) }

// reasonOf tells why the TSDB refused a sample.
func reasonOf(err error) string {
	switch {
	case errors.Is(err, storage.ErrTooOldSample), errors.Is(err, storage.ErrOutOfBounds):
		return ReasonTooOld
	case errors.Is(err, storage.ErrOutOfOrderSample):
		return ReasonOutOfOrder
	case errors.Is(err, storage.ErrDuplicateSampleForTimestamp):
		return ReasonDuplicate
	}
	return ReasonInvalid
}

// end appends the marker that Prometheus calls stale. It must be newer than the
// last sample, which may carry the very time of the end.
func (b *batch) end(containerID string, at int64) {
	list, last := b.table.end(containerAccount(containerID))
	for _, s := range list {
		b.add(s, max(at, last)+1, stale())
	}
}

func stale() float64 { return math.Float64frombits(value.StaleNaN) }

package metricstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// lease is a querier that gives back what it borrowed. Everyone who reads a store
// does so through one, a PromQL engine as well as a cut: it is the place where
// damage is noticed.
type lease struct {
	storage.Querier
	parts    []storage.Querier
	releases []func()
	damaged  func() // is told of damage, maybe often
}

func (l *lease) add(q storage.Querier, err error) error {
	if err == nil {
		l.parts = append(l.parts, q)
		return nil
	}
	for _, part := range l.parts {
		err = errors.Join(err, part.Close())
	}
	l.giveBack()
	return fmt.Errorf("open metric store for reading: %w", err)
}

// Close implements storage.Querier.
func (l *lease) Close() error {
	err := l.Querier.Close()
	l.giveBack()
	return err
}

func (l *lease) giveBack() {
	for _, release := range l.releases {
		release()
	}
	l.releases = nil
}

// look passes an error on, and the news of it when it tells of damage.
func (l *lease) look(err error) error {
	if err == nil || !isDamage(err) {
		return err
	}
	l.damaged()
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}

// Select implements storage.Querier.
func (l *lease) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	return &leasedSet{l.Querier.Select(ctx, sorted, hints, matchers...), l}
}

// LabelValues implements storage.LabelQuerier.
func (l *lease) LabelValues(ctx context.Context, name string, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	values, notes, err := l.Querier.LabelValues(ctx, name, hints, matchers...)
	return values, notes, l.look(err)
}

// LabelNames implements storage.LabelQuerier.
func (l *lease) LabelNames(ctx context.Context, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	names, notes, err := l.Querier.LabelNames(ctx, hints, matchers...)
	return names, notes, l.look(err)
}

// leasedSet is a set of series read through a lease.
type leasedSet struct {
	storage.SeriesSet
	lease *lease
}

// Next implements storage.SeriesSet. At the end it looks for the reason itself:
// not all who read ask for it.
func (s *leasedSet) Next() bool {
	more := s.SeriesSet.Next()
	if !more {
		_ = s.Err()
	}
	return more
}

// Err implements storage.SeriesSet.
func (s *leasedSet) Err() error { return s.lease.look(s.SeriesSet.Err()) }

// At implements storage.SeriesSet.
func (s *leasedSet) At() storage.Series { return &leasedSeries{s.SeriesSet.At(), s.lease} }

type leasedSeries struct {
	storage.Series
	lease *lease
}

// Iterator implements storage.Series.
func (s *leasedSeries) Iterator(reused chunkenc.Iterator) chunkenc.Iterator {
	it, ok := reused.(*leasedIterator)
	if !ok || it.broken != nil {
		return &leasedIterator{Iterator: s.Series.Iterator(nil), lease: s.lease}
	}
	it.Iterator, it.lease = s.Series.Iterator(it.Iterator), s.lease
	return it
}

type leasedIterator struct {
	chunkenc.Iterator
	lease  *lease
	broken error // what it panicked with
}

// Next implements chunkenc.Iterator. It looks for the reason of an end, as
// leasedSet does. Where a chunk of the head is damaged the TSDB panics, which the
// engine catches, but a cut or another reader does not.
func (i *leasedIterator) Next() (kind chunkenc.ValueType) {
	defer func() {
		if r := recover(); r != nil {
			i.broken, kind = damagedHead(r), chunkenc.ValNone
		}
	}()
	if kind = i.Iterator.Next(); kind == chunkenc.ValNone {
		_ = i.Err()
	}
	return kind
}

// damagedHead makes an error of a panic for damage; any other goes on.
func damagedHead(r any) error {
	err, ok := r.(error)
	var damage *chunks.CorruptionErr
	if !ok || !errors.As(err, &damage) {
		panic(r)
	}
	return fmt.Errorf("read samples that are in no block yet: %w", err)
}

// Err implements chunkenc.Iterator.
func (i *leasedIterator) Err() error {
	if i.broken != nil {
		return i.broken
	}
	return i.lease.look(i.Iterator.Err())
}

package metricstore

import (
	"context"
	"errors"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/index"
)

// walk is a way through all chunks of a block that goes on behind damage, which a
// querier does not: it ends a series, or all, at the first.
type walk struct {
	block *tsdb.Block
	// visit is given each chunk that has its checksum. An unreadable chunk is one
	// more piece of damage; any other error ends the walk.
	visit func(lset labels.Labels, chunk chunkenc.Chunk) error
	// damaged counts the series of which something cannot be read.
	damaged int
}

// errUnreadable says that a chunk has its checksum and cannot be read nevertheless.
var errUnreadable = errors.New("unreadable chunk")

// run returns an error for what is no damage of single series: the index as a whole,
// the visitor's, or that of ctx.
func (w *walk) run(ctx context.Context) error {
	ix, err := w.block.Index()
	if err != nil {
		return err
	}
	defer func() { _ = ix.Close() }() // nothing is written through it
	reader, err := w.block.Chunks()
	if err != nil {
		return err
	}
	defer func() { _ = reader.Close() }() // as above
	name, value := index.AllPostingsKey()
	all, err := ix.Postings(ctx, name, value)
	if err != nil {
		return err
	}
	var builder labels.ScratchBuilder
	var metas []chunks.Meta
	for all.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := ix.Series(all.At(), &builder, &metas); err != nil {
			w.damaged++
			continue
		}
		if err := w.series(builder.Labels(), reader, metas); err != nil {
			return err
		}
	}
	return all.Err()
}

// series visits the chunks of one series.
func (w *walk) series(lset labels.Labels, reader tsdb.ChunkReader, metas []chunks.Meta) error {
	whole := true
	for _, meta := range metas {
		chunk, _, err := reader.ChunkOrIterable(meta)
		if err == nil {
			err = w.visit(lset, chunk)
			if err != nil && !errors.Is(err, errUnreadable) {
				return err
			}
		}
		whole = whole && err == nil
	}
	if !whole {
		w.damaged++
	}
	return nil
}

// errNotWhole says that a block has damaged series.
var errNotWhole = errors.New("block is damaged")

// isWhole reads all of a block: each sample, and each list of series by label.
func isWhole(ctx context.Context, b *tsdb.Block) error {
	if err := areListsWhole(ctx, b); err != nil {
		return err
	}
	var it chunkenc.Iterator
	w := walk{block: b, visit: func(_ labels.Labels, chunk chunkenc.Chunk) error {
		it = chunk.Iterator(it)
		for it.Next() != chunkenc.ValNone {
		}
		if it.Err() != nil {
			return errUnreadable
		}
		return nil
	}}
	if err := w.run(ctx); err != nil {
		return err
	}
	if w.damaged > 0 {
		return errNotWhole
	}
	return nil
}

// areListsWhole opens the lists of series by label, which compares checksums.
func areListsWhole(ctx context.Context, b *tsdb.Block) error {
	ix, err := b.Index()
	if err != nil {
		return err
	}
	defer func() { _ = ix.Close() }() // nothing is written through it
	names, err := ix.LabelNames(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		values, err := ix.LabelValues(ctx, name, nil)
		if err != nil {
			return err
		}
		if _, err := ix.Postings(ctx, name, values...); err != nil {
			return err
		}
	}
	return nil
}

// copyWhole writes a new block with all samples of b that can be read, and none
// when there are none. It is marked as made of late samples if b is.
func (s *Store) copyWhole(ctx context.Context, b *tsdb.Block) (CutStats, error) {
	writer, err := s.newBlockWriter(b.MaxTime() - b.MinTime())
	if err != nil {
		return CutStats{}, err
	}
	defer writer.close()
	var stats CutStats
	var it chunkenc.Iterator
	app, pending := writer.Appender(ctx), 0
	w := walk{block: b, visit: func(lset labels.Labels, chunk chunkenc.Chunk) error {
		it = chunk.Iterator(it)
		n, err := copySamples(app, lset, it, func(error) {}) // what it had twice
		stats.Samples += n
		if pending += n; err == nil && pending > commitEvery {
			err, pending = app.Commit(), 0
			app = writer.Appender(ctx)
		}
		if err == nil && it.Err() != nil {
			return errUnreadable
		}
		return err
	}}
	errWalk := w.run(ctx)
	if err := errors.Join(ctx.Err(), app.Commit()); err != nil {
		return stats, err
	}
	if errWalk != nil && !isDamage(errWalk) {
		return stats, errWalk
	}
	stats.Damaged = w.damaged
	if stats.Samples == 0 {
		return stats, nil
	}
	meta := b.Meta()
	_, err = writer.flush(ctx, s.rawDB, &meta)
	return stats, err
}

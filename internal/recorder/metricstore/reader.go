package metricstore

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

// Reader answers from blocks that nobody writes, such as those of an unpacked
// capture. It is safe for concurrent use.
type Reader struct {
	Asker
	blocks []*tsdb.Block
}

// ErrNoBlocks says that a folder holds no block.
var ErrNoBlocks = errors.New("no metric blocks")

// OpenBlocks opens all blocks directly below dir, and nothing else in it. A
// damaged block is an error: a capture is whole or it is none. Nothing in dir
// is changed.
func OpenBlocks(dir string) (*Reader, error) {
	dirs, err := blockDirs(dir)
	if err != nil {
		return nil, err
	}
	if len(dirs) == 0 {
		return nil, fmt.Errorf("open %s: %w", dir, ErrNoBlocks)
	}
	r := &Reader{}
	r.Asker = newAsker(r, slog.New(slog.DiscardHandler))
	for _, d := range dirs {
		block, err := tsdb.OpenBlock(nil, d, nil, nil)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open block %s: %w", filepath.Base(d), err), r.Close())
		}
		r.blocks = append(r.blocks, block)
	}
	return r, nil
}

// Close waits for queries and closes the blocks.
func (r *Reader) Close() error {
	var errs []error
	for _, b := range r.blocks {
		errs = append(errs, b.Close())
	}
	r.blocks = nil
	return errors.Join(errs...)
}

// Window returns the times of the oldest and the newest sample.
func (r *Reader) Window() Window {
	w := Window{}
	for i, b := range r.blocks {
		from, to := time.UnixMilli(b.MinTime()), time.UnixMilli(b.MaxTime()-1)
		if i == 0 || from.Before(w.From) {
			w.From = from
		}
		if to.After(w.To) {
			w.To = to
		}
	}
	return w
}

// Querier implements storage.Queryable.
func (r *Reader) Querier(mint, maxt int64) (storage.Querier, error) {
	var parts []storage.Querier
	for _, b := range r.blocks {
		if !b.OverlapsClosedInterval(mint, maxt) {
			continue
		}
		q, err := tsdb.NewBlockQuerier(b, mint, maxt)
		if err != nil {
			for _, part := range parts {
				err = errors.Join(err, part.Close())
			}
			return nil, fmt.Errorf("open block for reading: %w", err)
		}
		parts = append(parts, q)
	}
	return storage.NewMergeQuerier(parts, nil, storage.ChainedSeriesMerge), nil
}

// treeBytes adds up the files below dir; what cannot be read counts nothing.
func treeBytes(dir string) int64 {
	var total int64
	_ = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // files come and go while we look
		}
		if info, err := d.Info(); err == nil {
			total += info.Size()
		}
		return nil
	})
	return total
}

package metricstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// cuttingDir is where blocks that are being written have their heads: what a
// kill leaves there is removed by the next Open.
const cuttingDir = "cutting"

// blockWriter gathers samples in a head of its own and makes one block of them.
// The TSDB has such a writer, but that one keeps its head in the folder for
// temporary files of the host, where an agent may not be allowed to write.
type blockWriter struct {
	store *Store
	head  *tsdb.Head
	dir   string // of the head
	span  int64
}

// newBlockWriter makes a writer for samples of a window of so many milliseconds,
// which is to be closed. It takes them series by series, each time from the start
// of the window on: a head allows that only when its block is twice as long.
func (s *Store) newBlockWriter(window int64) (*blockWriter, error) {
	parent := filepath.Join(s.opts.Dir, cuttingDir)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return nil, fmt.Errorf("make folder for a block's head: %w", err)
	}
	dir, err := os.MkdirTemp(parent, "head")
	if err != nil {
		return nil, fmt.Errorf("make folder for a block's head: %w", err)
	}
	w := &blockWriter{store: s, dir: dir, span: 2*window + 1}
	opts := tsdb.DefaultHeadOptions()
	opts.ChunkRange = w.span
	opts.ChunkDirRoot = dir
	opts.StripeSize = stripes
	w.head, err = tsdb.NewHead(nil, quiet(s.opts.Log), nil, nil, opts, tsdb.NewHeadStats())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a block's head: %w", err), os.RemoveAll(dir))
	}
	if err := w.head.Init(0); err != nil {
		w.close()
		return nil, fmt.Errorf("make a block's head: %w", err)
	}
	return w, nil
}

// Appender implements storage.Appendable.
func (w *blockWriter) Appender(ctx context.Context) storage.Appender { return w.head.Appender(ctx) }

// flush writes the block below dir. One that is to take the place of another is
// told which: the TSDB deletes that one when it finds the new one, also after a kill.
func (w *blockWriter) flush(ctx context.Context, dir string, instead *tsdb.BlockMeta) (ulid.ULID, error) {
	compactor, err := tsdb.NewLeveledCompactorWithOptions(ctx, nil, quiet(w.store.opts.Log), []int64{w.span}, chunkenc.NewPool(),
		tsdb.LeveledCompactorOptions{MaxBlockChunkSegmentSize: chunkSegment, EnableOverlappingCompaction: true})
	if err != nil {
		return ulid.ULID{}, fmt.Errorf("write block: %w", err)
	}
	// The end of a block is the first millisecond after it.
	ids, err := compactor.Write(dir, w.head, w.head.MinTime(), w.head.MaxTime()+1, instead)
	if err != nil {
		return ulid.ULID{}, fmt.Errorf("write block: %w", err)
	}
	if len(ids) == 0 {
		return ulid.ULID{}, fmt.Errorf("write block: %w", tsdb.ErrNoSeriesAppended)
	}
	return ids[0], nil
}

// close drops the head. A head that is closed writes its chunks first, and panics
// where there is no room: it is emptied before, as the block has them.
func (w *blockWriter) close() {
	var err error
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("close a block's head: %v", r)
		}
		if err = errors.Join(err, os.RemoveAll(w.dir)); err != nil {
			w.store.opts.Log.Warn("remove what was needed to write a block of metrics", "error", err)
		}
	}()
	if w.head.NumSeries() > 0 {
		err = w.head.Truncate(w.head.MaxTime() + 1)
	}
	err = errors.Join(err, w.head.Close())
}

// removeLeftovers removes what a kill may have left of heads. The TSDB is open,
// and with it the lock that keeps other processes out.
func (s *Store) removeLeftovers() {
	for _, name := range []string{cuttingDir, memoryDir} {
		if err := os.RemoveAll(filepath.Join(s.opts.Dir, name)); err != nil {
			s.opts.Log.Warn("remove what the last run left behind", "error", err)
		}
	}
}

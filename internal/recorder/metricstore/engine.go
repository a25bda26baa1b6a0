package metricstore

import (
	"context"
	"log/slog"
	"math"
	"time"

	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/compression"
)

const (
	walCompression = compression.Snappy
	// walSegment is 2.5 minutes of log at 12,000 samples/s. Segments go as a
	// whole, so that small ones keep the log short; pages of 32 KiB must fit.
	walSegment = 16 << 20
	// chunkSegment is the size of a block's files of samples, which the TSDB reserves
	// before it writes one: with its own 512 MiB no block can be written to a disk that
	// has less. 15 minutes at 12,000 samples/s are three of these.
	chunkSegment = 16 << 20
	// stripes of the hash table of series: 2,048 instead of 16,384 save 18 MB.
	// With up to 16,000 series a stripe has 8, which is what a map of Go holds in
	// its first group: a look-up takes 23 ns then, and 73 ns with 1,024 stripes.
	stripes = 2048
	// headBuffer is what is gathered of full chunks before they are written. The
	// TSDB has 4 MiB, but keeps them in memory until then. With a write in 256 KiB
	// the 12,000 series of a large host make one in two seconds.
	headBuffer = 256 << 10
	// never is the TSDB's own interval of looking after itself: no run lasts as
	// long. It would write head chunks without a look at the free space.
	never = 10 * 365 * 24 * time.Hour
)

// reloadBlocks makes db ask which blocks may go, and deletes them. The TSDB has
// no door for that alone, but does it after each block it writes. The range here
// holds no sample, so that no block comes of it, and its end overflows to the
// least time of all, so that nothing is cut off head and log either.
func reloadBlocks(db *tsdb.DB) error {
	if db.Head().MinTime() == math.MaxInt64 {
		return nil // an empty head would take the range for its own
	}
	return db.CompactHead(tsdb.NewRangeHead(db.Head(), math.MaxInt64, math.MaxInt64))
}

// quiet passes warnings and errors of the TSDB on. What it tells beside is a
// line for each block.
func quiet(log *slog.Logger) *slog.Logger {
	return slog.New(warnings{log.Handler()})
}

type warnings struct{ slog.Handler }

// Enabled implements slog.Handler.
func (w warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && w.Handler.Enabled(ctx, level)
}

// WithAttrs implements slog.Handler.
func (w warnings) WithAttrs(attrs []slog.Attr) slog.Handler {
	return warnings{w.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (w warnings) WithGroup(name string) slog.Handler {
	return warnings{w.Handler.WithGroup(name)}
}

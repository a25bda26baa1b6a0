package metricstore

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"
)

const (
	defaultRetention  = 6 * time.Hour
	defaultBlock      = 15 * time.Minute
	defaultOutOfOrder = 2 * time.Minute
	defaultEvery      = time.Second

	// defaultSeriesPerContainer is 30 times what the agent itself has for a
	// container; what exceeds it are custom metrics that run away.
	defaultSeriesPerContainer = 2000
	// hostShare is how many times that the host itself may have: its connections
	// have a peer each, and a busy one had 2,037 series in 25 minutes.
	hostShare = 5
	// defaultMaxSeries is 200 containers with 500 series each. At 4 KiB of head
	// and tables for a series that is 400 MB, the most a host should give.
	defaultMaxSeries = 100_000

	// shortest is the least that a budget must hold: the head cannot be freed
	// before 1.5 blocks of 15 minutes are in it, less the part in blocks.
	shortest = 20 * time.Minute
	// logBytes is what a sample takes in the log (snappy) and as a head chunk
	// before it is in a block. Measured with 12,000 series: 301 MB at 22 minutes.
	logBytes = 19
	// blockBytes is what a sample takes in a block, measured with the same data.
	blockBytes = 3.3
	// leastBudget is the log and head of 1,200 series (20 containers) for 20
	// minutes. It is asked for where no old data tell the rate.
	leastBudget = 32 << 20
)

// ErrBudget says that the budget cannot hold the shortest useful history.
var ErrBudget = errors.New("budget too small")

// Options of a store. The zero value of every field but Dir is a default.
type Options struct {
	// Dir is the folder of the store alone; it is made with mode 0700.
	Dir string
	// Retention is how much recorded time blocks keep (6 h).
	Retention time.Duration
	// MaxBytes bounds blocks, log and head on disk together; 0 does not bound.
	MaxBytes int64
	// Block is the time a block covers (15 min).
	Block time.Duration
	// OutOfOrder is how late a sample may come (2 min). Half of it is how far
	// ahead of the clock a sample may be.
	OutOfOrder time.Duration
	// SeriesPerContainer bounds the series of one container, or of one service
	// outside of containers (2,000). The host itself, which is what has neither
	// container.id nor service.name, may have five times as many (10,000). Below 0
	// there is no bound.
	SeriesPerContainer int
	// MaxSeries bounds the series of the store (100,000); below 0 there is no bound.
	MaxSeries int
	// Every is the time between two looks at space, retention and head (1 s).
	// Below 0 nobody looks until Maintain is called.
	Every time.Duration
	// Now is the wall clock (time.Now).
	Now func() time.Time
	// Space returns the bytes a user may still write and those of the whole
	// file system (statfs).
	Space func(dir string) (free, total uint64, err error)
	// Log gets one line for each change of state; nil discards.
	Log *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, errors.New("open metric store: no folder given")
	}
	setDefault(&o.Retention, defaultRetention)
	setDefault(&o.Block, defaultBlock)
	setDefault(&o.OutOfOrder, defaultOutOfOrder)
	setDefault(&o.Every, defaultEvery)
	setDefault(&o.SeriesPerContainer, defaultSeriesPerContainer)
	setDefault(&o.MaxSeries, defaultMaxSeries)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Space == nil {
		o.Space = statfs
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Retention < 0 || o.Block < time.Second || o.OutOfOrder < 0 || o.MaxBytes < 0 {
		return o, fmt.Errorf("open metric store: retention %v, block %v, out of order %v or budget %d is negative or too short",
			o.Retention, o.Block, o.OutOfOrder, o.MaxBytes)
	}
	return o, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func statfs(dir string) (free, total uint64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, 0, fmt.Errorf("read free space of %s: %w", dir, err)
	}
	size := uint64(s.Frsize) // of a block; Bsize is how much is best read at once
	if size == 0 {
		size = uint64(s.Bsize)
	}
	return s.Bavail * size, s.Blocks * size, nil
}

// checkBudget refuses a budget that cannot hold the shortest history at the
// rate of the newest block, given in samples per second (0: not known).
func checkBudget(o Options, rate float64) error {
	if o.MaxBytes == 0 {
		return nil
	}
	need := int64(rate * shortest.Seconds() * (logBytes + blockBytes))
	if rate == 0 {
		need = leastBudget
	}
	if o.MaxBytes >= need {
		return nil
	}
	return fmt.Errorf("open metric store in %s: %w: %d MB cannot hold %v at %.0f samples/s, which takes %d MB (raise the budget, or record fewer metrics)",
		o.Dir, ErrBudget, o.MaxBytes>>20, shortest, rate, need>>20)
}

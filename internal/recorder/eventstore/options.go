package eventstore

import (
	"fmt"
	"log/slog"
	"os"
	"time"
)

// Options say where events are kept and for how long.
type Options struct {
	// Dir is made with mode 0700: command lines and logs are sensitive.
	Dir string
	// MaxBytes is the disk budget. The default is 128 MiB: some 4 million
	// events. At least 1 MiB.
	MaxBytes int64
	// MaxAge is how long a segment is kept after it was closed. Zero keeps
	// all that fits into MaxBytes.
	MaxAge time.Duration
	// FrameEvery is how long an event stays in memory at most (2 s).
	FrameEvery time.Duration
	// Now is the clock (time.Now).
	Now func() time.Time
	// Log gets one line per change of state (none).
	Log *slog.Logger

	// create opens a new file for writing. Tests replace it to fill the disk.
	create func(path string) (file, error)
}

const (
	defaultMaxBytes   = 128 << 20
	minMaxBytes       = 1 << 20
	defaultFrameEvery = 2 * time.Second

	// A segment is closed at 16 MB or after 10 minutes: the unit of deletion
	// stays small against six hours and against the default budget.
	maxSegmentBytes = 16 << 20
	maxSegmentAge   = 10 * time.Minute
	// budgetSegments is how many segments a small budget has room for.
	budgetSegments = 8
)

// file is what the store needs of a file that it writes.
type file interface {
	Write(b []byte) (int, error)
	Truncate(size int64) error
	Seek(offset int64, whence int) (int64, error)
	Sync() error
	Close() error
}

func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, fmt.Errorf("open event store: no folder given")
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = defaultMaxBytes
	}
	if o.MaxBytes < minMaxBytes {
		return o, fmt.Errorf("open event store: a budget of %d bytes is too small (give it %d or more)", o.MaxBytes, minMaxBytes)
	}
	if o.FrameEvery <= 0 {
		o.FrameEvery = defaultFrameEvery
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.create == nil {
		o.create = createFile
	}
	return o, nil
}

// segmentBytes is at which size a segment is closed.
func (o *Options) segmentBytes() int64 { return min(maxSegmentBytes, o.MaxBytes/budgetSegments) }

func createFile(path string) (file, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err // with the path in it
	}
	return f, nil
}

package metricstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/tsdb"
)

// Mode says where samples go.
type Mode string

const (
	// Normal is: log, head and blocks on disk.
	Normal Mode = "normal"
	// MemoryOnly is: the disk is full or broken, two minutes are kept in memory.
	MemoryOnly Mode = "memory_only"
)

// Store is an open metric store.
type Store struct {
	Asker

	opts  Options
	rawDB string // the TSDB's folder, below opts.Dir
	disk  handle[tsdb.DB]
	ram   handle[tsdb.Head]

	// keeping is held for a look at the disk, which may compact for seconds.
	// It is taken before mu.
	keeping sync.Mutex
	// broken is set when a head chunk was not written: the TSDB is unusable.
	broken atomic.Bool
	// suspicion is set when a reader met damage, verified is when blocks were last
	// read through for that without success; guarded by keeping.
	suspicion atomic.Bool
	verified  time.Time
	// hurry is set when a block may be deleted that could not before, tidied is
	// when blocks were last deleted; guarded by keeping.
	hurry  atomic.Bool
	tidied time.Time

	mu   sync.Mutex // guards what follows: what the write path owns
	db   *tsdb.DB   // nil once closed
	head *tsdb.Head // of the memory-only mode, else nil
	// moving is set while db is nil only because it could not be opened after the
	// clock went back.
	moving *move
	table  *table
	count  counters

	pinMu     sync.Mutex
	pins      map[*span]struct{}
	condemned map[ulid.ULID]struct{}
	repaired  uint64   // blocks
	repairs   []Repair // the newest of them

	cancel context.CancelFunc
	done   chan struct{}
}

// span is a piece of time in milliseconds, both ends included.
type span struct{ from, to int64 }

// Open opens or makes the store in o.Dir. What is damaged is repaired or moved
// away, which Recovery tells; an error remains for a folder that cannot be
// used, one that another process has open, and a budget that is too small.
func Open(o Options) (*Store, Recovery, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, Recovery{}, err
	}
	s := &Store{
		opts:      o,
		rawDB:     filepath.Join(o.Dir, "db"),
		table:     newTable(o),
		pins:      map[*span]struct{}{},
		condemned: map[ulid.ULID]struct{}{},
		done:      make(chan struct{}),
	}
	s.count.dropped = map[string]uint64{}
	recovery, err := s.recover()
	if err != nil {
		return nil, recovery, err
	}
	s.disk.put(s.db)
	s.removeLeftovers()
	s.Asker = newAsker(s, o.Log)
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	go s.keep(ctx)
	return s, recovery, nil
}

// Close waits for queries, writes what is in memory and ends. A second call
// does nothing.
func (s *Store) Close() error {
	s.cancel()
	<-s.done
	s.keeping.Lock()
	defer s.keeping.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db != nil && s.head != nil && !s.broken.Load() {
		if _, err := s.unload(context.Background()); err != nil {
			s.opts.Log.Warn("metrics kept in memory are lost", "error", err)
		}
	}
	err := s.closeMemory()
	db := s.db
	s.db, s.moving = nil, nil
	if db == nil { // a second call, or the next Open has to settle what was left
		return err
	}
	if s.broken.Load() { // its locks were left held: it cannot be closed
		s.disk.abandon()
		return err
	}
	s.disk.take()
	return errors.Join(err, s.closeDB(db), s.markClean())
}

// closeDB closes a TSDB. Where it cannot write its head chunks it panics; what
// they hold is in the log too, so that nothing is lost.
func (s *Store) closeDB(db *tsdb.DB) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("close metric store in %s: %v", s.opts.Dir, r)
		}
	}()
	if err := db.Close(); err != nil {
		return fmt.Errorf("close metric store in %s: %w", s.opts.Dir, err)
	}
	return nil
}

// openDB opens the TSDB with the settings that the notes measured: a small hash
// table, log segments of 16 MiB so that the log shrinks soon after a block is
// cut, and no work of its own: Maintain does it, after a look at the disk.
func (s *Store) openDB(registry prometheus.Registerer) (*tsdb.DB, error) {
	opts := tsdb.DefaultOptions()
	opts.MinBlockDuration = s.opts.Block.Milliseconds()
	opts.MaxBlockDuration = s.opts.Block.Milliseconds()
	opts.RetentionDuration = 0 // see deletable
	opts.OutOfOrderTimeWindow = s.opts.OutOfOrder.Milliseconds()
	opts.WALCompression = walCompression
	opts.WALSegmentSize = walSegment
	opts.MaxBlockChunkSegmentSize = chunkSegment
	opts.StripeSize = stripes
	opts.BlocksToDelete = s.deletable
	opts.EnableOverlappingCompaction = false
	opts.BlockReloadInterval = never
	// Nobody needs a batch to appear as a whole, and to see to it costs two cache
	// lines for a sample. What it protects beside, a block that is cut while
	// something is appended to its time, cannot happen with one writer.
	opts.IsolationDisabled = true
	opts.HeadChunksWriteBufferSize = headBuffer
	db, err := tsdb.Open(s.rawDB, quiet(s.opts.Log), registry, opts, nil)
	if err != nil {
		return nil, fmt.Errorf("open metric store in %s: %w", s.opts.Dir, err)
	}
	db.DisableCompactions()
	return db, nil
}

// keep looks after the store until ctx ends.
func (s *Store) keep(ctx context.Context) {
	defer close(s.done)
	if s.opts.Every < 0 {
		<-ctx.Done()
		return
	}
	ticker := time.NewTicker(s.opts.Every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := s.Maintain(ctx); err != nil && ctx.Err() == nil {
				s.opts.Log.Warn("metric store maintenance", "error", err)
			}
		}
	}
}

// markOpen leaves a file that Close removes, so that the next Open knows of an
// unclean end.
func (s *Store) markOpen() error {
	return os.WriteFile(filepath.Join(s.opts.Dir, openMark), nil, 0o600)
}

func (s *Store) markClean() error {
	return os.Remove(filepath.Join(s.opts.Dir, openMark))
}

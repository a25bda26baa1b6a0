package metricstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/tsdb"
	"golang.org/x/sys/unix"
)

const (
	// openMark is there while a store is open.
	openMark = "open"
	// corruptDir takes what was damaged. Only the newest finding is kept: it is
	// there for a report of the defect, and must not eat the budget.
	corruptDir = "corrupt"
)

// Recovery tells what Open found and what could not be saved.
type Recovery struct {
	// Unclean is set when the last run did not end with Close.
	Unclean bool
	// Took is how long it took to open.
	Took time.Duration
	// Series is how many series were read back from the log.
	Series int
	// First and Last are the times of the oldest and the newest sample, zero
	// when there is none. Gap is how long before now the newest sample was
	// taken: what is missing, the stop itself included.
	First, Last time.Time
	Gap         time.Duration
	// LogLost is how many bytes of the log were cut off or moved away because
	// they were damaged.
	LogLost int64
	// Moved are the paths of blocks and logs that were damaged, now below the
	// folder corrupt, and Reasons why each was.
	Moved   []string
	Reasons []string
}

// Text says in one sentence what happened; it is empty after a clean end.
func (r Recovery) Text() string {
	if !r.Unclean && r.LogLost == 0 && len(r.Moved) == 0 {
		return ""
	}
	if r.Last.IsZero() {
		return fmt.Sprintf("the last run did not end cleanly: %d damaged parts moved away, %d bytes of log lost, no samples left", len(r.Moved), r.LogLost)
	}
	return fmt.Sprintf("the last run did not end cleanly: metrics are complete until %s (%v before this start), %d damaged parts moved away, %d bytes of log lost",
		r.Last.UTC().Format(time.RFC3339), r.Gap.Round(time.Second), len(r.Moved), r.LogLost)
}

// recover opens the TSDB whatever state it is in. A store that cannot be opened
// is tried again without its log and head: blocks are worth more than the last
// twenty minutes.
func (s *Store) recover() (Recovery, error) {
	began := time.Now() // not the option's clock: this is a duration of the process
	var r Recovery
	if err := os.MkdirAll(s.rawDB, 0o700); err != nil {
		return r, fmt.Errorf("make folder of metric store: %w", err)
	}
	if _, err := os.Stat(filepath.Join(s.opts.Dir, openMark)); err == nil {
		r.Unclean = true
	}
	rate, err := s.checkBlocks(&r)
	if err != nil {
		return r, err
	}
	if err := checkBudget(s.opts, rate); err != nil {
		return r, err
	}
	if s.db, err = s.openRepairing(&r); err != nil {
		return r, err
	}
	s.describe(&r)
	r.Took = time.Since(began)
	if err := s.markOpen(); err != nil {
		return r, errors.Join(fmt.Errorf("mark metric store open: %w", err), s.closeDB(s.db))
	}
	return r, nil
}

// leastSpan is how much time a block must cover for its rate to mean something. The
// first of a run has only what is left of its quarter of an hour.
const leastSpan = time.Minute

// checkBlocks opens each block on trial and moves away those that do not open.
// It returns the rate of the newest one that is not too short, in samples per second.
// One of a time that the clock does not have yet counts where there is no other.
func (s *Store) checkBlocks(r *Recovery) (rate float64, err error) {
	dirs, err := blockDirs(s.rawDB)
	if err != nil {
		return 0, err
	}
	newest, horizon := int64(math.MinInt64), s.horizon()
	for _, dir := range dirs {
		meta, err := tryBlock(dir)
		if err != nil {
			if err := s.moveAway(r, dir, err); err != nil {
				return 0, err
			}
			continue
		}
		at := meta.MinTime
		if meta.MaxTime > horizon {
			at += math.MinInt64 / 2
		}
		if span := meta.MaxTime - meta.MinTime; span >= min(leastSpan, s.opts.Block).Milliseconds() && at > newest {
			newest, rate = at, float64(meta.Stats.NumSamples)/float64(span)*1000
		}
	}
	return rate, nil
}

// tryBlock opens a block, which checks its table of contents and symbols.
// Samples have checksums of their own, which each query checks.
func tryBlock(dir string) (tsdb.BlockMeta, error) {
	var meta tsdb.BlockMeta
	text, err := os.ReadFile(filepath.Join(dir, "meta.json"))
	if err != nil {
		return meta, err
	}
	if err := json.Unmarshal(text, &meta); err != nil {
		return meta, fmt.Errorf("parse meta.json: %w", err)
	}
	if meta.ULID.String() != filepath.Base(dir) {
		return meta, fmt.Errorf("meta.json is of block %s", meta.ULID)
	}
	block, err := tsdb.OpenBlock(nil, dir, nil, nil)
	if err != nil {
		return meta, err
	}
	return meta, block.Close()
}

// blockDirs lists the blocks below dir, oldest creation first.
func blockDirs(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list blocks: %w", err)
	}
	var dirs []string
	for _, e := range entries {
		if _, err := ulid.ParseStrict(e.Name()); err == nil && e.IsDir() {
			dirs = append(dirs, filepath.Join(dir, e.Name()))
		}
	}
	return dirs, nil
}

// openRepairing opens the TSDB, which cuts a damaged log at the damage itself.
func (s *Store) openRepairing(r *Recovery) (*tsdb.DB, error) {
	before := s.logBytes()
	registry := prometheus.NewRegistry()
	db, err := s.openDB(registry)
	if err == nil {
		if counted(registry, "prometheus_tsdb_wal_corruptions_total") > 0 {
			r.LogLost += max(before-s.logBytes(), 1)
			r.Reasons = append(r.Reasons, "the log was cut at a damaged record")
		}
		return db, nil
	}
	if isHost(err) {
		return nil, err
	}
	for _, name := range []string{"wal", "wbl", "chunks_head"} {
		if errMove := s.moveAway(r, filepath.Join(s.rawDB, name), err); errMove != nil {
			return nil, errors.Join(err, errMove)
		}
	}
	r.LogLost += before
	return s.openDB(nil)
}

// moveAway puts a folder aside in place of what was put there before.
func (s *Store) moveAway(r *Recovery, dir string, reason error) error {
	target := filepath.Join(s.opts.Dir, corruptDir, filepath.Base(dir))
	if len(r.Moved) == 0 {
		if err := os.RemoveAll(filepath.Dir(target)); err != nil {
			return fmt.Errorf("remove what was damaged before: %w", err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
		return fmt.Errorf("make folder for what is damaged: %w", err)
	}
	if err := os.Rename(dir, target); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("move damaged %s away: %w", filepath.Base(dir), err)
	}
	r.Moved = append(r.Moved, target)
	r.Reasons = append(r.Reasons, reason.Error())
	s.opts.Log.Warn("damaged part of the metric store moved away", "path", target, "reason", reason)
	return nil
}

// describe fills in what an open TSDB tells of itself.
func (s *Store) describe(r *Recovery) {
	r.Series = int(s.db.Head().NumSeries())
	from, to := timeRange(s.db)
	if from > to {
		return
	}
	r.First, r.Last = time.UnixMilli(from), time.UnixMilli(to)
	r.Gap = max(0, s.opts.Now().Sub(r.Last))
}

// timeRange returns the times of the oldest and the newest sample, from > to
// when there is none.
func timeRange(db *tsdb.DB) (from, to int64) {
	from, to = db.Head().MinTime(), db.Head().MaxTime()
	if db.Head().NumSeries() == 0 { // its times are those of the blocks then
		from, to = math.MaxInt64, math.MinInt64
	}
	for _, b := range db.Blocks() {
		from, to = min(from, b.MinTime()), max(to, b.MaxTime()-1)
	}
	return from, to
}

// counted returns the value of a counter without labels.
func counted(g prometheus.Gatherer, name string) float64 {
	families, err := g.Gather()
	if err != nil {
		return 0
	}
	for _, f := range families {
		if f.GetName() == name && len(f.GetMetric()) > 0 {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	return 0
}

// isHost tells faults of the host, or of its settings, from damage: moving data
// away would not help.
func isHost(err error) bool {
	for _, errno := range []unix.Errno{unix.EAGAIN, unix.EACCES, unix.EPERM, unix.EROFS, unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOSPC} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

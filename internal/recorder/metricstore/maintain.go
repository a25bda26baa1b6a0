package metricstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/prometheus/prometheus/tsdb"
)

const (
	// A disk with less than 5 % free, or 1 GiB where that is less, loses the
	// oldest block: other programs need it more than the recorder does.
	floorPercent = 5
	// Below 2 % nothing is written any more, and again above 3 %, so that
	// what the return itself writes does not lead back.
	stopPercent   = 2
	resumePercent = 3
	// plenty is the size of a disk from which on these shares do not grow: a
	// twentieth of it is 1 GiB. 5 % of 2 TB would be 100 GB that nobody needs.
	plenty = 20 << 30

	// tidyEvery is how often retention and budget are looked at, unless there is
	// a reason to do it now: that reads the folder of the log, 0.1 ms. In 10 s,
	// 12,000 series write 1 MB.
	tidyEvery = 10 * time.Second
)

// Maintain looks at the disk and does what is due: it changes the mode, writes
// full chunks and blocks, and deletes what may go. The store calls it itself,
// unless Options.Every is below 0.
func (s *Store) Maintain(ctx context.Context) error {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	s.sweep()
	s.resume()
	if s.usable() == nil {
		return s.trimMemory()
	}
	free, total, err := s.opts.Space(s.opts.Dir)
	if err != nil {
		return err
	}
	if err := s.chooseMode(free, total); err != nil {
		return err
	}
	db := s.usable() // maybe another one, or none
	if db == nil {
		return s.trimMemory()
	}
	if belowPercent(free, total, floorPercent) {
		s.condemnOldest(db.Blocks())
	}
	if s.mode() == Normal { // a copy takes room
		if err := s.salvage(ctx, db); err != nil {
			return err
		}
	}
	if err := s.tidy(db); err != nil {
		return err
	}
	if s.mode() == MemoryOnly {
		return s.trimMemory()
	}
	return s.persist(ctx, db)
}

// tidy deletes the blocks that may go.
func (s *Store) tidy(db *tsdb.DB) error {
	now := s.opts.Now()
	if !s.hurry.Swap(false) && now.Sub(s.tidied).Abs() < tidyEvery {
		return nil
	}
	s.tidied = now
	if len(s.deletable(db.Blocks())) == 0 {
		return nil
	}
	if err := reloadBlocks(db); err != nil {
		return fmt.Errorf("delete blocks of metric store: %w", err)
	}
	s.forget(db.Blocks())
	return nil
}

// persist moves full chunks of the head to disk, and then a block if one is due.
// The TSDB panics with its locks held when a chunk cannot be written; what it
// holds then can neither be read nor closed.
func (s *Store) persist(ctx context.Context, db *tsdb.DB) (err error) {
	defer func() {
		if r := recover(); r != nil {
			s.giveUp()
			err = fmt.Errorf("write head chunks of metric store: %v (metrics are kept in memory until the agent restarts)", r)
		}
	}()
	db.ForceHeadMMap()
	if !s.isBlockDue(db.Head()) {
		return nil
	}
	if err := db.Compact(ctx); err != nil {
		if isFull(err) {
			err = errors.Join(err, s.enterMemory("no space for a block"))
		}
		return fmt.Errorf("write block of metric store: %w", err)
	}
	return nil
}

// isBlockDue knows when the TSDB would cut a block. Asking it to reads the
// meta.json of all blocks, which each second would cost as much as the samples do.
func (s *Store) isBlockDue(head *tsdb.Head) bool {
	return head.MinTime() != math.MaxInt64 && head.MaxTime()-head.MinTime() > s.opts.Block.Milliseconds()/2*3
}

func belowPercent(free, total, percent uint64) bool {
	return free < min(total, plenty)*percent/100
}

// usable returns the TSDB, nil when it is closed or broken.
func (s *Store) usable() *tsdb.DB {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken.Load() {
		return nil
	}
	return s.db
}

func (s *Store) mode() Mode {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.head != nil {
		return MemoryOnly
	}
	return Normal
}

// chooseMode changes the mode when the free space says so.
func (s *Store) chooseMode(free, total uint64) error {
	switch mode := s.mode(); {
	case mode == Normal && belowPercent(free, total, stopPercent):
		return s.enterMemory(fmt.Sprintf("%d MB of %d MB are free", free>>20, total>>20))
	case mode == MemoryOnly && !belowPercent(free, total, resumePercent):
		return s.leaveMemory()
	}
	return nil
}

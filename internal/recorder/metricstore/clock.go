package metricstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/prometheus/tsdb"
)

// clockWentBack tells whether samples lie further ahead of the clock than any
// was accepted: the clock was set back since.
func (s *Store) clockWentBack() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.isAhead()
}

// isAhead wants mu held.
func (s *Store) isAhead() bool {
	if s.head != nil {
		return s.head.MaxTime() > s.horizon()
	}
	return s.isDiskAhead()
}

// isDiskAhead is the same for the TSDB alone. It wants mu held.
func (s *Store) isDiskAhead() bool {
	return s.db != nil && !s.broken.Load() && s.db.Head().MaxTime() > s.horizon()
}

// move is what is left to do when the TSDB was closed because the clock went back.
type move struct {
	cause error    // why log and head may hold what is in no block; nil: they do not
	moved Recovery // where they are then
}

// rewind closes off what was recorded under the later time and goes on under
// the clock's: a TSDB takes no samples from before its newest block.
func (s *Store) rewind(ctx context.Context) error {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.isAhead() {
		return nil
	}
	if s.head != nil { // two minutes at most, told by the gap that remains
		return errors.Join(s.closeMemory(), s.makeMemory())
	}
	s.opts.Log.Warn("the clock went back: earlier records stay under the time they were made at",
		"newest", time.UnixMilli(s.db.Head().MaxTime()), "now", s.opts.Now(), "dir", s.opts.Dir)
	return s.moveOver(ctx)
}

// moveOver makes a TSDB that takes samples of the clock's time. A host that does not
// let it, as where the disk is full, loses nothing: what was recorded stays where it
// is, and samples go to memory until leaveMemory tries again. The end of ctx does not
// stop it halfway. It wants keeping and mu held.
func (s *Store) moveOver(ctx context.Context) error {
	db := s.disk.take()
	err := closeOff(context.WithoutCancel(ctx), db)
	switch {
	case errors.Is(err, errBroken):
		s.broken.Store(true)
		return errors.Join(err, s.startMemory("what was recorded before the clock went back cannot be read"))
	case isFull(err), isHost(err):
		s.disk.put(db)
		return errors.Join(err, s.startMemory("what was recorded before the clock went back cannot be written to a block"))
	}
	err = errors.Join(err, s.closeDB(db))
	s.db, s.moving = nil, &move{cause: err}
	return errors.Join(err, s.settle())
}

// settle opens the TSDB under the clock's time. Where it cannot, samples go to memory,
// and the next Maintain tries again. It wants keeping and mu held.
func (s *Store) settle() error {
	err := s.setAside(s.moving)
	if err == nil {
		s.db, err = s.openDB(nil)
	}
	if err != nil {
		return errors.Join(err, s.startMemory("the disk takes no metrics since the clock went back"))
	}
	s.moving = nil
	s.disk.put(s.db)
	s.table.forgetRefs()
	return nil
}

// resume tries again what settle could not do, which was told then.
func (s *Store) resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.moving != nil {
		_ = s.settle()
	}
}

// closeOff writes everything in the head to blocks. After errBroken the TSDB can
// neither be read nor closed: it may have panicked with its locks held.
func closeOff(ctx context.Context, db *tsdb.DB) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("write block of the time before the clock went back: %w: %v", errBroken, r)
		}
	}()
	if err := db.CompactOOOHead(ctx); err != nil {
		return fmt.Errorf("write block of late samples: %w", err)
	}
	head := db.Head()
	if err := db.CompactHead(tsdb.NewRangeHead(head, head.MinTime(), head.MaxTime())); err != nil {
		return fmt.Errorf("write block of the time before the clock went back: %w", err)
	}
	return nil
}

// setAside marks the blocks that end in the future as made of late samples: the
// TSDB answers from them, but does not ask new samples to be newer. Log and head
// are removed if all of them is in blocks by now, else they are moved away. What is
// done is not done again by a second call.
func (s *Store) setAside(m *move) error {
	dirs, err := blockDirs(s.rawDB)
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if err := markLate(dir, s.horizon()); err != nil {
			return fmt.Errorf("mark block %s: %w", filepath.Base(dir), err)
		}
	}
	for _, name := range []string{"wal", "wbl", "chunks_head"} {
		path := filepath.Join(s.rawDB, name)
		if m.cause != nil {
			if err := s.moveAway(&m.moved, path, m.cause); err != nil {
				return err
			}
			continue
		}
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("remove log of the time before the clock went back: %w", err)
		}
	}
	return nil
}

func markLate(dir string, horizon int64) error {
	name := filepath.Join(dir, "meta.json")
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	var meta tsdb.BlockMeta
	if err := json.Unmarshal(text, &meta); err != nil {
		return fmt.Errorf("parse meta.json: %w", err)
	}
	if meta.MaxTime <= horizon || meta.Compaction.FromOutOfOrder() {
		return nil
	}
	meta.Compaction.SetOutOfOrder()
	if text, err = json.MarshalIndent(meta, "", "\t"); err != nil {
		return err
	}
	temporary := name + ".new"
	if err := os.WriteFile(temporary, text, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, name)
}

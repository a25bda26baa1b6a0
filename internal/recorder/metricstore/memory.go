package metricstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/prometheus/tsdb"
	"golang.org/x/sys/unix"
)

// ring is how much the memory-only mode keeps: enough to see what happened just
// now, 10 MB with 12,000 series (1.4 million samples, uncompressed at worst).
const ring = 2 * time.Minute

// memoryDir is where the head of the memory-only mode would put chunks, which it
// does only when it is closed.
const memoryDir = "memory"

// enterMemory makes samples go to a head in memory. What is on disk is still
// answered.
func (s *Store) enterMemory(why string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.startMemory(why)
}

// startMemory is enterMemory with mu held.
func (s *Store) startMemory(why string) error {
	if s.head != nil {
		return nil
	}
	if err := s.makeMemory(); err != nil {
		return err
	}
	s.opts.Log.Error("metrics are kept in memory only", "reason", why, "kept", ring, "dir", s.opts.Dir)
	return nil
}

// makeMemory makes the head in memory. It wants mu held.
func (s *Store) makeMemory() error {
	opts := tsdb.DefaultHeadOptions()
	opts.ChunkRange = 2 * ring.Milliseconds()
	opts.ChunkDirRoot = filepath.Join(s.opts.Dir, memoryDir)
	opts.StripeSize = stripes
	head, err := tsdb.NewHead(nil, quiet(s.opts.Log), nil, nil, opts, tsdb.NewHeadStats())
	if err != nil {
		return fmt.Errorf("make head in memory: %w", err)
	}
	if err := head.Init(0); err != nil {
		return errors.Join(fmt.Errorf("make head in memory: %w", err), head.Close())
	}
	s.head = head
	s.ram.put(head)
	s.table.forgetRefs()
	return nil
}

// leaveMemory writes what memory holds to disk and goes on there. It wants keeping
// held.
func (s *Store) leaveMemory() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.head == nil {
		return nil
	}
	copied, err := s.unload(context.Background())
	if err != nil {
		return fmt.Errorf("write metrics kept in memory: %w", err)
	}
	s.opts.Log.Info("metrics are written to disk again", "samples", copied, "dir", s.opts.Dir)
	return s.closeMemory()
}

// unload writes what memory holds to the TSDB, which takes it only if it is of the
// clock's time. It wants keeping and mu held.
func (s *Store) unload(ctx context.Context) (copied int, err error) {
	if s.isDiskAhead() {
		if err := s.moveOver(ctx); err != nil {
			return 0, err
		}
	}
	copied, err = s.drain(ctx)
	if errors.Is(err, errBroken) {
		s.broken.Store(true)
		s.disk.abandon()
	}
	return copied, err
}

// drain copies the samples in memory to the TSDB. Those that it refuses count as
// dropped, though they were counted as taken before. It wants mu held.
func (s *Store) drain(ctx context.Context) (copied int, err error) {
	defer func() {
		if r := recover(); r != nil { // the TSDB, when it cannot write a chunk
			err = fmt.Errorf("%w: %v", errBroken, r)
		}
	}()
	from, to := s.head.MinTime(), s.head.MaxTime()
	if from > to {
		return 0, nil
	}
	q, err := tsdb.NewBlockQuerier(tsdb.NewRangeHead(s.head, from, to), from, to)
	if err != nil {
		return 0, err
	}
	defer func() { _ = q.Close() }() // nothing is written through it
	var lost Written
	refused := func(err error) { lost.drop(reasonOf(err), 1) }
	stats, err := copySeries(ctx, copyJob{from: q, to: s.db, refused: refused})
	if err == nil { // else it is done again
		s.count.add(lost)
	}
	return stats.Samples, err
}

// closeMemory drops the head in memory, if there is one. It wants mu held.
func (s *Store) closeMemory() (err error) {
	if s.head == nil {
		return nil
	}
	s.ram.take()
	head := s.head
	s.head = nil
	s.table.forgetRefs()
	defer func() {
		if r := recover(); r != nil { // no room for chunks that nobody wants
			err = nil
		}
		err = errors.Join(err, os.RemoveAll(filepath.Join(s.opts.Dir, memoryDir)))
	}()
	return head.Close()
}

// trimMemory drops what is older than the ring.
func (s *Store) trimMemory() error {
	head := s.ram.acquire()
	if head == nil {
		return nil
	}
	defer s.ram.release()
	oldest := head.MaxTime() - ring.Milliseconds()
	// A pass costs a walk over all series: one for each quarter of the ring.
	if head.NumSeries() == 0 || oldest-head.MinTime() < ring.Milliseconds()/4 {
		return nil
	}
	if err := head.Truncate(oldest); err != nil {
		return fmt.Errorf("drop old metrics from memory: %w", err)
	}
	return nil
}

// giveUp leaves a TSDB alone whose locks will never be free again.
func (s *Store) giveUp() {
	s.broken.Store(true)
	s.disk.abandon()
	if err := s.enterMemory("a head chunk was not written"); err != nil {
		s.opts.Log.Error("metrics are not kept", "error", err)
	}
}

func isFull(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}

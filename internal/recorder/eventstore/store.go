package eventstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"
)

// Reasons for which events are dropped, as counted in Written and Stats.
const (
	// DroppedDisk: the disk took nothing and the memory for that was full.
	DroppedDisk = "disk"
	// DroppedTooLarge: the events of one resource in one call have more than
	// 16 MiB.
	DroppedTooLarge = "too_large"
	// DroppedClosed: the store was closed.
	DroppedClosed = "closed"
	// DroppedDamaged: a frame was damaged on disk when its segment was merged.
	DroppedDamaged = "damaged"
)

const (
	// A frame is written when it has that many events or bytes: one of 500
	// has 120 kB in the package's benchmark.
	frameMaxEvents = 500
	frameMaxRaw    = 1 << 20
)

// Store keeps events. See the package comment.
type Store struct {
	o     Options
	codec *codec

	mu       sync.Mutex // guards what follows
	closed   bool
	pending  batch  // events that are in no frame yet
	sealed   []byte // for the frame that is made of them
	current  *current
	kept     keep
	segments []*segment // not the current one; oldest first
	next     uint64     // number of the next segment
	pins     map[*pin]struct{}
	counts   counters

	// One segment is merged at a time.
	merging sync.Mutex

	feeds feeds

	// scans counts what uses the codec. It grows under mu, while not closed.
	scans sync.WaitGroup

	stop  chan struct{}
	merge chan struct{}
	done  sync.WaitGroup
}

type counters struct {
	events, damaged uint64
	dropped         map[string]uint64
}

// Written tells what became of the events of one call.
type Written struct {
	// Events is how many were taken.
	Events int
	// Dropped counts the others by reason. It is nil when there are none.
	Dropped map[string]int
}

// Open opens the store in o.Dir, which it makes if need be. The store must be
// closed.
func Open(o Options) (*Store, Recovery, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, Recovery{}, err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, Recovery{}, fmt.Errorf("make event store: %w", err)
	}
	s := &Store{
		o: o, next: 1, pins: map[*pin]struct{}{},
		counts: counters{dropped: map[string]uint64{}},
		stop:   make(chan struct{}), merge: make(chan struct{}, 1),
	}
	found, err := s.recover()
	if err != nil {
		return nil, found, fmt.Errorf("open event store: %w", err)
	}
	if s.codec, err = newCodec(); err != nil {
		return nil, found, fmt.Errorf("open event store: %w", err)
	}
	s.mu.Lock()
	s.fit()
	s.mu.Unlock()
	s.wakeMerge()
	s.done.Go(s.run)
	return s, found, nil
}

// Append takes the events of logs and leaves logs as they are. It does not
// wait for the disk beyond one write, and never for a reader. An event without
// any time gets the present one; one whose time is more than an hour ago or two
// minutes ahead is found under the present one, and its record keeps its own.
func (s *Store) Append(logs plog.Logs) Written {
	if logs.LogRecordCount() == 0 {
		return Written{}
	}
	logs = stamped(logs, s.o.Now())
	raw, err := (&plog.ProtoMarshaler{}).MarshalLogs(logs)
	switch {
	case err != nil:
		return s.drop(logs.LogRecordCount(), DroppedDamaged)
	case len(raw) <= frameMaxRaw:
		return s.take(raw, logs.LogRecordCount())
	case logs.ResourceLogs().Len() == 1 && len(raw) > maxRaw:
		return s.drop(logs.LogRecordCount(), DroppedTooLarge)
	case logs.ResourceLogs().Len() == 1:
		return s.take(raw, logs.LogRecordCount())
	}
	var sum Written
	for _, each := range logs.ResourceLogs().All() {
		one := plog.NewLogs()
		each.CopyTo(one.ResourceLogs().AppendEmpty())
		sum.add(s.Append(one))
	}
	return sum
}

func (s *Store) take(raw []byte, events int) Written {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return s.dropLocked(events, DroppedClosed)
	}
	if len(s.pending.raw)+len(raw) > frameMaxRaw {
		s.flush()
	}
	if err := s.pending.add(raw); err != nil { // pdata's own encoding: a defect
		s.o.Log.Error("events are dropped", "error", err)
		return s.dropLocked(events, DroppedDamaged)
	}
	s.counts.events += uint64(events)
	if len(s.pending.records) >= frameMaxEvents {
		s.flush()
	}
	// Under the lock, so that the feeds see events in the order of the store.
	s.feeds.publish(raw)
	return Written{Events: events}
}

func (s *Store) drop(events int, reason string) Written {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropLocked(events, reason)
}

func (s *Store) dropLocked(events int, reason string) Written {
	s.counts.dropped[reason] += uint64(events)
	return Written{Dropped: map[string]int{reason: events}}
}

func (w *Written) add(other Written) {
	w.Events += other.Events
	for reason, n := range other.Dropped {
		if w.Dropped == nil {
			w.Dropped = map[string]int{}
		}
		w.Dropped[reason] += n
	}
}

// Flush writes the events that still are in memory only. The error tells why
// the disk did not take them; they stay in memory then.
func (s *Store) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.flush()
	return s.kept.reason
}

// run does what is due by time rather than by the number of events.
func (s *Store) run() {
	tick := time.NewTicker(s.o.FrameEvery)
	defer tick.Stop()
	expiry := max(1, int(maxSegmentAge/s.o.FrameEvery))
	for n := 1; ; n++ {
		select {
		case <-s.stop:
			return
		case <-s.merge:
			s.mergeAll()
			continue
		case <-tick.C:
		}
		s.mu.Lock()
		s.flush()
		s.rotateIfDue()
		if n%expiry == 0 {
			s.expire()
		}
		s.mu.Unlock()
	}
}

func (s *Store) wakeMerge() {
	select {
	case s.merge <- struct{}{}:
	default: // it is awake
	}
}

// Close writes what is in memory, closes the last segment and waits for scans
// that still run; they must not wait for it. It can be called twice.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.flush()
	s.rotate()
	s.closed = true
	err := s.kept.reason
	lost := s.kept.events()
	s.counts.dropped[DroppedDisk] += uint64(lost)
	s.mu.Unlock()

	close(s.stop)
	s.done.Wait()
	s.feeds.close()
	s.mergeAll()
	s.scans.Wait()
	s.codec.Close()
	if err != nil {
		return fmt.Errorf("close event store: %d events not written: %w", lost, err)
	}
	if err := os.Remove(filepath.Join(s.o.Dir, openMark)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("close event store: %w", err)
	}
	return nil
}

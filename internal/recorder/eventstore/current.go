package eventstore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"
	"time"
)

// current is the segment that is being written.
type current struct {
	*segment
	file   file
	opened time.Time
}

// keepMaxBytes bounds the frames that wait in memory for a disk that takes
// nothing: two minutes at some 1,000 events a second.
const keepMaxBytes = 4 << 20

// keep has the frames that are not on disk yet, oldest first.
type keep struct {
	frames []sealed
	bytes  int
	// reason is why the disk did not take them, nil when it does.
	reason error
}

type sealed struct {
	header
	bytes []byte
}

func (k *keep) events() (n int) {
	for i := range k.frames {
		n += int(k.frames[i].events)
	}
	return n
}

// flush makes a frame of the pending events and writes it.
func (s *Store) flush() {
	if len(s.pending.records) > 0 {
		s.seal()
	}
	s.drain()
	if len(s.kept.frames) > 0 || cap(s.sealed) > frameMaxRaw {
		s.sealed = nil // it is kept, or was for a rare big frame
	}
}

// seal makes the frame.
func (s *Store) seal() {
	h, b, err := s.codec.seal(s.sealed[:0], &s.pending, s.pending.arrange(false), s.codec.live)
	events := len(s.pending.records)
	s.pending.reset(2 * frameMaxRaw)
	if err != nil { // a defect: take let more in than it may
		s.o.Log.Error("events are dropped", "error", err)
		s.dropLocked(events, DroppedTooLarge)
		return
	}
	s.sealed = b
	s.kept.frames = append(s.kept.frames, sealed{h, b})
	s.kept.bytes += len(b)
}

// drain writes the frames that are kept. A full disk costs the oldest segment,
// once per call and up to the last one: new events matter more than old ones.
func (s *Store) drain() {
	var reason error
	for freed := false; len(s.kept.frames) > 0; {
		reason = s.write(s.kept.frames[0])
		if reason == nil {
			s.kept.bytes -= len(s.kept.frames[0].bytes)
			s.kept.frames[0] = sealed{}
			s.kept.frames = s.kept.frames[1:]
			continue
		}
		if freed || !errors.Is(reason, syscall.ENOSPC) || len(s.segments) < 2 || !s.removeOldest() {
			break
		}
		freed = true
	}
	for s.kept.bytes > keepMaxBytes {
		oldest := s.kept.frames[0]
		s.counts.dropped[DroppedDisk] += uint64(oldest.events)
		s.kept.bytes -= len(oldest.bytes)
		s.kept.frames = s.kept.frames[1:]
	}
	if (reason == nil) != (s.kept.reason == nil) {
		if reason != nil {
			s.o.Log.Error("events stay in memory: the disk does not take them", "error", reason)
		} else {
			s.o.Log.Info("events are written to disk again")
		}
	}
	s.kept.reason = reason
}

func (s *Store) write(f sealed) error {
	if err := s.begin(); err != nil {
		return err
	}
	c := s.current
	if _, err := c.file.Write(f.bytes); err != nil {
		err = fmt.Errorf("write events: %w", err)
		return errors.Join(err, c.rewind(s))
	}
	c.frames = append(c.frames, frame{header: f.header, at: c.size})
	c.size += int64(len(f.bytes))
	s.rotateIfDue()
	s.fit()
	return nil
}

// begin makes sure that there is a current segment, of the present time.
func (s *Store) begin() error {
	s.rotateIfDue()
	if s.current != nil {
		return nil
	}
	now := s.o.Now()
	path := segmentPath(s.o.Dir, s.next, openSuffix)
	f, err := s.o.create(path)
	if errors.Is(err, fs.ErrExist) {
		s.next++ // a file that could not be read at the start
	}
	if err != nil {
		return fmt.Errorf("begin segment: %w", err)
	}
	c := &current{segment: &segment{number: s.next, path: path, size: fileHeaderSize}, file: f, opened: now}
	if _, err := f.Write(appendFileHeader(nil, now.UnixNano())); err != nil {
		return errors.Join(fmt.Errorf("begin segment: %w", err), f.Close(), c.remove())
	}
	s.next++
	s.current = c
	return nil
}

// rewind takes back a frame that was written in part. When that is not
// possible either, the segment ends here: whatever reads it stops there.
func (c *current) rewind(s *Store) error {
	err := c.file.Truncate(c.size)
	if err == nil {
		_, err = c.file.Seek(c.size, io.SeekStart)
	}
	if err == nil {
		return nil
	}
	s.rotate()
	return fmt.Errorf("take back a part of a frame: %w", err)
}

func (s *Store) rotateIfDue() {
	if s.current == nil {
		return
	}
	// A negative age: the clock was set back.
	age := s.o.Now().Sub(s.current.opened)
	if s.current.size >= s.o.segmentBytes() || age >= maxSegmentAge || age < 0 {
		s.rotate()
	}
}

// rotate closes the current segment. It is merged later.
func (s *Store) rotate() {
	c := s.current
	if c == nil {
		return
	}
	s.current = nil
	if err := c.file.Close(); err != nil {
		s.o.Log.Warn("an event segment was not closed properly", "path", c.path, "error", err)
	}
	c.closed = s.o.Now().UnixNano()
	s.segments = append(s.segments, c.segment)
	s.expire()
	s.wakeMerge()
}

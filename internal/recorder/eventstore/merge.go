package eventstore

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

const (
	// A merge sorts runs of that many events or bytes, and cuts them into
	// frames. A run of 20,000 takes some 7 MB of memory; its four frames
	// overlap in time, which is what a scan has in memory at once.
	runEvents = 20_000
	runRaw    = 8 << 20
	// denseEvents is the size of a frame: 5,000 instead of 500 events save a
	// tenth of the bytes (notes on the flight recorder, section 3).
	denseEvents = 5_000
	denseRaw    = 2 << 20
)

// mergeAll merges the segments that were closed. One that cannot be merged
// stays readable as it is, and is tried again when the next is closed.
func (s *Store) mergeAll() {
	s.merging.Lock()
	defer s.merging.Unlock()
	var work batch
	for _, each := range s.unmerged() {
		merged, err := s.mergeOne(each, &work)
		if err != nil {
			s.o.Log.Warn("an event segment is not merged", "path", each.path, "error", err)
		}
		s.replace(each, merged)
	}
}

// unmerged returns the segments to merge, marked as being read.
func (s *Store) unmerged() (found []*segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, each := range s.segments {
		if !each.merged && each.unknown == nil {
			each.readers++
			found = append(found, each)
		}
	}
	return found
}

// replace puts the merged form of a segment, nil if there is none, in its
// place and lets go of it.
func (s *Store) replace(old, merged *segment) {
	s.mu.Lock()
	i := slices.Index(s.segments, old)
	switch {
	case merged == nil:
	case i < 0: // it was removed in the meantime
		s.doom(merged)
	case len(merged.frames) == 0:
		s.removeAt(i)
	default:
		s.segments[i] = merged
		s.doom(old)
	}
	s.mu.Unlock()
	s.release([]*segment{old})
}

// mergeOne writes the closed form of a segment. The result has no frames, and
// no file, when nothing of the segment can be read.
func (s *Store) mergeOne(old *segment, work *batch) (*segment, error) {
	if len(old.frames) == 0 {
		return &segment{number: old.number, merged: true}, nil
	}
	path := segmentPath(s.o.Dir, old.number, closedSuffix)
	w, err := newWriter(segmentPath(s.o.Dir, old.number, mergeSuffix), s.codec, s.o.create)
	if err != nil {
		return nil, err
	}
	w.created = old.closed
	w.batch = work
	w.prepare(old.frames)
	for i := range old.frames {
		if err := s.copyFrame(w, old, &old.frames[i]); err != nil {
			return nil, errors.Join(err, w.abandon())
		}
	}
	merged, err := w.finish(path, old.closed)
	if err != nil {
		return nil, errors.Join(err, w.abandon())
	}
	merged.number = old.number
	return merged, nil
}

// copyFrame adds the events of a frame, and frames of other kinds as they are.
// A damaged frame is left out and counted.
func (s *Store) copyFrame(w *writer, old *segment, f *frame) error {
	b, err := old.read(w.frame[:0], f)
	if err != nil {
		return err
	}
	w.frame = b
	if f.kind != frameEvents {
		return w.addFrame(f.header, b)
	}
	err = w.addSealed(&f.header, b[frameHeaderSize:])
	if !errors.Is(err, errDamaged) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.damaged++
	s.counts.dropped[DroppedDamaged] += uint64(f.events)
	return nil
}

// writer writes a segment in its closed form.
type writer struct {
	path    string
	codec   *codec
	file    file
	out     *bufio.Writer
	created int64
	frames  []frame
	size    int64

	batch *batch // the events of the present run
	frame []byte // one that was read or made
}

func newWriter(path string, c *codec, create func(string) (file, error)) (*writer, error) {
	f, err := create(path)
	if err != nil {
		return nil, fmt.Errorf("make segment: %w", err)
	}
	return &writer{path: path, codec: c, file: f, out: bufio.NewWriter(f), batch: &batch{}}, nil
}

// prepare makes room for a run of the frames, once.
func (w *writer) prepare(frames []frame) {
	w.batch.reset(2 * runRaw)
	raw, events := 0, 0
	for i := range frames {
		f := &frames[i]
		if events >= runEvents || raw >= runRaw {
			break
		}
		raw += int(f.raw)
		events += int(min(f.events, f.raw/2)) // an event takes two bytes at least
	}
	w.batch.raw = slices.Grow(w.batch.raw, raw)
	w.batch.records = slices.Grow(w.batch.records, events)
}

// add adds the events of an encoded request.
func (w *writer) add(request []byte) error {
	if err := w.batch.add(request); err != nil {
		return fmt.Errorf("decode events: %w", err)
	}
	return w.endRunIfDue()
}

// addSealed adds the events of a frame, given its payload.
func (w *writer) addSealed(h *header, payload []byte) error {
	from := len(w.batch.raw)
	raw, err := w.codec.unseal(w.batch.raw, h, payload)
	if err != nil {
		return err
	}
	w.batch.raw = raw
	if err := w.batch.decode(from, nil); err != nil {
		return fmt.Errorf("decode frame: %w: %w", errDamaged, err)
	}
	return w.endRunIfDue()
}

func (w *writer) endRunIfDue() error {
	if len(w.batch.records) < runEvents && len(w.batch.raw) < runRaw {
		return nil
	}
	return w.endRun()
}

// endRun writes the events so far as frames.
func (w *writer) endRun() error {
	for rest := w.batch.arrange(true); len(rest) > 0; {
		n := w.batch.mergedFrame(rest)
		h, b, err := w.codec.seal(w.frame[:0], w.batch, rest[:n], w.codec.closed)
		if err != nil {
			return err
		}
		w.frame = b
		if err := w.addFrame(h, b); err != nil {
			return err
		}
		rest = rest[n:]
	}
	w.batch.reset(2 * runRaw)
	return nil
}

func (w *writer) addFrame(h header, b []byte) error {
	if w.size == 0 {
		if err := w.put(appendFileHeader(nil, w.created)); err != nil {
			return err
		}
	}
	w.frames = append(w.frames, frame{header: h, at: w.size})
	return w.put(b)
}

func (w *writer) put(b []byte) error {
	n, err := w.out.Write(b)
	w.size += int64(n)
	if err != nil {
		return fmt.Errorf("write segment: %w", err)
	}
	return nil
}

// finish writes the footer and gives the file its name. Without a frame there
// is no file.
func (w *writer) finish(path string, closed int64) (*segment, error) {
	if err := w.endRun(); err != nil {
		return nil, err
	}
	if len(w.frames) == 0 {
		return &segment{merged: true}, w.abandon()
	}
	if err := w.put(appendFooter(nil, w.frames, closed)); err != nil {
		return nil, err
	}
	if err := w.out.Flush(); err != nil {
		return nil, fmt.Errorf("write segment: %w", err)
	}
	if err := w.file.Sync(); err != nil {
		return nil, fmt.Errorf("write segment: %w", err)
	}
	err := w.file.Close()
	w.file = nil
	if err != nil {
		return nil, fmt.Errorf("write segment: %w", err)
	}
	if err := os.Rename(w.path, path); err != nil {
		return nil, fmt.Errorf("name segment: %w", err)
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	return &segment{path: path, frames: w.frames, size: w.size, closed: closed, merged: true}, nil
}

// abandon removes what was written.
func (w *writer) abandon() error {
	var err error
	if w.file != nil {
		err = w.file.Close()
		w.file = nil
	}
	if gone := os.Remove(w.path); gone != nil && !errors.Is(gone, os.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	err = dir.Sync()
	if err = errors.Join(err, dir.Close()); err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}

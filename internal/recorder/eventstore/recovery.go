package eventstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// openMark is there while a store is open, so that a start knows how the last
// run ended.
const openMark = "open"

// Recovery tells what Open found and what could not be saved.
type Recovery struct {
	// Unclean is set when the last run did not end with Close. Events that it
	// took after Last and within its FrameEvery are lost.
	Unclean bool
	// Took is how long it took to open.
	Took time.Duration
	// Segments and Events are how many can be read.
	Segments int
	Events   uint64
	// Last is the time of the latest event in the segment written last, and
	// Gap how long before now that is. Both are zero without events.
	Last time.Time
	Gap  time.Duration
	// Lost is how many bytes were cut off because they were damaged or only
	// partly written.
	Lost int64
	// Damaged has a sentence for each file that was, Skipped one for each
	// file of another format, which is left as it is.
	Damaged, Skipped []string
}

// Text says in one sentence what happened; it is empty when nothing did.
func (r Recovery) Text() string {
	if !r.Unclean && len(r.Damaged) == 0 && len(r.Skipped) == 0 {
		return ""
	}
	how := "the last run ended cleanly"
	if r.Unclean {
		how = "the last run did not end cleanly"
	}
	upTo := "no events are left"
	if r.Events > 0 {
		upTo = fmt.Sprintf("events are there until %s (%v before this start)", r.Last.UTC().Format(time.RFC3339), r.Gap.Round(time.Second))
	}
	return fmt.Sprintf("%s: %s, %d files damaged, %d bytes lost, %d files of an unknown format skipped",
		how, upTo, len(r.Damaged), r.Lost, len(r.Skipped))
}

// note adds a loaded segment.
func (r *Recovery) note(s *segment, d damage) {
	name := filepath.Base(s.path)
	switch {
	case s.unknown != nil:
		r.Skipped = append(r.Skipped, fmt.Sprintf("%s: %v", name, s.unknown))
	case d.reason != nil:
		r.Damaged = append(r.Damaged, fmt.Sprintf("%s: %v: %d bytes lost", name, d.reason, d.bytes))
		r.Lost += d.bytes
	}
	if n := s.events(); n > 0 {
		r.Segments++
		r.Events += n
		_, last := s.span()
		r.Last = time.Unix(0, last)
	}
}

// loadAll loads the segments of a folder, oldest first.
func loadAll(dir string) (all []*segment, leftOver []string, found Recovery, err error) {
	listed, leftOver, err := listSegments(dir)
	if err != nil {
		return nil, nil, Recovery{}, err
	}
	for i := range listed {
		s := &listed[i]
		d, err := s.load()
		if err != nil {
			found.Damaged = append(found.Damaged, err.Error())
			continue
		}
		found.note(s, d)
		if d.reason != nil {
			s.merged = false // writes the footer again, without what is damaged
		}
		all = append(all, s)
	}
	return all, leftOver, found, nil
}

// recover loads what the last run left. Segments that it did not close are
// merged later, so that the start is quick.
func (s *Store) recover() (Recovery, error) {
	began := time.Now() // a duration, not a time of day
	all, leftOver, found, err := loadAll(s.o.Dir)
	if err != nil {
		return found, err
	}
	for _, path := range leftOver {
		if err := os.Remove(path); err != nil {
			return found, fmt.Errorf("remove left over file: %w", err)
		}
	}
	mark := filepath.Join(s.o.Dir, openMark)
	switch _, err := os.Stat(mark); {
	case err == nil:
		found.Unclean = true
	case !errors.Is(err, fs.ErrNotExist):
		return found, fmt.Errorf("look for the mark of an open store: %w", err)
	}
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		// A full disk is no reason not to start.
		s.o.Log.Warn("the mark of an open event store is not written", "error", err)
	}
	for _, segment := range all {
		if err := segment.reopen(s.o.Dir); err != nil {
			return found, err
		}
		s.next = segment.number + 1
	}
	s.segments = all
	if !found.Last.IsZero() {
		found.Gap = s.o.Now().Sub(found.Last)
	}
	found.Took = time.Since(began)
	return found, nil
}

// reopen gives a damaged closed segment the name of an open one, which frees
// the name for what is made of it.
func (s *segment) reopen(dir string) error {
	as := segmentPath(dir, s.number, openSuffix)
	if s.merged || s.unknown != nil || s.path == as {
		return nil
	}
	if err := os.Rename(s.path, as); err != nil {
		return fmt.Errorf("rename damaged segment: %w", err)
	}
	s.path = as
	return nil
}

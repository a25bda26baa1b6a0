package eventstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"time"
)

// Window is a span of time, both ends included.
type Window struct{ From, To time.Time }

// CutStats tells what Cut wrote.
type CutStats struct {
	// Path is the segment, empty if there were no events.
	Path   string
	Events int
	Bytes  int64
	// First and Last are the times of the earliest and latest event.
	First, Last time.Time
	// Damaged counts frames that could not be read.
	Damaged uint64
}

// Cut copies the events of a window that keep accepts into a new segment in
// dir, which it makes if need be. A nil keep accepts all. OpenDir reads the
// result. Cut holds no lock while it works; when ctx ends, it leaves no file.
func (s *Store) Cut(ctx context.Context, w Window, keep func(Event) bool, dir string) (CutStats, error) {
	q := Query{From: w.From, To: w.To}
	sources, read, err := s.sources(q)
	if err != nil {
		return CutStats{}, err
	}
	defer s.scans.Done()
	defer s.release(read)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return CutStats{}, fmt.Errorf("cut events: %w", err)
	}
	out, err := newWriter(segmentPath(dir, 1, mergeSuffix), s.codec, s.o.create)
	if err != nil {
		return CutStats{}, fmt.Errorf("cut events: %w", err)
	}
	out.created = s.o.Now().UnixNano()
	c := cutter{loader: loader{codec: s.codec}, sel: newSelection(q), keep: keep, out: out}
	if err := c.copy(ctx, sources); err != nil {
		return CutStats{}, errors.Join(fmt.Errorf("cut events: %w", err), out.abandon())
	}
	made, err := out.finish(segmentPath(dir, 1, closedSuffix), out.created)
	if err != nil {
		return CutStats{}, errors.Join(fmt.Errorf("cut events: %w", err), out.abandon())
	}
	return c.stats(made), nil
}

type cutter struct {
	loader  loader
	sel     *selection
	keep    func(Event) bool
	out     *writer
	damaged uint64
}

func (c *cutter) copy(ctx context.Context, sources []source) error {
	for i := range sources {
		if err := ctx.Err(); err != nil {
			return err
		}
		chosen, err := c.choose(&sources[i])
		if err != nil {
			c.damaged++
			continue
		}
		if err := c.out.add(c.loader.batch.encode(chosen)); err != nil {
			return err
		}
	}
	return nil
}

func (c *cutter) choose(src *source) ([]record, error) {
	records, events, err := c.sel.events(&c.loader, src)
	if err != nil || c.keep == nil {
		return records, err
	}
	chosen := records[:0]
	for i, r := range records {
		if c.keep(events[i]) {
			chosen = append(chosen, r)
		}
	}
	return chosen, nil
}

func (c *cutter) stats(made *segment) CutStats {
	stats := CutStats{Path: made.path, Bytes: made.size, Events: int(made.events()), Damaged: c.damaged}
	if first, last := made.span(); first != math.MaxInt64 {
		stats.First, stats.Last = time.Unix(0, first), time.Unix(0, last)
	}
	return stats
}

// Reader reads the segments of a folder without changing anything.
type Reader struct {
	codec    *codec
	segments []*segment
}

// OpenDir opens the segments of a folder, such as the events of a capture, for
// reading. What is added later is not seen. The reader must be closed, after
// its scans.
func OpenDir(dir string) (*Reader, Recovery, error) {
	all, _, found, err := loadAll(dir)
	if err != nil {
		return nil, found, fmt.Errorf("open events: %w", err)
	}
	c, err := newCodec()
	if err != nil {
		return nil, found, fmt.Errorf("open events: %w", err)
	}
	return &Reader{codec: c, segments: all}, found, nil
}

// Scan is as Store.Scan. Frames that are damaged are an error in the end, after
// the events that can be read.
func (r *Reader) Scan(ctx context.Context, q Query, each func(Event) bool) error {
	sc := newScan(r.codec, q)
	var sources []source
	for _, s := range r.segments {
		sources = sc.sel.add(sources, s)
	}
	if err := sc.run(ctx, sources, each); err != nil {
		return err
	}
	if n := len(sc.damaged); n > 0 {
		return fmt.Errorf("scan events: %w: %d frames are left out", errDamaged, n)
	}
	return nil
}

// Span returns the times of the earliest and the latest event, zero if there
// is none.
func (r *Reader) Span() (first, last time.Time) {
	lowest, highest := int64(math.MaxInt64), int64(math.MinInt64)
	for _, s := range r.segments {
		from, to := s.span()
		lowest, highest = min(lowest, from), max(highest, to)
	}
	if lowest > highest {
		return time.Time{}, time.Time{}
	}
	return time.Unix(0, lowest), time.Unix(0, highest)
}

// Close ends the use of the reader.
func (r *Reader) Close() error {
	r.codec.Close()
	return nil
}

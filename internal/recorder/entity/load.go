package entity

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// load reads lines into an empty table.
func (t *Table) load(r io.Reader) (Recovery, error) {
	l := loader{max: t.opts.Max, maxBytes: t.opts.MaxBytes, bySeq: map[uint64]*Entity{}}
	err := l.read(r)
	for _, e := range l.newest() {
		t.restore(adopt(*e), l.alive)
	}
	t.evict() // what is held takes more than what is written where all tags are short
	l.rec.Evicted += int(t.counts.evicted)
	t.seq = max(t.seq, l.seq)
	l.rec.Entities = len(t.runs)
	return l.rec, err
}

// restore adds a run that was read. Runs come sorted by Seq.
func (t *Table) restore(r *run, alive time.Time) {
	t.weight.take(r.tags)
	t.weigh(r)
	if r.Stop.IsZero() {
		t.open[r] = struct{}{}
		if alive.After(r.LastSeen) {
			r.LastSeen = alive
		}
	}
	t.runs = append(t.runs, r)
	runs := t.byID[r.ID]
	i := len(runs)
	for i > 0 && runs[i-1].Began().After(r.Began()) {
		i--
	}
	t.byID[r.ID] = slices.Insert(runs, i, r)
	t.version++
	r.version = t.version
}

// loader collects the last line of each incarnation.
type loader struct {
	max      int
	maxBytes int64
	bySeq    map[uint64]*Entity
	// bytes is what those in bySeq have of text.
	bytes int64
	seq   uint64
	alive time.Time
	rec   Recovery
}

func (l *loader) read(r io.Reader) error {
	lines := lineReader{r: bufio.NewReaderSize(r, 64<<10)}
	for {
		text, err := lines.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		l.take(text)
	}
	l.rec.Skipped += lines.skipped
	l.rec.Torn = lines.torn
	return nil
}

func (l *loader) take(text []byte) {
	parsed, err := parseLine(text)
	switch {
	case err != nil:
		l.rec.Skipped++
	case parsed.Entity != nil:
		l.seq = max(l.seq, parsed.Entity.Seq)
		if old := l.bySeq[parsed.Entity.Seq]; old != nil {
			l.bytes -= old.textBytes()
		}
		l.bySeq[parsed.Entity.Seq] = parsed.Entity
		l.bytes += parsed.Entity.textBytes()
		// A file may have more than the table may hold: those given up, and more
		// where the bound is lower than it was.
		if len(l.bySeq) > 2*l.max || l.bytes > 2*l.maxBytes {
			l.shrink()
		}
	case parsed.Format != 0:
		l.seq = max(l.seq, parsed.Seq)
	case parsed.Alive.IsZero():
		l.rec.Unknown++
	case parsed.Alive.After(l.alive):
		l.alive = parsed.Alive
	}
}

func (l *loader) shrink() {
	kept := l.newest()
	clear(l.bySeq)
	l.bytes = 0
	for _, e := range kept {
		l.bySeq[e.Seq] = e
		l.bytes += e.textBytes()
	}
}

// newest returns what there is room for, sorted by Seq: first those that have not
// ended, then those that ended last.
func (l *loader) newest() []*Entity {
	all := make([]*Entity, 0, len(l.bySeq))
	for _, e := range l.bySeq {
		all = append(all, e)
	}
	if len(all) > l.max || l.bytes > l.maxBytes {
		slices.SortFunc(all, func(a, b *Entity) int {
			return cmp.Or(boolOrder(a.Stop.IsZero(), b.Stop.IsZero()), b.Stop.Compare(a.Stop), cmp.Compare(b.Seq, a.Seq))
		})
		n := l.room(all)
		l.rec.Evicted += len(all) - n
		all = all[:n]
	}
	slices.SortFunc(all, func(a, b *Entity) int { return cmp.Compare(a.Seq, b.Seq) })
	return all
}

// room is for how many of them there is room, at least for one.
func (l *loader) room(all []*Entity) int {
	var bytes int64
	for i, e := range all {
		if bytes += e.textBytes(); i > 0 && (i == l.max || bytes > l.maxBytes) {
			return i
		}
	}
	return len(all)
}

// textBytes is what an entity has of text, as long as its tags are in the map.
func (e *Entity) textBytes() int64 {
	n := e.wordBytes()
	for key, value := range e.Tags {
		n += int64(len(key) + len(value))
	}
	return n
}

// boolOrder sorts true first.
func boolOrder(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// parseLine reads one line and makes what is in it safe to keep: bounded, in UTC,
// and such that it can be written again.
func parseLine(text []byte) (line, error) {
	var l line
	if err := json.Unmarshal(text, &l); err != nil {
		return line{}, fmt.Errorf("parse line: %w", err)
	}
	if !writable(&l.Alive) || l.Seq >= maxSeq {
		return line{}, fmt.Errorf("parse line: time %v or number %d cannot be", l.Alive, l.Seq)
	}
	if l.Entity == nil {
		return l, nil
	}
	e := l.Entity
	if e.ID == "" || len(e.ID) > maxIDBytes || e.Seq == 0 || e.Seq >= maxSeq {
		return line{}, fmt.Errorf("parse line: entity %d of container %.64q cannot be", e.Seq, e.ID)
	}
	if bad := badTime(e); bad != nil {
		return line{}, fmt.Errorf("parse line: time %v cannot be", bad)
	}
	if e.FirstSeen.IsZero() || len(e.Tags) > maxTags || len(e.Degraded) > maxDegradations {
		return line{}, fmt.Errorf("parse line: entity %d is not one that was written", e.Seq)
	}
	for _, text := range []*string{&e.Name, &e.Image, &e.Service, &e.Project, &e.Runtime, &e.Status, &e.Health} {
		*text = cut(*text)
	}
	if e.Stop.IsZero() {
		e.StopGuessed = false
	}
	return l, nil
}

// badTime returns a time of the entity that could not be written again, or nil.
func badTime(e *Entity) *time.Time {
	times := []*time.Time{&e.Start, &e.Stop, &e.FirstSeen, &e.LastSeen, &e.Removed}
	if e.LastKill != nil {
		times = append(times, &e.LastKill.At)
	}
	if e.LastEvent != nil {
		times = append(times, &e.LastEvent.At)
	}
	for i := range e.Degraded {
		times = append(times, &e.Degraded[i].Since)
	}
	for _, at := range times {
		if !writable(at) {
			return at
		}
	}
	return nil
}

// writable puts a time into UTC, and tells whether JSON has it: the years 1 to 9999.
func writable(at *time.Time) bool {
	*at = at.UTC()
	return at.Year() >= 1 && at.Year() <= 9999
}

// lineReader returns the lines that may be whole, without their ends.
type lineReader struct {
	r       *bufio.Reader
	long    []byte
	skipped int
	torn    bool
}

// next returns a line that is valid until the next call. Empty lines and those
// that are too long are left out. The last one counts only if it has an end.
func (l *lineReader) next() ([]byte, error) {
	for {
		text, err := l.one()
		if err != nil {
			return nil, err
		}
		if text = bytes.TrimSpace(text); len(text) > 0 {
			return text, nil
		}
	}
}

// one returns the next line; nil for one that is too long.
func (l *lineReader) one() ([]byte, error) {
	l.long = l.long[:0]
	tooLong := false
	for {
		part, err := l.r.ReadSlice('\n')
		switch {
		case err == nil && len(l.long) == 0 && !tooLong:
			return part, nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			if errors.Is(err, io.EOF) && (len(part) > 0 || len(l.long) > 0 || tooLong) {
				l.torn = true
				l.skipped++
			}
			return nil, err
		}
		if tooLong = tooLong || len(l.long)+len(part) > maxLine; !tooLong {
			l.long = append(l.long, part...)
		}
		if err == nil {
			if tooLong {
				l.skipped++
				return nil, nil
			}
			return l.long, nil
		}
	}
}

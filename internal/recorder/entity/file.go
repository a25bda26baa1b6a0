package entity

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	fileName = "entities.jsonl"
	// format is written into the first line. A reader takes what it knows of any.
	format = 1
	// maxLine is three times what 128 tags with as much text as they may have take
	// when every byte of it has to be escaped.
	maxLine = 4 << 20
	// maxSeq is what JavaScript can count to, too.
	maxSeq = 1 << 53
	// slack is how much is appended at least before the file is written anew: a
	// day of a container that crashes every minute.
	slack = 4 << 20
	// aliveEvery bounds how far LastSeen is off after a crash.
	aliveEvery = time.Minute
	// retryAfter is how long a full disk is left alone.
	retryAfter = 30 * time.Second
	// perMaintain bounds what one Maintain writes, and for how long it holds up
	// observers: some 10 ms.
	perMaintain = 1000
	// perChunk is the same for writing the whole file, which takes the lock again
	// and again.
	perChunk = 256
)

// Recovery is what was found when the table was opened.
type Recovery struct {
	// Entities were read; Skipped lines were not: torn by a crash, damaged, or
	// longer than any that is written. Unknown are of kinds that this version does
	// not know.
	Entities, Skipped, Unknown int
	// Evicted were left out because of Options.Max.
	Evicted int
	// Torn: the last line had no end, as after a crash in the middle of a write.
	Torn bool
	// Took is how long it took.
	Took time.Duration
	// Rewrite is why the file could not be written anew; nil if it was. What was
	// read is there, and writing is tried again.
	Rewrite error
}

// line is one line of the file; it has one of the members, or the first two.
type line struct {
	Format int       `json:"format,omitempty"`
	Seq    uint64    `json:"seq,omitempty"`
	Entity *Entity   `json:"entity,omitempty"`
	Alive  time.Time `json:"alive,omitzero"`
}

// journal is the file. Table.upkeep guards all but path, which never changes.
type journal struct {
	path string
	// file is nil while the file could not be written anew.
	file *os.File
	// size is in bytes, base that after it was written anew.
	size, base int64
	// alive is when it was last written that what has not ended is there; retry
	// when the file may be written anew again; expired when old ones were looked for.
	alive, retry, expired time.Time
	rewrites, errors      uint64
	closed                bool
}

// Open reads the table of a directory, and writes its file anew. An error means
// that the file is there and cannot be read at all.
func Open(o Options) (*Table, Recovery, error) {
	t := newTable(o)
	if o.Dir == "" {
		return t, Recovery{}, nil
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, Recovery{}, fmt.Errorf("make directory of %s: %w", fileName, err)
	}
	began := t.opts.Now()
	t.journal.path = filepath.Join(o.Dir, fileName)
	rec, err := t.readFile()
	if err != nil {
		return nil, rec, err
	}
	t.upkeep.Lock()
	defer t.upkeep.Unlock()
	rec.Rewrite = t.rewrite()
	rec.Took = t.opts.Now().Sub(began)
	return t, rec, nil
}

// Load reads what Write has written, such as the table of a capture, into a table
// that is in memory only. Its clock is taken for one that stands: what has later times
// is true all the same. The error is that of r.
func Load(r io.Reader, o Options) (*Table, Recovery, error) {
	o.Dir = ""
	t := newTable(o)
	t.stands = true
	rec, err := t.load(r)
	return t, rec, err
}

// Write writes those entities that are wanted (all, if keep is nil) in the format
// of entities.jsonl. What keep is asked about is without Tags, and valid during the
// call only. It holds up observers for a few milliseconds at a time.
func (t *Table) Write(w io.Writer, keep func(*Entity) bool) error {
	_, err := t.writeAll(w, keep)
	return err
}

// Maintain writes what was learned, and gives up what is too old or was silent for
// too long. The owner calls it about once a second. An error says that the file
// could not be written; what is known is still in memory, and is written as soon
// as that is possible.
func (t *Table) Maintain() error {
	t.upkeep.Lock()
	defer t.upkeep.Unlock()
	j, now := &t.journal, t.opts.Now()
	text := t.changes(now)
	if j.path == "" || j.closed {
		return nil
	}
	if j.isDue() && j.mayTry(now) {
		if err := t.rewrite(); err != nil {
			return errors.Join(err, j.append(text, now))
		}
		return nil // all changes are in it
	}
	return j.append(text, now)
}

// Close writes all that was learned. The table can still be asked afterwards, but
// is not written any more. It is safe to call it twice.
func (t *Table) Close() error {
	t.upkeep.Lock()
	defer t.upkeep.Unlock()
	j := &t.journal
	if j.path == "" || j.closed {
		return nil
	}
	j.closed = true
	err := t.rewrite()
	if j.file != nil {
		err = errors.Join(err, j.file.Close())
		j.file = nil
	}
	return err
}

// changes takes what is to be appended, and does what is due now and then.
func (t *Table) changes(now time.Time) []byte {
	j := &t.journal
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweep()
	if now.Sub(j.expired).Abs() >= aliveEvery {
		j.expired = now
		t.expire(now)
	}
	var text bytes.Buffer
	n := min(len(t.dirty), perMaintain)
	for _, r := range t.dirty[:n] {
		r.dirty = false
		if !r.gone {
			appendRun(&text, r)
		}
	}
	t.dirty = slices.Delete(t.dirty, 0, n)
	if now.Sub(j.alive).Abs() >= aliveEvery && !t.newest.IsZero() {
		j.alive = now
		appendLine(&text, line{Alive: t.newest})
	}
	return text.Bytes()
}

func appendRun(text *bytes.Buffer, r *run) {
	e := r.Entity
	e.Tags = r.tags.asMap()
	appendLine(text, line{Entity: &e})
}

func appendLine(text *bytes.Buffer, l line) {
	encoded, err := json.Marshal(l)
	if err != nil {
		return // no value of a line has a form that JSON lacks: times are clipped
	}
	text.Write(encoded)
	text.WriteByte('\n')
}

// rewrite replaces the file by one that has only what is known.
func (t *Table) rewrite() (err error) {
	j := &t.journal
	j.retry = t.opts.Now().Add(retryAfter)
	name := j.path + ".tmp"
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		j.errors++
		return fmt.Errorf("create %s: %w", filepath.Base(name), err)
	}
	size, err := t.fill(f)
	if err == nil {
		err = os.Rename(name, j.path)
	}
	if err != nil {
		j.errors++
		_ = f.Close()
		_ = os.Remove(name) // the room is needed
		return fmt.Errorf("write %s anew: %w", fileName, err)
	}
	if j.file != nil {
		_ = j.file.Close()
	}
	j.file, j.size, j.base = f, size, size
	j.retry = time.Time{}
	j.rewrites++
	return syncDir(filepath.Dir(j.path))
}

func (t *Table) fill(f *os.File) (int64, error) {
	w := bufio.NewWriterSize(f, 64<<10)
	size, err := t.writeAll(w, nil)
	return size, cmp.Or(err, w.Flush(), f.Sync())
}

// isDue tells whether the file should be written anew.
func (j *journal) isDue() bool {
	return j.file == nil || j.size > j.base+max(slack, 2*j.base)
}

// mayTry tells whether the disk was left alone for long enough, or the clock was set
// back meanwhile.
func (j *journal) mayTry(now time.Time) bool {
	wait := j.retry.Sub(now)
	return wait <= 0 || wait > retryAfter
}

// append adds lines. Without a file it does nothing: they will be in the new one.
func (j *journal) append(text []byte, now time.Time) error {
	if j.file == nil || len(text) == 0 {
		return nil
	}
	n, err := j.file.Write(text)
	j.size += int64(n)
	if err == nil {
		return nil
	}
	// A torn line may be at its end now, so it is to be written anew.
	j.errors++
	j.retry = now.Add(retryAfter)
	_ = j.file.Close()
	j.file = nil
	return fmt.Errorf("append to %s: %w", fileName, err)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	defer func() { _ = d.Close() }()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}

// writeAll writes the wanted entities in the order of Seq, and returns how many
// bytes that were.
func (t *Table) writeAll(w io.Writer, keep func(*Entity) bool) (int64, error) {
	var text bytes.Buffer
	var written int64
	t.mu.RLock()
	appendLine(&text, line{Format: format, Seq: t.seq})
	t.mu.RUnlock()
	for next, done := uint64(0), false; !done; {
		next, done = t.chunk(&text, next, keep)
		n, err := w.Write(text.Bytes())
		written += int64(n)
		if err != nil {
			return written, err
		}
		text.Reset()
	}
	return written, nil
}

// chunk appends some runs from the Seq next on. It returns where to go on.
func (t *Table) chunk(text *bytes.Buffer, next uint64, keep func(*Entity) bool) (uint64, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	i := t.from(next)
	end := min(len(t.runs), i+perChunk)
	var e Entity
	for _, r := range t.runs[i:end] {
		if e = r.Entity; keep == nil || keep(&e) {
			appendRun(text, r)
		}
	}
	if end < len(t.runs) {
		return t.runs[end].Seq, false
	}
	if !t.newest.IsZero() {
		appendLine(text, line{Alive: t.newest})
	}
	return 0, true
}

func (t *Table) readFile() (Recovery, error) {
	f, err := os.Open(t.journal.path)
	if errors.Is(err, fs.ErrNotExist) {
		return Recovery{}, nil
	}
	if err != nil {
		return Recovery{}, fmt.Errorf("open %s: %w", fileName, err)
	}
	defer func() { _ = f.Close() }()
	rec, err := t.load(f)
	if err != nil {
		return rec, fmt.Errorf("read %s: %w", fileName, err)
	}
	return rec, nil
}

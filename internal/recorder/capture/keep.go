package capture

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
)

// Keep bounds what is kept.
type Keep struct {
	// Newest is how many; 0 means 20.
	Newest int
	// Bytes is for all files together; 0 means 512 MiB.
	Bytes int64
}

const (
	// defaultNewest: at the default scope these are 80 MB.
	defaultNewest = 20
	// defaultBytes is the share of captures in the default budget of a host with
	// 200 containers: 15 % of 3 GB.
	defaultBytes = 512 << 20
)

// pinSuffix is of an empty file beside a capture that never goes by itself.
const pinSuffix = ".pin"

// Shelf is the directory with the finished captures. It is safe for concurrent
// use within one process.
type Shelf struct {
	dir  string
	keep Keep
	mu   sync.Mutex // held while files come and go
}

// NewShelf returns the captures of a directory. It touches nothing.
func NewShelf(dir string, keep Keep) *Shelf {
	if keep.Newest <= 0 {
		keep.Newest = defaultNewest
	}
	if keep.Bytes <= 0 {
		keep.Bytes = defaultBytes
	}
	return &Shelf{dir: dir, keep: keep}
}

// Item is a capture on the shelf.
type Item struct {
	bundle.Entry
	// ID is the name of the file without its suffix.
	ID     string
	Pinned bool
}

var (
	// ErrNoCapture says that there is none of that id.
	ErrNoCapture = errors.New("no such capture")
	// ErrPins says that no more can be pinned.
	ErrPins = errors.New("no room for another pinned one")
)

// List returns the captures, the newest first, broken ones at the end.
func (s *Shelf) List() ([]Item, error) {
	entries, err := bundle.List(s.dir)
	if err != nil {
		return nil, err
	}
	items := make([]Item, 0, len(entries))
	for _, entry := range entries {
		id := strings.TrimSuffix(filepath.Base(entry.Path), bundle.Suffix)
		_, err := os.Lstat(s.pinPath(id))
		items = append(items, Item{Entry: entry, ID: id, Pinned: err == nil})
	}
	return items, nil
}

// Path is where a capture is.
func (s *Shelf) Path(id string) (string, error) {
	if !bundle.ValidID(id) {
		return "", fmt.Errorf("find capture %.80q: %w", id, ErrNoCapture)
	}
	info, err := os.Lstat(s.path(id))
	if err != nil || !info.Mode().IsRegular() {
		return "", fmt.Errorf("find capture %s: %w", id, ErrNoCapture)
	}
	return s.path(id), nil
}

// has tells whether a capture is there, and can be read.
func (s *Shelf) has(id string) bool {
	path, err := s.Path(id)
	if err != nil {
		return false
	}
	r, err := bundle.Open(path)
	if err != nil {
		return false
	}
	return r.Close() == nil && r.Manifest.ID == id
}

// Pin keeps a capture until it is unpinned or deleted, or unpins it. Where the pinned
// ones would leave no room for a new one, the error wraps [ErrPins].
func (s *Shelf) Pin(id string, pinned bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.Path(id); err != nil {
		return err
	}
	if !pinned {
		return s.remove(s.pinPath(id))
	}
	if err := s.hasRoom(id); err != nil {
		return fmt.Errorf("pin capture: %w", err)
	}
	if err := os.WriteFile(s.pinPath(id), nil, 0o600); err != nil {
		return fmt.Errorf("pin capture: %w", err)
	}
	return nil
}

// hasRoom tells whether a capture can be pinned: all that are, and it, within the bytes
// for captures, and one fewer than may be there.
func (s *Shelf) hasRoom(id string) error {
	items, err := s.List()
	if err != nil {
		return err
	}
	count, size := 0, int64(0)
	for _, item := range items {
		if item.Pinned && item.ID != id {
			count++
		}
		if item.Pinned || item.ID == id {
			size += item.Size
		}
	}
	switch {
	case count >= s.keep.Newest-1:
		return fmt.Errorf("%w: %d are pinned, and %d may be there in all", ErrPins, count, s.keep.Newest)
	case size > s.keep.Bytes:
		return fmt.Errorf("%w: with it they would have %d of %d MiB", ErrPins, mebibytes(size), s.keep.Bytes>>20)
	}
	return nil
}

// mebibytes rounds up.
func mebibytes(n int64) int64 { return (n + 1<<20 - 1) >> 20 }

// Delete removes a capture, also a pinned one.
func (s *Shelf) Delete(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.Path(id); err != nil {
		return err
	}
	return errors.Join(s.remove(s.path(id)), s.remove(s.pinPath(id)))
}

// Tidy removes captures until the rest is within the bounds, and returns their
// ids. Pinned ones stay, and so does the one that was just made, however large it is;
// if made names none that is there, the newest. Broken ones go first, then those that
// are not the first of their service and trigger, the oldest before the others.
func (s *Shelf) Tidy(made string) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	items, err := s.List()
	if err != nil {
		return nil, err
	}
	count, size := len(items), int64(0)
	for _, item := range items {
		size += item.Size
	}
	var removed []string
	for _, item := range victims(items, made) {
		if count <= s.keep.Newest && size <= s.keep.Bytes {
			break
		}
		if err := s.remove(s.path(item.ID)); err != nil {
			return removed, err
		}
		removed = append(removed, item.ID)
		count--
		size -= item.Size
	}
	return removed, nil
}

// victims are those that may go, in the order in which they go. What seems to be newer
// than the one just made is from before the clock was set back, and would push out
// everything that is made until the clock is there again: it goes as if it were the
// oldest.
func victims(items []Item, made string) []Item {
	if len(items) == 0 {
		return nil
	}
	last := max(0, slices.IndexFunc(items, func(i Item) bool { return i.ID == made }))
	older, newer := slices.Clone(items[last+1:]), slices.Clone(items[:last])
	out := slices.DeleteFunc(append(older, newer...), func(i Item) bool { return i.Pinned })
	slices.Reverse(out) // the oldest first, broken ones before them
	slices.SortStableFunc(out, func(a, b Item) int { return rank(a) - rank(b) })
	return out
}

func rank(i Item) int {
	switch {
	case i.Manifest == nil:
		return 0
	case !i.Manifest.First:
		return 1
	}
	return 2
}

// isFirst tells whether no capture of the trigger's service and kind is there.
func (s *Shelf) isFirst(t bundle.Trigger) bool {
	items, err := s.List()
	if err != nil {
		return false
	}
	return !slices.ContainsFunc(items, func(i Item) bool {
		if i.Manifest == nil {
			return false
		}
		other := bundle.Gravest(i.Manifest.Triggers)
		return other.Kind == t.Kind && family(other.Container) == family(t.Container)
	})
}

// family is what containers have in common that replace each other.
func family(c bundle.Container) string {
	if c.Service != "" {
		return c.Project + "/" + c.Service
	}
	return c.Label()
}

// sweep removes what a crash has left half written.
func (s *Shelf) sweep() error {
	parts, err := filepath.Glob(filepath.Join(escapeGlob(s.dir), "*"+bundle.Suffix+bundle.PartSuffix))
	if err != nil {
		return fmt.Errorf("sweep captures: %w", err)
	}
	for _, part := range parts {
		if err := s.remove(part); err != nil {
			return err
		}
	}
	return nil
}

func escapeGlob(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

func (s *Shelf) path(id string) string    { return filepath.Join(s.dir, id+bundle.Suffix) }
func (s *Shelf) pinPath(id string) string { return filepath.Join(s.dir, id+pinSuffix) }

func (s *Shelf) remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove capture: %w", err)
	}
	return nil
}

package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Suffix is how the names of captures end.
const Suffix = ".tmcap"

// Entry is one capture in a directory.
type Entry struct {
	Path string
	// Size is that of the file, in bytes.
	Size int64
	// Manifest is nil if the file is no whole capture; Err says why.
	Manifest *Manifest
	Err      error
}

// List returns the captures of a directory, the newest first. Broken ones are
// at the end. A directory that is not there has none.
func List(dir string) ([]Entry, error) {
	found, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list captures: %w", err)
	}
	var entries []Entry
	for _, f := range found {
		if !strings.HasSuffix(f.Name(), Suffix) || !f.Type().IsRegular() {
			continue
		}
		info, err := f.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted since
		}
		if err != nil {
			return nil, fmt.Errorf("list captures: %w", err)
		}
		entries = append(entries, entry(filepath.Join(dir, f.Name()), info.Size()))
	}
	slices.SortStableFunc(entries, newestFirst)
	return entries, nil
}

func entry(path string, size int64) Entry {
	r, err := Open(path)
	if err != nil {
		return Entry{Path: path, Size: size, Err: err}
	}
	return Entry{Path: path, Size: size, Manifest: r.Manifest, Err: r.Close()}
}

func newestFirst(a, b Entry) int {
	switch {
	case a.Manifest == nil && b.Manifest == nil:
		return strings.Compare(a.Path, b.Path)
	case a.Manifest == nil:
		return 1
	case b.Manifest == nil:
		return -1
	}
	if order := b.Manifest.Created.Compare(a.Manifest.Created); order != 0 {
		return order
	}
	return strings.Compare(a.Path, b.Path)
}

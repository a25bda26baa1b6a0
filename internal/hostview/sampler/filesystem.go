package sampler

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// readFilesystem asks for the size of the file system under the container's
// root, through its first process. That needs the right to look into the
// process; without it the fields stay zero.
func (s *Sampler) readFilesystem(t *Target) {
	if !t.IsContainer() || t.InitPID == 0 {
		return
	}
	var st unix.Statfs_t
	if unix.Statfs(s.proc.Root(t.InitPID), &st) != nil || st.Bsize <= 0 {
		t.Filesystem.Capacity = 0
		return
	}
	t.Filesystem.Capacity = st.Blocks * uint64(st.Bsize)
	t.Filesystem.Available = st.Bavail * uint64(st.Bsize)
}

const (
	// layerInterval is the least time between two walks of one layer.
	layerInterval = time.Minute
	// layerEntries bounds one walk, to 0.08 s: 1.6 µs per entry with a warm
	// cache (BenchmarkLayerUsage). Larger layers have no usage.
	layerEntries = 50000
)

// layerWalker adds up writable layers, one container per pass.
type layerWalker struct {
	roots  hostfs.Roots
	walked map[*Target]time.Time
	buf    []byte
}

func newLayerWalker(roots hostfs.Roots) layerWalker {
	return layerWalker{roots: roots, walked: map[*Target]time.Time{}}
}

// next walks the layer of the first container that is due.
func (w *layerWalker) next(targets []*Target, now time.Time) {
	for t := range w.walked {
		if !t.End.IsZero() {
			delete(w.walked, t)
		}
	}
	for _, t := range targets {
		if !t.IsContainer() || t.InitPID == 0 || now.Sub(w.walked[t]) < layerInterval {
			continue
		}
		w.walked[t] = now
		dir := w.upperDir(t)
		if dir == "" {
			continue
		}
		t.Filesystem.LayerUsage, t.Filesystem.HasLayerUsage = layerUsage(dir, layerEntries)
		return
	}
}

// upperDir finds the writable directory of the overlay at the container's
// root, from the mount table of its first process.
func (w *layerWalker) upperDir(t *Target) string {
	path := filepath.Join(w.roots.Proc, strconv.Itoa(t.InitPID), "mountinfo")
	b, err := hostfs.ReadFile(path, w.buf)
	w.buf = b
	if err != nil {
		return ""
	}
	dir := parseUpperDir(string(b))
	if dir == "" {
		return ""
	}
	return filepath.Join(w.roots.Root, dir)
}

// parseUpperDir reads the options of the overlay mounted on "/".
func parseUpperDir(mountinfo string) string {
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(line, " - overlay ")
		if !ok {
			continue
		}
		if fields := strings.Fields(before); len(fields) < 5 || fields[4] != "/" {
			continue
		}
		for option := range strings.SplitSeq(strings.TrimSpace(after), ",") {
			if dir, ok := strings.CutPrefix(option, "upperdir="); ok {
				return dir
			}
		}
	}
	return ""
}

var errTooMany = errors.New("too many entries")

// layerUsage adds up the allocated blocks below dir, hard links once. It is
// false for a layer of more entries than the bound, and for one that is gone.
func layerUsage(dir string, most int) (uint64, bool) {
	var total uint64
	entries := 0
	linked := map[uint64]struct{}{}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil && path == dir {
			return err
		}
		if err != nil {
			return nil // deleted under the walk: normal
		}
		if entries++; entries > most {
			return errTooMany
		}
		var st unix.Stat_t
		if unix.Lstat(path, &st) != nil {
			return nil
		}
		if st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			if _, seen := linked[st.Ino]; seen {
				return nil
			}
			linked[st.Ino] = struct{}{}
		}
		total += uint64(st.Blocks) * 512
		return nil
	})
	return total, err == nil
}

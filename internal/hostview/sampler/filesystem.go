package sampler

import (
	"os"
	"path/filepath"
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
	if !t.localFS {
		kind, _ := s.rootMount(t.InitPID)
		if t.localFS = isLocal(kind); !t.localFS {
			return
		}
	}
	var st unix.Statfs_t
	if unix.Statfs(s.proc.Root(t.InitPID), &st) != nil || st.Bsize <= 0 {
		t.Filesystem.Capacity = 0
		return
	}
	t.Filesystem.Capacity = st.Blocks * uint64(st.Bsize)
	t.Filesystem.Available = st.Bavail * uint64(st.Bsize)
}

// isLocal reports whether a file system answers by itself. Asking one that is
// served over a network or by a process (FUSE) may wait for ever.
func isLocal(kind string) bool {
	switch kind {
	case "overlay", "ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "aufs", "tmpfs", "ramfs", "squashfs", "erofs":
		return true
	}
	return false
}

// rootMount returns the kind of the file system at a process' root, and the
// writable directory of an overlay.
func (s *Sampler) rootMount(pid int) (kind, upper string) {
	b, err := hostfs.ReadFile(s.proc.Mountinfo(pid), s.scratch)
	s.scratch = b
	if err != nil {
		return "", ""
	}
	return parseRootMount(string(b))
}

const (
	// layerInterval is the least time between two walks of one layer.
	layerInterval = time.Minute
	// layerEntries bounds one walk, to 0.08 s: 1.6 µs per entry with a warm
	// cache (BenchmarkLayerUsage). Larger layers have no usage.
	layerEntries = 50000
	// layerPatience bounds it in time: a cold disk is slower.
	layerPatience = 250 * time.Millisecond
)

// layerWalker adds up writable layers, one container per pass.
type layerWalker struct {
	walked map[*Target]time.Time
}

func newLayerWalker() layerWalker {
	return layerWalker{walked: map[*Target]time.Time{}}
}

// walkLayer walks the layer of the first container that is due.
func (s *Sampler) walkLayer(now time.Time) {
	w := &s.layers
	for t := range w.walked {
		if !t.End.IsZero() {
			delete(w.walked, t)
		}
	}
	for _, t := range s.order {
		if !t.IsContainer() || t.InitPID == 0 || now.Sub(w.walked[t]) < layerInterval {
			continue
		}
		w.walked[t] = now
		kind, dir := s.rootMount(t.InitPID)
		if kind != "overlay" || dir == "" {
			continue
		}
		t.Filesystem.LayerUsage, t.Filesystem.HasLayerUsage = layerUsage(filepath.Join(s.roots.Root, dir), layerEntries)
		return
	}
}

// parseRootMount reads the last file system mounted on "/" from
// /proc/PID/mountinfo, whose fields after " - " are type, source and options.
func parseRootMount(mountinfo string) (kind, upper string) {
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(line, " - ")
		fields, super := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || fields[4] != "/" || len(super) < 3 {
			continue
		}
		kind, upper = super[0], ""
		for option := range strings.SplitSeq(super[2], ",") {
			if dir, ok := strings.CutPrefix(option, "upperdir="); ok {
				upper = dir
			}
		}
	}
	return kind, upper
}

// layerUsage adds up the allocated blocks below dir, hard links once. It is
// false for a layer of more entries than the bound, for one that takes longer
// than layerPatience, and for one that is gone.
func layerUsage(dir string, most int) (uint64, bool) {
	w := walk{most: most, until: time.Now().Add(layerPatience), linked: map[uint64]struct{}{}}
	if !w.directory(dir) {
		return 0, false
	}
	for len(w.todo) > 0 && !w.over {
		next := w.todo[len(w.todo)-1]
		w.todo = w.todo[:len(w.todo)-1]
		w.directory(next) // deleted under the walk: normal
	}
	return w.total, !w.over
}

// walk is one walk over a layer.
type walk struct {
	most    int
	until   time.Time
	todo    []string
	linked  map[uint64]struct{}
	total   uint64
	entries int
	over    bool
}

// directory adds one directory, a few hundred names at a time: one with
// millions must not be held in memory.
func (w *walk) directory(dir string) bool {
	f, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	for !w.over {
		names, err := f.Readdirnames(256)
		for _, name := range names {
			w.add(filepath.Join(dir, name))
		}
		if err != nil {
			return true
		}
	}
	return true
}

func (w *walk) add(path string) {
	w.entries++
	w.over = w.over || w.entries > w.most || (w.entries%64 == 0 && time.Now().After(w.until))
	var st unix.Stat_t
	if w.over || unix.Lstat(path, &st) != nil {
		return
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		w.todo = append(w.todo, path)
	} else if st.Nlink > 1 {
		if _, seen := w.linked[st.Ino]; seen {
			return
		}
		w.linked[st.Ino] = struct{}{}
	}
	w.total += uint64(st.Blocks) * 512
}

package hostview

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/cgroup"
	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// Places knows the directories of the unified hierarchy by cgroup id, as sockets
// and pidfds tell it, also where containers are known by another hierarchy. Its
// methods are safe for concurrent use, but for Close.
type Places struct {
	index *container.Index
	// memory is the view's index, where that is of the memory controller's
	// hierarchy.
	memory *container.Index
	// alone: all there is to know of a process is in this hierarchy. Beside
	// cgroup v1 no container here does not mean no container.
	alone bool
	root  uint64
	// mount is the descriptor of dir, where the hierarchy is mounted.
	dir   string
	mount int
	// finder is nil where the view's own index is of the unified hierarchy.
	finder *container.Discovery
}

// OpenPlaces follows the unified hierarchy, unless the view does already. A
// host without one gives an error that matches [hostfs.ErrNotSupported]. Close it
// before the view is released.
func OpenPlaces(view *View, roots hostfs.Roots) (*Places, error) {
	host, err := cgroup.Detect(roots)
	if err != nil {
		return nil, fmt.Errorf("find unified cgroups: %w", err)
	}
	dir := host.Unified("/")
	if dir == "" {
		return nil, &hostfs.NotSupportedError{
			Feature: "containers by cgroup id", Remedy: "mount a cgroup2 file system: sockets and descriptors tell ids of the unified hierarchy only",
		}
	}
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return nil, fmt.Errorf("stat %s: %w", dir, err)
	}
	mount, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	p := &Places{index: view.Index(), alone: view.Mode() == cgroup.V2, root: st.Ino, dir: dir, mount: mount}
	if isUnified(filepath.Dir(view.ProcsFile("/"))) {
		return p, nil
	}
	p.memory = view.Index()
	p.index = container.NewIndex(container.IndexOptions{})
	p.finder = container.NewDiscovery(container.DiscoveryOptions{Dir: dir, Index: p.index})
	if err := p.finder.Start(); err != nil {
		_ = unix.Close(mount) // nothing was written
		return nil, fmt.Errorf("walk %s: %w", dir, err)
	}
	return p, nil
}

func isUnified(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC
}

// Close stops following. Of nil it does nothing.
func (p *Places) Close() {
	if p == nil {
		return
	}
	_ = unix.Close(p.mount) // nothing was written
	if p.finder != nil {
		p.finder.Close()
	}
}

// Place is what a cgroup id says.
type Place uint8

// Of the id of a cgroup.
const (
	PlaceUnknown   Place = iota // not seen yet, or never
	PlaceContainer              // the identity says which
	PlaceHost                   // surely in no container
	PlaceOpen                   // says nothing
)

// ByID finds out what a cgroup id says. Nil knows nothing.
func (p *Places) ByID(id uint64) (container.Identity, Place) {
	if p == nil || id == 0 || id == p.root {
		return container.Identity{}, PlaceOpen
	}
	var identity container.Identity
	if cg, ok := p.index.ByInode(id); ok {
		identity = cg.Identity
	} else if path := p.find(id); path != "" {
		identity = container.ParsePath(path)
	} else {
		return container.Identity{}, PlaceUnknown
	}
	switch {
	case identity.Class == container.ClassContainer:
		return identity, PlaceContainer
	case p.alone && IsHost(identity):
		return identity, PlaceHost
	}
	return container.Identity{}, PlaceOpen
}

// ByIDs is [Places.ByID] for who also has the id in the hierarchy of the memory
// controller, 0 if not: on a host with both that one is told of sooner.
func (p *Places) ByIDs(unified, memory uint64) (container.Identity, Place) {
	if p == nil {
		return container.Identity{}, PlaceOpen
	}
	if p.memory != nil && memory != 0 {
		switch cg, ok := p.memory.ByInode(memory); {
		case ok && cg.Class == container.ClassContainer:
			return cg.Identity, PlaceContainer
		case ok && IsHost(cg.Identity):
			return cg.Identity, PlaceHost
		}
	}
	return p.ByID(unified)
}

// kernfsHandle is the type of a file handle that is the id of a cgroup
// (FILEID_KERNFS, include/linux/exportfs.h).
const kernfsHandle = 0xfe

// find asks the kernel for the path of a cgroup that is there but has not been
// told of yet; "" if it has been removed, or without CAP_DAC_READ_SEARCH.
func (p *Places) find(id uint64) string {
	handle := unix.NewFileHandle(kernfsHandle, binary.NativeEndian.AppendUint64(nil, id))
	fd, err := unix.OpenByHandleAt(p.mount, handle, unix.O_PATH|unix.O_CLOEXEC)
	if err != nil {
		return ""
	}
	defer func() { _ = unix.Close(fd) }()
	path, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	below, ok := strings.CutPrefix(path, p.dir)
	if err != nil || !ok || strings.HasSuffix(path, " (deleted)") {
		return ""
	}
	return below
}

// IsHost tells whether a process there is surely in no container.
func IsHost(id container.Identity) bool {
	switch id.Class {
	case container.ClassUnknown, container.ClassPod, container.ClassContainer:
		return false
	}
	return !id.Relative
}

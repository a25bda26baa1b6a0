package cgroup

import (
	"path/filepath"
	"strings"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// Mode is how a host arranges its hierarchies.
type Mode uint8

// The modes: v1 only, v2 only, or v1 controllers beside a unified mount.
const (
	V1 Mode = iota + 1
	V2
	Hybrid
)

// String returns "v1", "v2" or "hybrid".
func (m Mode) String() string {
	return [...]string{"unknown", "v1", "v2", "hybrid"}[m]
}

// Host is the set of cgroup hierarchies of one host. It is immutable and safe
// for concurrent use.
type Host struct {
	mode        Mode
	unified     *mount
	controllers map[string]*mount // v1, and v2 where the unified mount has it
	sources     []source
	stats       *counters
}

// Detect finds the mounted hierarchies. Without any it returns an error that
// matches [hostfs.ErrNotSupported].
func Detect(roots hostfs.Roots) (*Host, error) {
	h := &Host{controllers: map[string]*mount{}}
	mounts := findMounts(roots)
	v1 := 0
	for i := range mounts {
		m := &mounts[i]
		if !isDir(m.dir) {
			continue
		}
		if m.unified {
			h.unified = wider(h.unified, m)
			continue
		}
		for _, o := range m.options {
			if isV1Controller(o) {
				h.controllers[o] = wider(h.controllers[o], m)
				v1++
			}
		}
	}
	h.addUnifiedControllers()
	switch {
	case v1 > 0 && h.unified != nil:
		h.mode = Hybrid
	case v1 > 0:
		h.mode = V1
	case h.unified != nil:
		h.mode = V2
	default:
		return nil, &hostfs.NotSupportedError{
			Feature: "cgroup mount below " + roots.Root,
			Remedy:  "mount the host's /sys/fs/cgroup below root_path, or set root_path to where the host's root is",
		}
	}
	h.sources = h.chooseSources()
	h.stats = newCounters(h.sources)
	return h, nil
}

// wider prefers the mount that shows more of the hierarchy: inside a
// container its own subtree may be mounted beside the host's whole tree.
func wider(old, m *mount) *mount {
	if old == nil || len(m.root) < len(old.root) {
		return m
	}
	return old
}

// addUnifiedControllers adds the controllers that live on the unified mount
// and on no v1 hierarchy.
func (h *Host) addUnifiedControllers() {
	if h.unified == nil {
		return
	}
	b, err := hostfs.ReadFile(filepath.Join(h.unified.dir, "cgroup.controllers"), nil)
	if err != nil {
		return
	}
	for _, c := range strings.Fields(string(b)) {
		if h.controllers[c] == nil {
			h.controllers[c] = h.unified
		}
	}
}

func isV1Controller(option string) bool {
	switch option {
	case "memory", "cpu", "cpuacct", "blkio", "pids", "name=systemd":
		return true
	}
	return false
}

// Mode returns how the host arranges its hierarchies.
func (h *Host) Mode() Mode { return h.mode }

// LocalEvents reports whether memory events count a cgroup alone: always on
// v1 (memcg_memory_event stops at the first memcg there), and on v2 when it
// is mounted with memory_localevents. Otherwise descendants are included.
func (h *Host) LocalEvents() bool {
	m := h.controllers["memory"]
	return m != nil && (!m.unified || m.has("memory_localevents"))
}

// Hierarchy returns the directory to discover cgroups from and its cgroup
// path: the memory controller's, because whatever we count lives there, else
// pids, cpu or systemd, else the unified mount.
func (h *Host) Hierarchy() (dir, cgroupPath string) {
	for _, c := range []string{"memory", "pids", "cpu", "name=systemd"} {
		if m := h.controllers[c]; m != nil {
			return m.dir, m.root
		}
	}
	return h.unified.dir, h.unified.root
}

// Unified returns the directory of the cgroup on the unified mount, or "".
func (h *Host) Unified(cgroupPath string) string {
	if h.unified == nil {
		return ""
	}
	return h.unified.file(cgroupPath, "")
}

// ProcsFile is the absolute path of the cgroup's cgroup.procs in the
// hierarchy that [Host.Hierarchy] names.
func (h *Host) ProcsFile(cgroupPath string) string {
	dir, root := h.Hierarchy()
	m := mount{dir: dir, root: root}
	return m.file(cgroupPath, "cgroup.procs")
}

// Problems returns what could not be read or parsed so far.
func (h *Host) Problems() Problems { return h.stats.snapshot() }

package cgroup

import (
	"bytes"
	"path"
	"path/filepath"
	"strings"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// mount is one cgroup file system.
type mount struct {
	// dir is where it is mounted, as this process sees it.
	dir string
	// root is the cgroup path of dir: "/" unless only a subtree is mounted.
	root string
	// options are the super block options: v1 controllers, memory_localevents.
	options []string
	unified bool
}

func (m *mount) has(option string) bool {
	for _, o := range m.options {
		if o == option {
			return true
		}
	}
	return false
}

// file is the absolute path of a file of the cgroup, or "" when the cgroup
// does not lie in the mounted subtree.
func (m *mount) file(cgroupPath, name string) string {
	rel := cgroupPath
	if m.root != "/" {
		below, ok := strings.CutPrefix(cgroupPath, m.root)
		if !ok || (below != "" && below[0] != '/') {
			return ""
		}
		rel = below
	}
	return filepath.Join(m.dir, rel, name)
}

// findMounts returns the cgroup mounts below the root. This process' own
// mountinfo holds paths it can open, so it comes first; where the root is a
// copy of a host (a test tree), the tree's own mountinfo is used.
func findMounts(roots hostfs.Roots) []mount {
	own := readMountinfo(hostfs.NewRoots("/").Proc + "/self/mountinfo")
	if roots.IsHost() {
		return own
	}
	var below []mount
	for _, m := range own {
		if strings.HasPrefix(m.dir, roots.Root+"/") {
			below = append(below, m)
		}
	}
	if len(below) > 0 {
		return below
	}
	for _, pid := range []string{"1", "self"} {
		mounts := readMountinfo(filepath.Join(roots.Proc, pid, "mountinfo"))
		for i := range mounts {
			mounts[i].dir = filepath.Join(roots.Root, mounts[i].dir)
		}
		if len(mounts) > 0 {
			return mounts
		}
	}
	return nil
}

func readMountinfo(name string) []mount {
	b, err := hostfs.ReadFile(name, nil)
	if err != nil {
		return nil
	}
	return parseMountinfo(b)
}

// parseMountinfo picks the cgroup lines of proc(5) mountinfo:
//
//	35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
//
// Fields: id, parent, device, root, mount point, options, optional fields,
// "-", type, source, super options. Lines of another form are skipped.
func parseMountinfo(b []byte) []mount {
	var mounts []mount
	for len(b) > 0 {
		line, rest, _ := bytes.Cut(b, []byte("\n"))
		b = rest
		before, after, ok := bytes.Cut(line, []byte(" - "))
		if !ok {
			continue
		}
		left, right := bytes.Fields(before), bytes.Fields(after)
		if len(left) < 6 || len(right) < 3 {
			continue
		}
		kind := string(right[0])
		if kind != "cgroup" && kind != "cgroup2" {
			continue
		}
		mounts = append(mounts, mount{
			dir:     filepath.Clean(unescape(string(left[4]))),
			root:    path.Clean(unescape(string(left[3]))),
			options: strings.Split(string(right[2]), ","),
			unified: kind == "cgroup2",
		})
	}
	return mounts
}

// unescape undoes the octal escapes of mountinfo (show_mnt_opts in
// fs/proc_namespace.c mangles blank, tab, newline and backslash).
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

package testkit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Layout tells which cgroup versions a host mounts.
type Layout string

// The layouts a host can have.
const (
	LayoutV1     Layout = "v1"     // only v1 hierarchies
	LayoutHybrid Layout = "hybrid" // v1 hierarchies and a v2 one without controllers
	LayoutV2     Layout = "v2"     // one hierarchy for everything
)

// ErrNoController says that no mounted hierarchy has a controller.
var ErrNoController = errors.New("no mounted cgroup hierarchy has it")

// hierarchy is one mounted cgroup tree.
type hierarchy struct {
	mount       string   // where its root directory is
	controllers []string // "memory"; "name=systemd" for a named v1 tree
	unified     bool     // cgroup v2
}

type hierarchies []hierarchy

// readHierarchies lists what this process sees mounted.
func readHierarchies() (hierarchies, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list cgroup mounts: %w", err)
	}
	tree := parseMountinfo(text)
	if len(tree) == 0 {
		return nil, fmt.Errorf("list cgroup mounts: %w", ErrNoController)
	}
	for i := range tree {
		if tree[i].unified {
			names, err := os.ReadFile(filepath.Join(tree[i].mount, "cgroup.controllers"))
			if err != nil {
				return nil, fmt.Errorf("list cgroup v2 controllers: %w", err)
			}
			tree[i].controllers = strings.Fields(string(names))
		}
	}
	return tree, nil
}

// parseMountinfo picks the cgroup mounts out of lines such as
//
//	32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
//
// (https://docs.kernel.org/filesystems/proc.html, section 3.5). A hierarchy
// mounted twice counts once, at its first place. Lines of another form are
// passed over.
func parseMountinfo(text []byte) hierarchies {
	var tree hierarchies
	for line := range bytes.Lines(text) {
		before, after, ok := strings.Cut(string(line), " - ")
		head, tail := strings.Fields(before), strings.Fields(after)
		if !ok || len(head) < 6 || len(tail) < 3 {
			continue
		}
		h := hierarchy{mount: unescapeMount(head[4])}
		switch tail[0] {
		case "cgroup2":
			h.unified = true
		case "cgroup":
			h.controllers = controllerOptions(tail[2])
		default:
			continue
		}
		if !tree.has(h) {
			tree = append(tree, h)
		}
	}
	return tree
}

// controllerOptions keeps the super block options that name a controller or a
// tree; the rest (rw, xattr, release_agent=..., clone_children, noprefix) is
// about the mount.
func controllerOptions(options string) []string {
	var names []string
	for option := range strings.SplitSeq(options, ",") {
		switch {
		case option == "rw", option == "ro", option == "xattr", option == "none",
			option == "clone_children", option == "noprefix", option == "cpuset_v2_mode":
		case strings.Contains(option, "=") && !strings.HasPrefix(option, "name="):
		case option != "":
			names = append(names, option)
		}
	}
	return names
}

// unescapeMount undoes the octal escapes of blanks in mount points.
func unescapeMount(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}

func (tree hierarchies) has(h hierarchy) bool {
	return slices.ContainsFunc(tree, func(o hierarchy) bool {
		return o.unified == h.unified && slices.Equal(o.controllers, h.controllers)
	})
}

// find returns the hierarchy with the controller; "" asks for the unified one.
func (tree hierarchies) find(controller string) (hierarchy, error) {
	for _, h := range tree {
		if controller == "" && h.unified || controller != "" && slices.Contains(h.controllers, v2Name(h, controller)) {
			return h, nil
		}
	}
	if controller == "" {
		controller = "(unified)"
	}
	return hierarchy{}, fmt.Errorf("find cgroup controller %s: %w", controller, ErrNoController)
}

// v2Name translates the v1 names that cgroup v2 calls otherwise, so that a
// test may ask for "blkio" or "cpuacct" on every host.
func v2Name(h hierarchy, controller string) string {
	if !h.unified {
		return controller
	}
	switch controller {
	case "blkio":
		return "io"
	case "cpuacct":
		return "cpu"
	}
	return controller
}

func (tree hierarchies) layout() Layout {
	v1, v2 := false, false
	for _, h := range tree {
		v1, v2 = v1 || !h.unified, v2 || h.unified
	}
	switch {
	case v1 && v2:
		return LayoutHybrid
	case v1:
		return LayoutV1
	}
	return LayoutV2
}

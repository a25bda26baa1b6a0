package container

import (
	"path"
	"strings"
)

const deletedSuffix = " (deleted)"

// ParsePath says what a cgroup path means, be it from /proc/PID/cgroup or a
// directory below a cgroup mount. It never panics. For a clean path it
// allocates only if a unit's name or the uid of a systemd pod is unescaped.
//
// "/" and the empty path say nothing: the result has [ClassUnknown].
func ParsePath(p string) Identity {
	id, _ := parsePath(p)
	return id
}

// parsePath also counts the containers that enclose each other on the path.
func parsePath(p string) (Identity, int) {
	var id Identity
	p, id.Deleted = cutDeleted(p)
	p = cleanPath(p)
	id.Root = p
	id.Relative = p == "/.." || strings.HasPrefix(p, "/../")
	leaf, ok := leafOf(p)
	if !ok {
		return id, 0
	}
	for c := leaf; ok; c, ok = c.up() {
		if m, found := recognise(c); found {
			return identify(id, c, m)
		}
	}
	classifyUnit(&id, leaf)
	return id, 0
}

// identify completes id for the directory c that was recognised as m.
func identify(id Identity, c component, m match) (Identity, int) {
	id.cutAt(c)
	id.Class, id.Runtime, id.ID = m.class, m.runtime, m.id
	id.PodUID = podUIDAbove(c)
	depth := 0
	if m.class.hasID() {
		depth = 1
		if id.TaskID = m.task; id.TaskID == "" {
			id.TaskID = taskAbove(c)
		}
	}
	above, ok := c.up()
	if m.ownsParent && ok {
		// A supervisor directory is part of the machine's unit, so that unit
		// does not enclose it.
		above, ok = above.up()
	}
	for ; ok; above, ok = above.up() {
		outer, found := recognise(above)
		if !found || !outer.class.hasID() {
			continue
		}
		depth++
		if id.ParentID == "" {
			id.ParentID = outer.id
		}
	}
	return id, depth
}

// classifyUnit handles paths without any container: the unit nearest to the
// leaf decides, because a user's manager (user@1000.service) has units of its
// own below it.
func classifyUnit(id *Identity, leaf component) {
	id.Class = ClassHost
	if ambiguousName(leaf) {
		id.Class = ClassUnknown
		return
	}
	for c, ok := leaf, true; ok; c, ok = c.up() {
		name := c.name()
		switch unitSuffix(name) {
		case "":
			continue
		case ".service":
			if len(name) == len(".service") {
				continue
			}
			id.cutAt(c)
			id.Class, id.Runtime, id.Service = ClassService, runtimeSystemd, unescape(name)
		case ".slice":
			if c == leaf {
				id.Class = ClassSlice
			}
		}
		return
	}
}

// ambiguousName reports the form /NAMESPACE/NAME of containerd's own client.
// Without a hint that containerd runs here it may be any directory.
func ambiguousName(leaf component) bool {
	parent, ok := leaf.up()
	if !ok || unitSuffix(leaf.name()) != "" {
		return false
	}
	_, deeper := parent.up()
	return !deeper && containerdNamespace(parent.name())
}

func containerdNamespace(name string) bool { return name == "k8s.io" || name == "default" }

// cutDeleted drops what the kernel appends to the path of a removed cgroup.
func cutDeleted(p string) (string, bool) {
	deleted := false
	for strings.HasSuffix(p, deletedSuffix) {
		p = p[:len(p)-len(deletedSuffix)]
		deleted = true
	}
	return p, deleted
}

// cleanPath is path.Clean for a rooted path, except that leading ".." stay:
// the kernel prints them for a cgroup outside of the reader's namespace.
func cleanPath(p string) string {
	rest := strings.TrimLeft(p, "/")
	clean := path.Clean(rest)
	if clean == "." {
		return "/"
	}
	if len(p) == len(clean)+1 && p[0] == '/' && p[1:] == clean {
		return p
	}
	return "/" + clean
}

// cutAt makes c the root of the identity.
func (id *Identity) cutAt(c component) {
	id.Root = c.path[:c.end]
	id.Inner = strings.TrimPrefix(c.path[c.end:], "/")
}

// component is one name within a cleaned path: path[start:end].
type component struct {
	path       string
	start, end int
}

// leafOf returns the last name of a cleaned path; false for "/" and "/..".
func leafOf(p string) (component, bool) {
	if p == "/" {
		return component{}, false
	}
	c := component{path: p, start: strings.LastIndexByte(p, '/') + 1, end: len(p)}
	return c, c.name() != ".."
}

func (c component) name() string { return c.path[c.start:c.end] }

// up returns the directory above; false at the top of what is visible.
func (c component) up() (component, bool) {
	end := c.start - 1
	if end <= 0 {
		return component{}, false
	}
	above := component{path: c.path, start: strings.LastIndexByte(c.path[:end], '/') + 1, end: end}
	return above, above.name() != ".."
}

// parent returns the name of the directory above, "" at the top.
func (c component) parent() string {
	above, ok := c.up()
	if !ok {
		return ""
	}
	return above.name()
}

// below reports whether any directory above c satisfies the predicate.
func (c component) below(is func(name string) bool) bool {
	for above, ok := c.up(); ok; above, ok = above.up() {
		if is(above.name()) {
			return true
		}
	}
	return false
}

// unitSuffix returns the systemd unit type of a directory name, "" for none.
func unitSuffix(name string) string {
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 {
		return ""
	}
	switch s := name[dot:]; s {
	case ".service", ".scope", ".slice", ".mount", ".socket", ".swap":
		return s
	}
	return ""
}

package policy

import (
	"bytes"
	"path"
	"slices"
	"strings"

	"github.com/tallymanhq/tallyman/internal/container"
)

// place is what the lines of one /proc/PID/cgroup say about a process.
type place struct {
	paths []string
	// nests are the containers that each line names.
	nests []nest
	// host: every line is one of a process in no container, seen whole.
	host bool
}

// nest is the containers on one path, from the outermost inwards.
type nest []holder

type holder struct {
	id  string
	dir string // the path of the container's directory
}

// parsePlace reads lines of the form "ID:CONTROLLERS:PATH" (cgroups(7)). The
// kernel allows no newline in the name of a cgroup. A line of another form
// leaves the process in no place.
func parsePlace(content []byte) (place, bool) {
	p := place{host: true}
	for line := range strings.SplitSeq(strings.TrimSuffix(string(content), "\n"), "\n") {
		_, rest, ok := strings.Cut(line, ":")
		_, cgroup, ok2 := strings.Cut(rest, ":")
		if !ok || !ok2 || !strings.HasPrefix(cgroup, "/") {
			return place{}, false
		}
		if slices.Contains(p.paths, cgroup) {
			continue
		}
		p.paths = append(p.paths, cgroup)
		n, host := parseNest(cgroup)
		p.host = p.host && host
		if len(n) > 0 {
			p.nests = append(p.nests, n)
		}
	}
	return p, true
}

// parseNest walks up from the innermost container. host means a path without
// any container, pod or name that could be one.
func parseNest(cgroup string) (n nest, host bool) {
	id := container.ParsePath(cgroup)
	// From outside of the reader's cgroup namespace only a part of the path
	// is to be seen.
	host = !id.Relative && isHost(id)
	for id.ID != "" || id.Class == container.ClassMonitor || id.Class == container.ClassPod {
		if id.ID != "" {
			n = append(n, holder{id: id.ID, dir: id.Root})
		}
		id = container.ParsePath(path.Dir(id.Root))
	}
	slices.Reverse(n)
	return n, host && len(n) == 0
}

func isHost(id container.Identity) bool {
	switch id.Class {
	case container.ClassHost, container.ClassService, container.ClassSlice, container.ClassMonitor:
		return true
	}
	return id.Root == "/"
}

// within tells which container a process is in as seen by the agent at self;
// "" for none. It is not ok if the lines contradict each other, or if the
// directory lies where somebody else than the host's root may name it.
func (p place) within(self place) (id string, ok bool) {
	var own, shared string
	for _, n := range p.nests {
		inner := n.beyond(self)
		if len(inner) == 0 {
			shared = n[len(n)-1].id
			continue
		}
		if own != "" && own != inner[0].id || delegated(inner[0].dir, self) {
			return "", false
		}
		own = inner[0].id
	}
	if own == "" {
		return shared, true
	}
	return own, true
}

// beyond leaves out the leading containers that hold the agent as well: those
// are its host. They are told by their directory, for an id can be taken.
func (n nest) beyond(self place) nest {
	for len(n) > 0 && self.below(n[0].dir) {
		n = n[1:]
	}
	return n
}

// below tells whether the process is in a directory, or in one below it.
func (p place) below(dir string) bool {
	return slices.ContainsFunc(p.paths, func(s string) bool {
		return s == dir || strings.HasPrefix(s, dir+"/")
	})
}

// delegated tells whether the path to a container leads through a systemd
// service that does not hold the agent. user@1000.service is the usual one.
func delegated(dir string, self place) bool {
	above := path.Dir(dir)
	end := 0
	for name := range strings.SplitSeq(strings.TrimPrefix(above, "/"), "/") {
		end += 1 + len(name)
		if strings.HasSuffix(name, ".service") {
			return !self.below(above[:end])
		}
	}
	return false
}

// parseNested looks at the line "NSpid:\t4711\t1" of /proc/PID/status: more
// than one number means a pid namespace below the reader's. It is not ok
// without the line, which every kernel since 4.1 has.
func parseNested(status []byte) (nested, ok bool) {
	for line := range bytes.SplitSeq(status, []byte("\n")) {
		if value, found := bytes.CutPrefix(line, []byte("NSpid:")); found {
			numbers := len(bytes.Fields(value))
			return numbers > 1, numbers > 0
		}
	}
	return false, false
}

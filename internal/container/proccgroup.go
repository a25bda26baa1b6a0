package container

import "strings"

// ParseProcCgroup says who a process is by its whole /proc/PID/cgroup, lines
// of the form "ID:CONTROLLERS:PATH" (cgroups(7)).
//
// Hierarchies may disagree. The line with the most containers around the
// process wins; then what says more (a container says more than a service,
// a service more than a session); then memory, pids, the other controllers,
// name=systemd and last the unified line "0::", which on hybrid hosts may be
// nothing but the daemon's own service. Blanks around a line and lines of
// another form are skipped.
//
// It returns false if no line says anything: resolve the process by cgroup id
// instead. The result does not keep content alive.
func ParseProcCgroup(content []byte) (Identity, bool) {
	var best vote
	found := false
	for line := range strings.SplitSeq(string(content), "\n") {
		controllers, path, ok := cutLine(line)
		if !ok {
			continue
		}
		if found && path == best.path {
			best.line = max(best.line, lineWeight(controllers))
			continue
		}
		v := newVote(path, lineWeight(controllers))
		if !found || v.beats(best) {
			best, found = v, true
		}
	}
	if !found {
		return Identity{}, false
	}
	id := ParsePath(strings.Clone(best.path))
	return id, id.Class != ClassUnknown
}

// vote is what one line has to say.
type vote struct {
	path               string
	depth, class, line int
}

func newVote(path string, line int) vote {
	id, depth := parsePath(path)
	return vote{path: path, depth: depth, class: classWeight[id.Class], line: line}
}

func (v vote) beats(o vote) bool {
	if v.depth != o.depth {
		return v.depth > o.depth
	}
	if v.class != o.class {
		return v.class > o.class
	}
	return v.line > o.line
}

// classWeight orders classes by how much they say about a process.
var classWeight = [classCount]int{
	ClassContainer: 6, ClassSandbox: 6, ClassBuild: 6, ClassVM: 6,
	ClassMonitor: 5, ClassPod: 4, ClassService: 3, ClassHost: 2, ClassSlice: 1,
}

// lineWeight orders the hierarchies by how closely they follow containers.
func lineWeight(controllers string) int {
	if controllers == "" {
		return 0
	}
	weight := 1
	for name := range strings.SplitSeq(controllers, ",") {
		switch {
		case name == "memory":
			return 4
		case name == "pids":
			weight = max(weight, 3)
		case !strings.HasPrefix(name, "name="):
			weight = max(weight, 2)
		}
	}
	return weight
}

// cutLine takes one line apart. The path may contain colons.
func cutLine(line string) (controllers, path string, ok bool) {
	number, rest, ok := strings.Cut(strings.TrimSpace(line), ":")
	if !ok || !isDigits(number) {
		return "", "", false
	}
	controllers, path, ok = strings.Cut(rest, ":")
	return controllers, path, ok && strings.HasPrefix(path, "/")
}

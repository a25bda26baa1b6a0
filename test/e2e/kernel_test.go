package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// This file finds a container's cgroups the way an administrator would, and
// knows nothing of the agent's code: from /proc/PID/cgroup and the mount table.

var (
	errNoMount = errors.New("no such cgroup mount")
	errNoKey   = errors.New("no such key")
	errSyntax  = errors.New("unexpected text")
)

// directory is a container's cgroup in one hierarchy.
type directory struct {
	path    string // of the cgroup
	mount   string // of its hierarchy's root
	unified bool
}

// cgroups maps controllers to directories; "" is the unified hierarchy, which
// may be absent.
type cgroups map[string]directory

// findCgroups looks up where a process is.
func findCgroups(pid int) (cgroups, error) {
	mounts, err := readMounts()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return nil, err // has verb and path
	}
	found := cgroups{}
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			return nil, fmt.Errorf("parse /proc/%d/cgroup: %w: %q", pid, errSyntax, line)
		}
		for controller := range strings.SplitSeq(fields[1], ",") {
			m, ok := mounts[controller]
			if !ok {
				continue // not every hierarchy has to be mounted
			}
			found[controller] = directory{path: filepath.Join(m, fields[2]), mount: m, unified: fields[1] == ""}
		}
	}
	return found, found.addUnified()
}

// addUnified adds the controllers of cgroup v2.
func (c cgroups) addUnified() error {
	d, ok := c[""]
	if !ok {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(d.path, "cgroup.controllers"))
	if err != nil {
		return err // has verb and path
	}
	for controller := range strings.FieldsSeq(string(text)) {
		c[controller] = d
	}
	return nil
}

// readMounts maps controllers to mount points. Of the hierarchies mounted more
// than once it takes the first; a mount of a part of a hierarchy is passed
// over.
func readMounts() (map[string]string, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err // has verb and path
	}
	mounts := map[string]string{}
	for line := range strings.Lines(string(text)) {
		before, after, _ := strings.Cut(line, " - ")
		where, what := strings.Fields(before), strings.Fields(after)
		if len(where) < 5 || len(what) < 3 || where[3] != "/" {
			continue
		}
		var controllers []string
		switch what[0] {
		case "cgroup":
			controllers = strings.Split(what[2], ",")
		case "cgroup2":
			controllers = []string{""}
		}
		for _, controller := range controllers {
			if _, ok := mounts[controller]; !ok {
				mounts[controller] = where[4]
			}
		}
	}
	return mounts, nil
}

// dir returns the directory of a controller under its v1 or v2 name.
func (c cgroups) dir(names ...string) (directory, error) {
	for _, name := range names {
		if d, ok := c[name]; ok {
			return d, nil
		}
	}
	return directory{}, fmt.Errorf("find cgroup controller %q: %w", names, errNoMount)
}

// text returns a control file without surrounding blanks.
func (d directory) text(file string) (string, error) {
	text, err := os.ReadFile(filepath.Join(d.path, file))
	return strings.TrimSpace(string(text)), err
}

// has tells whether this kernel has the file.
func (d directory) has(file string) bool {
	_, err := os.Stat(filepath.Join(d.path, file))
	return err == nil
}

// number reads a file with one number.
func (d directory) number(file string) (float64, error) {
	text, err := d.text(file)
	if err != nil {
		return 0, err
	}
	return parseNumber(text)
}

// keyed reads the values of the keys of a file with "key value" lines.
func (d directory) keyed(file string, keys ...string) ([]float64, error) {
	text, err := d.text(file)
	if err != nil {
		return nil, err
	}
	values := make([]float64, len(keys))
	seen := make([]bool, len(keys))
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) != 2 {
			continue
		}
		if i := slices.Index(keys, fields[0]); i >= 0 {
			if values[i], err = parseNumber(fields[1]); err != nil {
				return nil, err
			}
			seen[i] = true
		}
	}
	if i := slices.Index(seen, false); i >= 0 {
		return nil, fmt.Errorf("read %s of %s: %w", keys[i], file, errNoKey)
	}
	return values, nil
}

// lowest reads a limit of the cgroup and of those above it, and returns the
// lowest; ok is false when none is set. The root cgroup has none.
func (d directory) lowest(read func(directory) (limit float64, ok bool, err error)) (lowest float64, ok bool, err error) {
	for at := d; at.path != at.mount; at.path = filepath.Dir(at.path) {
		limit, is, err := read(at)
		if err != nil {
			return 0, false, err
		}
		if is && (!ok || limit < lowest) {
			lowest, ok = limit, true
		}
	}
	return lowest, ok, nil
}

// limit reads a file with a number or "max". What v1 shows for "no limit" is
// a number that no host has: 2^63 rounded down to pages.
func limit(file string) func(directory) (float64, bool, error) {
	return func(d directory) (float64, bool, error) {
		text, err := d.text(file)
		if err != nil || text == "max" {
			return 0, false, err
		}
		value, err := parseNumber(text)
		return value, value < 1<<62, err
	}
}

func parseNumber(text string) (float64, error) {
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("parse control file: %w", err)
	}
	return float64(value), nil
}

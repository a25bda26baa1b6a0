package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// cgroups are directories that were made, to be removed when nobody is in them.
type cgroups []string

// container makes a cgroup of the form that Docker's are of, in all hierarchies
// that are mounted, and returns its directories.
func (c *cgroups) container() ([]string, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list cgroup mounts: %w", err)
	}
	id := make([]byte, 32)
	_, _ = rand.Read(id) // it never returns an error
	var dirs []string
	for _, root := range hierarchies(string(mounts)) {
		dir := filepath.Join(root, "docker", hex.EncodeToString(id))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("make cgroup: %w", err)
		}
		dirs = append(dirs, dir)
	}
	*c = append(*c, dirs...)
	return dirs, nil
}

// hierarchies finds the mount points in lines such as
//
//	32 31 0:29 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
//
// (https://docs.kernel.org/filesystems/proc.html, section 3.5). That of cpuset is
// left out: version 1 of it lets nobody in before it is set up.
func hierarchies(mounts string) []string {
	var roots []string
	for line := range strings.Lines(mounts) {
		before, after, _ := strings.Cut(strings.TrimSpace(line), " - ")
		head, tail := strings.Fields(before), strings.Fields(after)
		if len(head) < 5 || len(tail) < 3 || !strings.HasPrefix(tail[0], "cgroup") || strings.Contains(tail[2], "cpuset") {
			continue
		}
		roots = append(roots, head[4])
	}
	return roots
}

// remove leaves the parents: they may be those of an engine.
func (c *cgroups) remove() error {
	var errs []error
	for _, dir := range *c {
		errs = append(errs, os.Remove(dir))
	}
	*c = nil
	return errors.Join(errs...)
}

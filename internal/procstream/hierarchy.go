package procstream

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// HierarchyID returns the number of the cgroup hierarchy that a controller is
// in; 0 is the unified one, which is also that of a controller this kernel
// does not have.
func HierarchyID(roots hostfs.Roots, controller string) (uint32, error) {
	path := filepath.Join(roots.Proc, "cgroups")
	b, err := hostfs.ReadFile(path, nil)
	if errors.Is(err, hostfs.ErrGone) {
		return 0, nil // a kernel without cgroup v1
	}
	if err != nil {
		return 0, err
	}
	id, err := parseHierarchy(b, controller)
	if err != nil {
		return 0, fmt.Errorf("parse %s: %w", path, err)
	}
	return id, nil
}

// parseHierarchy reads
//
//	#subsys_name	hierarchy	num_cgroups	enabled
//	memory	5	220	1
func parseHierarchy(b []byte, controller string) (uint32, error) {
	for line := range bytes.Lines(b) {
		fields := bytes.Fields(line)
		if len(fields) < 2 || string(fields[0]) != controller {
			continue
		}
		id, err := strconv.ParseUint(string(fields[1]), 10, 32)
		if err != nil {
			return 0, malformed("cgroups", line)
		}
		return uint32(id), nil
	}
	return 0, nil
}

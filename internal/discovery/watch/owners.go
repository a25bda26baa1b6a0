package watch

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// maxDescriptors of one container are read to find the owners of sockets.
const maxDescriptors = 16 << 10

// forgetNobody has owners searched for again that were not found, if there is a
// process that the last look did not know: haproxy forks a worker and keeps no socket
// itself, and a look can fall in between.
func (f *found) forgetNobody(before map[int]command) {
	for pid, p := range f.commands {
		if was, ok := before[pid]; !ok || was.start != p.start {
			f.owners = maps.Clone(f.owners)
			maps.DeleteFunc(f.owners, func(_ uint64, pid int) bool { return pid == 0 })
			return
		}
	}
}

// findOwners finds the processes that have the sockets, by their descriptors,
// unless all are known.
func (l *looker) findOwners(f *found, sockets []socket) {
	owners := make(map[uint64]int, len(sockets))
	isNew := false
	for _, s := range sockets {
		pid, isKnown := f.owners[s.inode]
		if _, lives := f.commands[pid]; !isKnown || pid != 0 && !lives {
			isNew, pid = true, 0
		}
		owners[s.inode] = pid
	}
	f.owners = owners
	if !isNew {
		return
	}
	left := maxDescriptors
	for _, p := range f.processes {
		if left = l.ownedBy(p.PID, owners, left); left <= 0 {
			l.beyond.Descriptors++
			return
		}
	}
}

// ownedBy notes the sockets of one process, of which the first that has one
// counts: workers inherit them.
func (l *looker) ownedBy(pid int, owners map[uint64]int, left int) int {
	dir, err := os.Open(l.path(pid, "fd"))
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			l.unreadable++
		}
		return left
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(left)
	for _, name := range names {
		link, err := os.Readlink(filepath.Join(dir.Name(), name))
		text, ok := strings.CutPrefix(link, "socket:[")
		if err != nil || !ok {
			continue
		}
		inode, err := strconv.ParseUint(strings.TrimSuffix(text, "]"), 10, 64)
		if owner, isWanted := owners[inode]; err == nil && isWanted && owner == 0 {
			owners[inode] = pid
		}
	}
	return left - len(names)
}

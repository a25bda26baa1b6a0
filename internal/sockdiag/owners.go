package sockdiag

import (
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Search says where [Owners] looks.
type Search struct {
	// Proc is the host's procfs.
	Proc string
	// Pids are the processes that may have the sockets; nil: all of the host.
	Pids iter.Seq[int]
	// Namespace is the inode of the network namespace: processes of others are
	// not looked at. 0 is any.
	Namespace uint64
	// MaxDescriptors bounds the descriptors that are read, 4 us each; 0 is
	// 100,000.
	MaxDescriptors int
}

const defaultMaxDescriptors = 100_000

// Found is what [Owners] found.
type Found struct {
	// Pids are by inode: a process that has the socket, the lowest of those that
	// were looked at if several have it.
	Pids map[uint64]int
	// Descriptors were read. Truncated: there were more than may be.
	Descriptors int
	Truncated   bool
	// NoPermission counts processes whose descriptors may not be seen.
	NoPermission int
}

// Owners finds the processes that have the sockets with these inodes. It stops
// when all are found. A process that goes meanwhile has none. Nobody has 0, which is
// taken out of the inodes.
func Owners(s Search, inodes map[uint64]struct{}) Found {
	if s.MaxDescriptors <= 0 {
		s.MaxDescriptors = defaultMaxDescriptors
	}
	if s.Pids == nil {
		s.Pids = s.everybody
	}
	f := Found{Pids: make(map[uint64]int, len(inodes))}
	delete(inodes, 0)
	for pid := range s.Pids {
		if len(f.Pids) == len(inodes) || f.Truncated {
			break
		}
		dir := filepath.Join(s.Proc, strconv.Itoa(pid))
		if s.isElsewhere(dir) {
			continue
		}
		f.look(&s, pid, filepath.Join(dir, "fd"), inodes)
	}
	return f
}

// everybody goes over all processes.
func (s *Search) everybody(yield func(int) bool) {
	dir, err := os.Open(s.Proc)
	if err != nil {
		return
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err == nil && !yield(pid) {
			return
		}
	}
}

func (s *Search) isElsewhere(dir string) bool {
	if s.Namespace == 0 {
		return false
	}
	info, err := os.Stat(filepath.Join(dir, "ns/net"))
	if err != nil {
		return true
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return !ok || stat.Ino != s.Namespace
}

// look goes over the descriptors of one process.
func (f *Found) look(s *Search, pid int, path string, inodes map[uint64]struct{}) {
	dir, err := os.Open(path)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			f.NoPermission++
		}
		return
	}
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(256)
		for _, name := range names {
			if f.Descriptors >= s.MaxDescriptors {
				f.Truncated = true
				return
			}
			f.Descriptors++
			f.note(filepath.Join(path, name), pid, inodes)
		}
		if err != nil {
			return
		}
	}
}

func (f *Found) note(path string, pid int, inodes map[uint64]struct{}) {
	text, err := os.Readlink(path)
	if err != nil {
		return
	}
	inode, ok := parseSocket(text)
	if !ok {
		return
	}
	if _, isWanted := inodes[inode]; !isWanted {
		return
	}
	if other, isKnown := f.Pids[inode]; !isKnown || pid < other {
		f.Pids[inode] = pid
	}
}

// parseSocket reads the inode in "socket:[123]".
func parseSocket(link string) (uint64, bool) {
	digits, isSocket := strings.CutPrefix(link, "socket:[")
	digits, isClosed := strings.CutSuffix(digits, "]")
	if !isSocket || !isClosed {
		return 0, false
	}
	inode, err := strconv.ParseUint(digits, 10, 64)
	return inode, err == nil
}

package container

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// direntHeader is the size of struct linux_dirent64 before the name.
const direntHeader = 19

// openDir opens a directory for listing; [ErrGone] if there is none.
func openDir(dir string) (int, error) {
	for {
		fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return fd, dirError("open", dir, err)
	}
}

// readDirents reads one buffer full of entries; 0 at the end.
func readDirents(fd int, buf []byte) (int, error) {
	for {
		n, err := unix.Getdents(fd, buf)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// statAt returns the inode number and link count of fd/name, or of the path
// name with AT_FDCWD.
func statAt(fd int, name string) (unix.Stat_t, error) {
	var st unix.Stat_t
	for {
		err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			err = unix.ENOTDIR
		}
		return st, dirError("stat", name, err)
	}
}

// dirError makes what a removed directory answers [ErrGone]: a cgroup says
// ENODEV through a descriptor that is still open.
func dirError(verb, name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENOTDIR):
		return fmt.Errorf("%s %s: %w", verb, name, hostfs.ErrGone)
	}
	return fmt.Errorf("%s %s: %w", verb, name, err)
}

// dirent is one entry that may be a directory.
type dirent struct {
	name []byte // within the buffer
	dir  bool
}

// parseDirent takes the first entry off buf. It returns false when there is
// no complete one. dir is false for "." and ".." and everything that is
// certainly not a directory; a file system that does not tell types is asked
// by stat later.
//
//	u64 ino; s64 off; u16 reclen; u8 type; char name[], NUL-terminated
func parseDirent(buf []byte) (e dirent, rest []byte, ok bool) {
	if len(buf) < direntHeader {
		return dirent{}, nil, false
	}
	size := int(binary.NativeEndian.Uint16(buf[16:]))
	if size < direntHeader || size > len(buf) {
		return dirent{}, nil, false
	}
	name, _, _ := bytes.Cut(buf[direntHeader:size], []byte{0})
	kind := buf[18]
	e.name = name
	e.dir = (kind == unix.DT_DIR || kind == unix.DT_UNKNOWN) &&
		len(name) > 0 && string(name) != "." && string(name) != ".."
	return e, buf[size:], true
}

// countsSubdirs reports whether dir is on a file system that keeps the link
// count at 2 + number of subdirectories without fail: kernfs does, see
// kernfs_refresh_inode (verified by TestLinkCount). Others may say 1.
func countsSubdirs(dir string) bool {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return false
	}
	kind := int64(st.Type)
	return kind == unix.CGROUP_SUPER_MAGIC || kind == unix.CGROUP2_SUPER_MAGIC
}

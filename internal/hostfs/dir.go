package hostfs

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Dir is a directory that is kept open. Of a process' directory below /proc
// it goes on meaning that process: once the process has gone everything in it
// is [ErrGone], also when its number belongs to another one
// (fs/proc/base.c: the inode holds the struct pid). It does not keep alive
// what the process used, its namespaces among them. It is not safe for
// concurrent use.
type Dir struct {
	path string
	fd   int
}

// OpenDir opens a directory, only as a place to start from (O_PATH). Close it.
// One that is not there gives [ErrGone].
func OpenDir(path string) (*Dir, error) {
	for {
		fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, classify("open", path, err)
		}
		return &Dir{path: path, fd: fd}, nil
	}
}

// Path is the directory's path when it was opened.
func (d *Dir) Path() string { return d.path }

// ReadFile reads the whole file into buf, as the function [ReadFile] does.
func (d *Dir) ReadFile(name string, buf []byte) ([]byte, error) {
	fd, err := d.openRead(name)
	if err != nil {
		return buf[:0], classify("open", d.path+"/"+name, err)
	}
	defer func() { _ = unix.Close(fd) }()
	b, err := readAll(name, buf[:0], func(p []byte, _ int64) (int, error) { return unix.Read(fd, p) })
	if err != nil && !errors.Is(err, ErrGone) {
		return b, fmt.Errorf("%s: %w", d.path, err)
	}
	return b, err
}

func (d *Dir) openRead(name string) (int, error) {
	for {
		fd, err := unix.Openat(d.fd, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// Inode returns the inode number of what name leads to, links followed: of
// "ns/net" the number of the process' network namespace.
func (d *Dir) Inode(name string) (uint64, error) {
	var st unix.Stat_t
	for {
		err := unix.Fstatat(d.fd, name, &st, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, classify("stat", d.path+"/"+name, err)
		}
		return st.Ino, nil
	}
}

// Close gives the descriptor back. It is safe to call twice and on nil.
func (d *Dir) Close() {
	if d == nil || d.fd < 0 {
		return
	}
	_ = unix.Close(d.fd)
	d.fd = -1
}

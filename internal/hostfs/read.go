package hostfs

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// maxFile bounds one read. The largest file read by this project is a v1
// blkio file of a host with thousands of devices; beyond the bound something
// else than a kernel statistic is being read.
const maxFile = 4 << 20

// firstBuffer is what a read without a buffer starts with: one page, which
// holds most kernel statistics.
const firstBuffer = 4096

// ErrTooLarge says that a file is larger than any kernel statistic.
var ErrTooLarge = errors.New("larger than 4 MiB")

// ReadFile reads the whole file into buf, which is grown as needed, and
// returns the content. The content is valid until buf is used again. A file
// that does not exist, or whose process or cgroup has gone, gives [ErrGone].
func ReadFile(path string, buf []byte) ([]byte, error) {
	fd, err := openRead(path)
	if err != nil {
		return buf[:0], classify("open", path, err)
	}
	defer func() { _ = unix.Close(fd) }()
	return readAll(path, buf[:0], func(p []byte, _ int64) (int, error) { return unix.Read(fd, p) })
}

func openRead(path string) (int, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// readAll appends to buf until end of file. A read that left room in the
// buffer is not the end: of a file with many records (cgroup.procs, maps,
// mountinfo) the kernel hands out about one page per call, however large the
// buffer (fs/seq_file.c). Only 0 bytes are.
func readAll(path string, buf []byte, read func(p []byte, off int64) (int, error)) ([]byte, error) {
	for {
		if len(buf) > maxFile {
			return buf[:0], fmt.Errorf("read %s: %w", path, ErrTooLarge)
		}
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, max(len(buf), firstBuffer))
		}
		n, err := read(buf[len(buf):cap(buf)], int64(len(buf)))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return buf[:0], classify("read", path, err)
		}
		if n == 0 {
			return buf, nil
		}
		buf = buf[:len(buf)+n]
	}
}

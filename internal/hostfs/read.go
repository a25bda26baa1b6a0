package hostfs

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// maxFile bounds one read. The largest file read by this project is a v1
// blkio file of a host with thousands of devices; beyond the bound something
// else than a kernel statistic is being read.
const maxFile = 4 << 20

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
	return readAll(path, buf, func(p []byte, _ int64) (int, error) { return unix.Read(fd, p) })
}

func openRead(path string) (int, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// readAll reads until end of file. Kernel files are produced in one piece per
// read call, so a buffer that is large enough makes this two calls at most:
// the second one is needed only when the first filled the buffer.
func readAll(path string, buf []byte, read func(p []byte, off int64) (int, error)) ([]byte, error) {
	if cap(buf) == 0 {
		buf = make([]byte, 0, 4096)
	}
	buf = buf[:0]
	for {
		if len(buf) == cap(buf) {
			if len(buf) >= maxFile {
				return buf[:0], fmt.Errorf("read %s: %w", path, ErrTooLarge)
			}
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := read(buf[len(buf):cap(buf)], int64(len(buf)))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return buf[:0], classify("read", path, err)
		}
		buf = buf[:len(buf)+n]
		if n == 0 || len(buf) < cap(buf) {
			return buf, nil
		}
	}
}

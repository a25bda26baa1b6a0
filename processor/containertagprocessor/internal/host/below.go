package host

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// maxFile bounds a file of /etc that is read. os-release has less than 1 KB.
const maxFile = 64 << 10

var (
	errNotRegular = errors.New("not a regular file")
	errTooLarge   = errors.New("larger than 64 KiB")
)

// readBelow reads root/name. Links are followed as if root were "/".
func readBelow(root, name string) ([]byte, error) {
	file, err := openBelow(root, name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: %w", file.Name(), errNotRegular)
	}
	content, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file.Name(), err)
	}
	if len(content) > maxFile {
		return nil, fmt.Errorf("read %s: %w", file.Name(), errTooLarge)
	}
	return content, nil
}

// openBelow asks the kernel to keep below root. A kernel before 5.6, or a
// seccomp filter of that time, does not know how; then links that leave root are
// refused instead of followed. O_NONBLOCK: a pipe must not hold us up.
func openBelow(root, name string) (*os.File, error) {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", root, err)
	}
	defer func() { _ = unix.Close(dir) }()
	fd, err := openat2(dir, name)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		return openInside(root, name)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s below %s: %w", name, root, err)
	}
	return os.NewFile(uintptr(fd), filepath.Join(root, name)), nil
}

// openat2 tries again when something was renamed meanwhile, which the kernel
// cannot always tell from a way out of root. It gives up where that does not end.
func openat2(dir int, name string) (fd int, err error) {
	for range 8 {
		fd, err = unix.Openat2(dir, name, &unix.OpenHow{
			Flags:   unix.O_RDONLY | unix.O_NONBLOCK | unix.O_CLOEXEC,
			Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
		})
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			break
		}
	}
	return fd, err
}

func openInside(root, name string) (*os.File, error) {
	inside, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	defer func() { _ = inside.Close() }()
	return inside.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
}

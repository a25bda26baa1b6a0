package transport

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Why a path cannot be used. Errors of [ListenUnix] and [ListenStream] match one
// of these, or what the system call said. They name the path, not the field of
// the configuration.
var (
	// ErrInUse says that a living socket is at the path.
	ErrInUse = errors.New("another agent listens there")
	// ErrNotSocket says that something else is at the path, such as a file.
	ErrNotSocket = errors.New("it exists and is not a socket")
	// ErrNoDirectory says that the directory of the path is not there.
	ErrNoDirectory = errors.New("its directory does not exist")
	// ErrPathTooLong says that the kernel has no room for the path.
	ErrPathTooLong = errors.New("path too long")
	// ErrNotAbsolute says that the path does not start with a slash.
	ErrNotAbsolute = errors.New("path not absolute")
)

const (
	// maxPath is what fits into sun_path of struct sockaddr_un, 108 bytes with
	// the zero at its end (unix(7)).
	maxPath = 107
	// maskRandom is the number of letters of a temporary name: 50 bits, so that
	// a name is that of one socket only; see isAt.
	maskRandom = 10
)

// claim tells whether a socket may be put at the path: nothing is there, or a
// socket that nobody has open any more. It changes nothing.
func claim(path string, kind int) error {
	if err := checkPath(path); err != nil {
		return fmt.Errorf("use %q: %w", path, err)
	}
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at socket file: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("replace %q: %w (%s)", path, ErrNotSocket, info.Mode().Type())
	}
	fd, err := connect(path, kind)
	if err == nil {
		_ = unix.Close(fd)
		return fmt.Errorf("replace socket %q: %w", path, ErrInUse)
	}
	switch {
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, unix.EPROTOTYPE), errors.Is(err, unix.EAGAIN):
		// Alive: of another type, or with a full queue of connections.
		return fmt.Errorf("replace socket %q: %w (%w)", path, ErrInUse, err)
	}
	return fmt.Errorf("find out whether socket %q is in use: %w", path, err)
}

func checkPath(path string) error {
	if !filepath.IsAbs(path) {
		return ErrNotAbsolute
	}
	dir := filepath.Dir(path)
	longest := max(len(path), len(dir)+len("/.")+maskRandom)
	if longest > maxPath {
		return fmt.Errorf("%w: it takes %d bytes, the kernel has room for %d", ErrPathTooLong, longest, maxPath)
	}
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return ErrNoDirectory
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%w: %q is no directory", ErrNoDirectory, dir)
	}
	return nil
}

// connect returns a descriptor that is connected to the socket at the path.
func connect(path string, kind int) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("make socket: %w", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// publish gives the socket a file with the permissions. The file gets its name
// last, when it is complete: senders either reach the socket that was there
// before or this one. The socket's own name stays the temporary one.
func publish(fd, kind int, path string, mode fs.FileMode) error {
	temporary := filepath.Join(filepath.Dir(path), "."+strings.ToLower(rand.Text()[:maskRandom]))
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: temporary}); err != nil {
		return fmt.Errorf("make socket file in %q: %w (the agent must be allowed to write there)", filepath.Dir(path), err)
	}
	err := setMode(temporary, mode)
	if err == nil && kind == unix.SOCK_STREAM {
		err = unix.Listen(fd, backlog)
	}
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		_ = os.Remove(temporary)
		return fmt.Errorf("name socket file %q: %w", path, err)
	}
	return nil
}

// setMode sets the permissions of a socket file. Not by its name alone: who may
// write to the directory could put a link to another file there.
func setMode(path string, mode fs.FileMode) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open socket file: %w", err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("look at socket file: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return ErrNotSocket
	}
	return os.Chmod("/proc/self/fd/"+strconv.Itoa(fd), mode)
}

// isAt tells whether the socket is the one that senders find at the path. Who
// connects sees the name that a socket was bound to, and no two are bound to the
// same temporary name.
func isAt(fd int, path string, kind int) error {
	// An error gives -1, which is neither.
	domain, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	have, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if domain != unix.AF_UNIX || have != kind {
		return fmt.Errorf("%w: domain %d, type %d", errOther, domain, have)
	}
	own, err := unix.Getsockname(fd)
	if err != nil {
		return fmt.Errorf("ask kept socket for its name: %w", err)
	}
	probe, err := connect(path, kind)
	if err != nil {
		return fmt.Errorf("reach kept socket at %q: %w", path, err)
	}
	defer unix.Close(probe)
	found, err := unix.Getpeername(probe)
	if err != nil {
		return fmt.Errorf("ask socket at %q for its name: %w", path, err)
	}
	if a, b := nameOf(own), nameOf(found); a == "" || a != b {
		return fmt.Errorf("%w: it is named %q, what is at %q is named %q", errOther, a, path, b)
	}
	return nil
}

// errOther says that a kept descriptor is not what it was kept as.
var errOther = errors.New("it is another descriptor")

func nameOf(address unix.Sockaddr) string {
	if u, ok := address.(*unix.SockaddrUnix); ok {
		return u.Name
	}
	return ""
}

// inodeOf identifies a file, to remove later that one only.
func inodeOf(path string) (inode, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return inode{}, fmt.Errorf("look at socket file: %w", err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return inode{}, fmt.Errorf("look at socket file %q: no inode", path)
	}
	return inode{stat.Dev, stat.Ino}, nil
}

type inode struct{ dev, ino uint64 }

// withdraw removes the file at the path if it still is the one.
func withdraw(path string, was inode) error {
	now, err := inodeOf(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && now != was {
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove socket file: %w", err)
	}
	return nil
}

package unixsocket

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// ErrInUse says that somebody listens on the socket.
var ErrInUse = errors.New("another program listens there")

// dialWithin is how long a live listener has to take a connection: its queue may be
// full.
const dialWithin = time.Second

// maxPath is what struct sockaddr_un has room for, without the zero at its end
// (unix(7)).
const maxPath = 107

// Listener is an open socket. Close leaves its name; see Remove.
type Listener struct {
	*net.UnixListener

	path string
	made os.FileInfo
}

// Listen makes the socket at an absolute path, in a folder of its own if that is not
// there yet. prepare is given the file before it gets its name, to set owner and mode;
// until then nobody else reaches it. The context bounds the look at what is there.
func Listen(ctx context.Context, path string, prepare func(file string) error) (*Listener, error) {
	if !filepath.IsAbs(path) {
		return nil, errors.New("the path is not absolute")
	}
	if err := makeFolder(filepath.Dir(path)); err != nil {
		return nil, err
	}
	stale, err := findStale(ctx, path)
	if err != nil {
		return nil, err
	}
	private, err := os.MkdirTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(private) }() // at worst an empty folder stays
	made := filepath.Join(private, "s")
	if len(made) > maxPath {
		return nil, fmt.Errorf("the path is too long, that of its folder may have %d bytes", maxPath-len("/.new-0123456789/s"))
	}
	if stale != nil {
		if err := putAside(path, private, stale); err != nil {
			return nil, err
		}
	}
	socket, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return nil, err
	}
	socket.SetUnlinkOnClose(false) // not by the name it was made with
	info, err := publish(made, path, prepare)
	if err != nil {
		_ = socket.Close()
		return nil, err
	}
	return &Listener{UnixListener: socket, path: path, made: info}, nil
}

// makeFolder refuses one in which anybody may replace a socket by a link before it is
// used.
func makeFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o002 != 0 && info.Mode()&os.ModeSticky == 0 {
		return fmt.Errorf("anybody may replace files in %s: %w", dir, fs.ErrPermission)
	}
	return nil
}

// findStale returns the socket that nobody listens on any more, or nil if there is
// nothing at the path.
func findStale(ctx context.Context, path string) (os.FileInfo, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if info.Mode()&os.ModeSocket == 0 {
		return nil, fmt.Errorf("%s is there and no socket: %w", path, fs.ErrExist)
	}
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err == nil {
		_ = conn.Close()
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return nil, fmt.Errorf("%s: %w", path, ErrInUse)
	}
	return info, nil
}

// putAside takes the file away that info is of. One that took its place meanwhile,
// such as the socket of a server that was started just now, is put back.
func putAside(path, private string, info os.FileInfo) error {
	aside := filepath.Join(private, "old")
	if err := os.Rename(path, aside); err != nil {
		return err
	}
	if moved, err := os.Lstat(aside); err == nil && isSame(moved, info) {
		return os.Remove(aside)
	}
	if err := os.Link(aside, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("put back: %w", err)
	}
	return fmt.Errorf("%s: %w", path, ErrInUse)
}

func publish(made, path string, prepare func(string) error) (os.FileInfo, error) {
	if err := prepare(made); err != nil {
		return nil, err
	}
	if err := os.Link(made, path); err != nil { // fails if somebody was faster
		return nil, err
	}
	return os.Lstat(path)
}

// isSame compares the time as well: numbers of files are used again.
func isSame(a, b os.FileInfo) bool { return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) }

// Path returns the name of the socket; Addr has the one it was made with.
func (l *Listener) Path() string { return l.path }

// Remove takes the name of the socket away, if it still is its own.
func (l *Listener) Remove() error {
	if now, err := os.Lstat(l.path); err != nil || !isSame(now, l.made) {
		return nil
	}
	return os.Remove(l.path)
}

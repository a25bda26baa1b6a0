package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

var (
	// ErrOpen says that everybody in the network could read the recorder.
	ErrOpen = errors.New("beyond loopback a token or client certificates are needed")
	// ErrInUse says that somebody listens on the socket.
	ErrInUse = errors.New("another program listens there")
)

// dialWithin is how long a live listener has to take a connection: its queue may be
// full.
const dialWithin = time.Second

// maxSocketPath is what struct sockaddr_un has room for, without the zero at its end.
const maxSocketPath = 107

// listener is an open endpoint.
type listener struct {
	net.Listener
	// path is that of a Unix socket, or empty.
	path string
	made os.FileInfo
}

// listen opens an endpoint. What is beyond loopback is judged by the address that is
// bound, not by the name that was configured.
func (s *Server) listen(ctx context.Context, endpoint string) (*listener, error) {
	if path, ok := strings.CutPrefix(endpoint, "unix://"); ok {
		return listenUnix(ctx, path, s.o.SocketMode)
	}
	address, err := net.ResolveTCPAddr("tcp", endpoint)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", endpoint, err)
	}
	if !address.IP.IsLoopback() && s.o.Token == "" && !mutual(s.o.TLS) {
		return nil, fmt.Errorf("listen on %s: %w", endpoint, ErrOpen)
	}
	tcp, err := net.ListenTCP("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", endpoint, err)
	}
	return &listener{Listener: tcp}, nil
}

// listenUnix makes the socket, in a folder of its own if that is not there yet. One
// that nobody listens on any more is replaced, a live one and what is no socket never.
func listenUnix(ctx context.Context, path string, mode fs.FileMode) (*listener, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("listen on %q: the path is not absolute", path)
	}
	// It is made where nobody else gets at it, and moved when its mode is right.
	private, err := privateBeside(path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	defer func() { _ = os.RemoveAll(private) }() // at worst an empty folder stays
	if err := removeStale(ctx, path, private); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	made := filepath.Join(private, "s")
	if len(made) > maxSocketPath {
		return nil, fmt.Errorf("listen on %s: the path is too long, that of its folder may have %d bytes", path, maxSocketPath-len("/.new-0123456789/s"))
	}
	socket, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	socket.SetUnlinkOnClose(false) // not by the name it was made with
	info, err := publish(made, path, mode)
	if err != nil {
		_ = socket.Close()
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return &listener{Listener: socket, path: path, made: info}, nil
}

// privateBeside makes a folder that is ours alone beside a file. Where anybody may
// replace it by a link before it is used, it refuses.
func privateBeside(path string) (string, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o002 != 0 && info.Mode()&os.ModeSticky == 0 {
		return "", fmt.Errorf("anybody may replace files in %s: %w", dir, fs.ErrPermission)
	}
	return os.MkdirTemp(dir, ".new-")
}

func publish(made, path string, mode fs.FileMode) (os.FileInfo, error) {
	if err := os.Chmod(made, mode); err != nil {
		return nil, err
	}
	if err := os.Link(made, path); err != nil { // fails if somebody was faster
		return nil, err
	}
	return os.Lstat(path)
}

func removeStale(ctx context.Context, path, private string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("it is there and no socket: %w", fs.ErrExist)
	}
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err == nil {
		_ = conn.Close()
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return ErrInUse
	}
	return putAside(path, private, info)
}

// putAside takes the file away that info is of. One that took its place meanwhile,
// such as the socket of a server that was started just now, is put back.
func putAside(path, private string, info os.FileInfo) error {
	aside := filepath.Join(private, "old")
	if err := os.Rename(path, aside); err != nil {
		return err
	}
	if moved, err := os.Lstat(aside); err == nil && os.SameFile(moved, info) {
		return os.Remove(aside)
	}
	if err := os.Link(aside, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("put back: %w", err)
	}
	return ErrInUse
}

// remove takes the name of a Unix socket away, if it still is ours.
func (l *listener) remove() {
	if l.path == "" {
		return
	}
	if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.made) {
		_ = os.Remove(l.path)
	}
}

package dockerfilterextension

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// errInUse: somebody listens on the socket.
var errInUse = errors.New("another program listens there")

// dialWithin is how long a live listener has to take a connection: its queue may
// be full.
const dialWithin = time.Second

// socketPath takes the path out of an endpoint.
func socketPath(endpoint string) (string, error) {
	path, ok := strings.CutPrefix(endpoint, "unix://")
	if !ok || !filepath.IsAbs(path) {
		return "", fmt.Errorf("%q is not unix:// and an absolute path", endpoint)
	}
	return filepath.Clean(path), nil
}

// listen makes the socket, in a directory of its own if that is not there yet. A
// socket that nobody listens on any more is replaced, a live one and what is no
// socket never.
func listen(ctx context.Context, path string, access SocketConfig) (*net.UnixListener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	// It is made where nobody else gets at it, and moved when its owner and mode
	// are right.
	private, err := os.MkdirTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(private) }()
	made := filepath.Join(private, "s")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false) // not by the name it was made with
	if err = access.apply(made); err == nil {
		err = os.Link(made, path) // which fails if somebody was faster
	}
	if err != nil {
		_ = listener.Close()
		return nil, err
	}
	return listener, nil
}

func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("%s is there and no socket: %w", path, os.ErrExist)
	}
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err == nil {
		_ = conn.Close()
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("%s: %w", path, errInUse)
	}
	return os.Remove(path)
}

// apply gives the socket its owner and, last, its mode.
func (c SocketConfig) apply(path string) error {
	uid, err := lookUp(c.Owner, func(name string) (string, error) {
		u, err := user.Lookup(name)
		if err != nil {
			return "", err
		}
		return u.Uid, nil
	})
	if err != nil {
		return fmt.Errorf("socket.owner: %w", err)
	}
	gid, err := lookUp(c.Group, func(name string) (string, error) {
		g, err := user.LookupGroup(name)
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	})
	if err != nil {
		return fmt.Errorf("socket.group: %w", err)
	}
	if uid != -1 || gid != -1 {
		if err := os.Lchown(path, uid, gid); err != nil {
			return fmt.Errorf("socket.owner, socket.group: %w", err)
		}
	}
	mode, err := parseMode(c.Mode)
	if err != nil {
		return fmt.Errorf("socket.mode: %w", err)
	}
	return os.Chmod(path, mode)
}

// lookUp takes a number as it is, and asks for a name; "" is -1, leave it.
func lookUp(name string, find func(string) (string, error)) (int, error) {
	if name == "" {
		return -1, nil
	}
	if id, err := strconv.Atoi(name); err == nil {
		return id, nil
	}
	text, err := find(name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(text)
}

func parseMode(text string) (os.FileMode, error) {
	mode, err := strconv.ParseUint(text, 8, 32)
	if err != nil || mode > 0o777 {
		return 0, fmt.Errorf("%q is not an octal file mode such as 0660", text)
	}
	return os.FileMode(mode), nil
}

// socketInode identifies a socket file by inode and time, so that one that somebody else has put in
// its place is left alone; 0 if there is none.
func socketInode(path string) uint64 {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return 0
	}
	return st.Ino ^ uint64(st.Ctim.Nano()) // inode numbers are used again
}

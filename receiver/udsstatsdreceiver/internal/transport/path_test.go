package transport_test

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/transport"
)

func TestRefusedPaths(t *testing.T) {
	base := filepath.Dir(room(t))
	file := base + "/file"
	require.NoError(t, os.WriteFile(file, []byte("keep me"), 0o600))
	require.NoError(t, os.Symlink(file, base+"/link"))
	require.NoError(t, os.Mkdir(base+"/folder", 0o755))
	datagram, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: base + "/dgram", Net: "unixgram"})
	require.NoError(t, err)
	defer datagram.Close()
	stream, err := net.Listen("unix", base+"/stream")
	require.NoError(t, err)
	defer stream.Close()
	before := entries(t, base)

	f := func(path string, want error) {
		t.Helper()
		_, err := transport.ListenUnix(transport.UnixOptions{Path: path, Depth: 10})
		require.ErrorIs(t, err, want, path)
		_, err = transport.ListenStream(transport.StreamOptions{Path: path})
		require.ErrorIs(t, err, want, path)
	}
	f("statsd.sock", transport.ErrNotAbsolute)
	f("", transport.ErrNotAbsolute)
	f(base+"/missing/statsd.sock", transport.ErrNoDirectory)
	f(file+"/statsd.sock", transport.ErrNoDirectory)
	f(base+"/"+strings.Repeat("x", 108-len(base)-1), transport.ErrPathTooLong)
	f(file, transport.ErrNotSocket)
	f(base+"/link", transport.ErrNotSocket)
	f(base+"/folder", transport.ErrNotSocket)
	f(base+"/dgram", transport.ErrInUse)
	f(base+"/stream", transport.ErrInUse)

	require.Equal(t, before, entries(t, base))
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "keep me", string(text))
}

// TestLongestPath is as long as the kernel allows.
func TestLongestPath(t *testing.T) {
	dir := filepath.Dir(room(t))
	path := dir + "/" + strings.Repeat("x", 107-len(dir)-1)
	require.Len(t, path, 107)
	listen(t, transport.UnixOptions{Path: path, Depth: 10})
	write(t, dial(t, "unixgram", path), "a:1|c")
}

func TestForbiddenDirectory(t *testing.T) {
	testkit.NeedRoot(t)
	path := room(t)
	got := output(t, asNobody(process(t, order{Role: "report", Path: path})))
	require.Equal(t, `make socket file in "`+filepath.Dir(path)+`": permission denied (the agent must be allowed to write there)`, got)
	require.Empty(t, entries(t, filepath.Dir(path)))
}

// TestForbiddenSocket cannot find out whether somebody listens, and leaves it.
func TestForbiddenSocket(t *testing.T) {
	testkit.NeedRoot(t)
	path := room(t)
	listen(t, transport.UnixOptions{Path: path, Depth: 10, Mode: 0o700})
	require.NoError(t, os.Chown(filepath.Dir(path), nobody, nobody))
	got := output(t, asNobody(process(t, order{Role: "report", Path: path})))
	require.Equal(t, `find out whether socket "`+path+`" is in use: permission denied`, got)
	write(t, dial(t, "unixgram", path), "a:1|c")
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := room(t)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	require.NoError(t, unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
	require.NoError(t, unix.Close(fd))
	require.Equal(t, []string{"statsd.sock"}, entries(t, filepath.Dir(path)))

	s, err := transport.ListenUnix(transport.UnixOptions{Path: path, Depth: 10, Mode: 0o622})
	require.NoError(t, err)
	info, err := os.Lstat(path)
	require.NoError(t, err)
	require.Equal(t, fs.ModeSocket|0o622, info.Mode())
	require.Equal(t, []string{"statsd.sock"}, entries(t, filepath.Dir(path)))
	write(t, dial(t, "unixgram", path), "a:1|c")

	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	require.Empty(t, entries(t, filepath.Dir(path)))
}

// TestCloseLeavesSuccessor has another agent at the path by then.
func TestCloseLeavesSuccessor(t *testing.T) {
	path := room(t)
	s, err := transport.ListenUnix(transport.UnixOptions{Path: path, Depth: 10})
	require.NoError(t, err)
	require.NoError(t, os.Remove(path))
	listen(t, transport.UnixOptions{Path: path, Depth: 10})
	require.NoError(t, s.Close())
	write(t, dial(t, "unixgram", path), "a:1|c")
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, entry := range list {
		names = append(names, entry.Name())
	}
	return names
}

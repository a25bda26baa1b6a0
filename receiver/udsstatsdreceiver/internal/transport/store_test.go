package transport_test

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/transport"
)

// manager is a service manager as far as its notification socket goes.
type manager struct {
	conn *net.UnixConn
	path string
}

func newManager(t testing.TB) *manager {
	t.Helper()
	path := filepath.Dir(room(t)) + "/notify"
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return &manager{conn: conn, path: path}
}

// receive returns the next message, and the descriptor that came with it or -1.
func (m *manager) receive(t testing.TB) (string, int) {
	t.Helper()
	require.NoError(t, m.conn.SetReadDeadline(time.Now().Add(patience)))
	text, control := make([]byte, 1000), make([]byte, 100)
	n, controlled, _, _, err := m.conn.ReadMsgUnix(text, control)
	require.NoError(t, err)
	messages, err := unix.ParseSocketControlMessage(control[:controlled])
	require.NoError(t, err)
	if len(messages) == 0 {
		return string(text[:n]), -1
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	require.NoError(t, err)
	require.Len(t, fds, 1)
	return string(text[:n]), fds[0]
}

// store is that of a process whose service manager is m, nil for none.
func store(t testing.TB, m *manager) *transport.Store {
	t.Helper()
	s, err := transport.OpenStore(func(key string) string {
		if key == "NOTIFY_SOCKET" && m != nil {
			return m.path
		}
		return ""
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// TestKeptSocket is a restart: what was sent in between is in the queue.
func TestKeptSocket(t *testing.T) {
	m := newManager(t)
	o := transport.UnixOptions{Path: room(t), Name: "statsd"}
	o.Store = store(t, m)
	first, err := transport.ListenUnix(o)
	require.NoError(t, err)
	require.NoError(t, first.Report().NotKept)
	require.False(t, first.Report().Restored)
	message, fd := m.receive(t)
	require.Equal(t, "FDSTORE=1\nFDNAME=statsd", message)
	conn := dial(t, "unixgram", o.Path)
	require.NoError(t, first.Close())
	require.NoError(t, o.Store.Close()) // as the end of the process does
	write(t, conn, "between")

	o.Store = store(t, m)
	o.Store.Hold("statsd", fd)
	second := listen(t, o)
	got := second.Report()
	require.True(t, got.Restored)
	require.NoError(t, got.NotRestored)
	require.NoError(t, got.NotKept)
	if os.Geteuid() == 0 {
		require.NoError(t, got.Shallow)
		require.Equal(t, first.Report().Depth, got.Depth)
	}
	message, again := m.receive(t)
	require.Equal(t, "FDSTORE=1\nFDNAME=statsd", message)
	require.NoError(t, unix.Close(again))
	box := run(t, second, nil)
	write(t, conn, "after")
	datagrams := box.await(t, 2)
	require.Equal(t, "between", string(datagrams[0].Payload))
	require.Equal(t, os.Getpid(), datagrams[0].PID)
	require.Equal(t, "after", string(datagrams[1].Payload))
}

// TestReloadedSocket is opened twice by one process.
func TestReloadedSocket(t *testing.T) {
	m := newManager(t)
	o := transport.UnixOptions{Path: room(t), Name: "statsd", Store: store(t, m)}
	first, err := transport.ListenUnix(o)
	require.NoError(t, err)
	_, copied := m.receive(t)
	require.NoError(t, unix.Close(copied))
	conn := dial(t, "unixgram", o.Path)
	require.NoError(t, first.Close())
	write(t, conn, "between")
	second := listen(t, o)
	require.True(t, second.Report().Restored)
	_, copied = m.receive(t)
	require.NoError(t, unix.Close(copied))
	require.Equal(t, "between", string(run(t, second, nil).await(t, 1)[0].Payload))
}

// TestUnusableKeptSocket is given up, and a new one is made.
// What was known of the queue before a restart is known after it.
func TestMarkEmpty(t *testing.T) {
	o := transport.UnixOptions{Path: room(t), Name: "statsd"}
	o.Store = store(t, newManager(t))
	life := func(want, mark time.Duration) {
		t.Helper()
		s, err := transport.ListenUnix(o)
		require.NoError(t, err)
		require.Equal(t, want, s.Report().Empty)
		require.NoError(t, s.MarkEmpty(mark))
		require.NoError(t, s.Close())
	}
	life(0, 0) // never seen empty
	const seen = 5*time.Hour + 7
	life(0, seen)
	life(seen, 0)
	life(seen, time.Second)
	life(time.Second, 0)
}

func TestUnusableKeptSocket(t *testing.T) {
	f := func(kept func(path string) int) {
		t.Helper()
		m := newManager(t)
		o := transport.UnixOptions{Path: room(t), Name: "statsd", Depth: 10, Store: store(t, m)}
		fd := kept(o.Path)
		before := fileOf(t, fd)
		o.Store.Hold("statsd", fd)
		s := listen(t, o)
		require.False(t, s.Report().Restored)
		require.Error(t, s.Report().NotRestored)
		message, none := m.receive(t)
		require.Equal(t, "FDSTOREREMOVE=1\nFDNAME=statsd", message)
		require.Equal(t, -1, none)
		message, copied := m.receive(t)
		require.Equal(t, "FDSTORE=1\nFDNAME=statsd", message)
		require.NotEqual(t, before, fileOf(t, copied))
		require.NoError(t, unix.Close(copied))
		box := run(t, s, nil)
		write(t, dial(t, "unixgram", o.Path), "a:1|c")
		box.await(t, 1)
	}
	bound := func(kind int, path string) int {
		fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
		require.NoError(t, err)
		if path != "" {
			require.NoError(t, unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
		}
		return fd
	}
	f(func(string) int { // no socket at all
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		require.NoError(t, err)
		return fd
	})
	f(func(string) int {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		require.NoError(t, err)
		return fd
	})
	f(func(string) int { return bound(unix.SOCK_DGRAM, "") })
	f(func(path string) int { return bound(unix.SOCK_DGRAM, filepath.Dir(path)+"/elsewhere") })
	f(func(path string) int { return bound(unix.SOCK_STREAM, filepath.Dir(path)+"/stream") })
	f(func(path string) int { // its file has gone
		fd := bound(unix.SOCK_DGRAM, path)
		require.NoError(t, os.Remove(path))
		return fd
	})
	f(func(path string) int { // another one, dead, has taken its place
		fd := bound(unix.SOCK_DGRAM, path)
		require.NoError(t, os.Remove(path))
		require.NoError(t, unix.Close(bound(unix.SOCK_DGRAM, path)))
		return fd
	})
}

// TestKeptSocketBesideLivingOne must not push another agent aside.
func TestKeptSocketBesideLivingOne(t *testing.T) {
	m := newManager(t)
	o := transport.UnixOptions{Path: room(t), Name: "statsd", Depth: 10}
	listen(t, o)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	o.Store = store(t, m)
	o.Store.Hold("statsd", fd)
	_, err = transport.ListenUnix(o)
	require.ErrorIs(t, err, transport.ErrInUse)
}

func TestWithoutServiceManager(t *testing.T) {
	o := transport.UnixOptions{Path: room(t), Name: "statsd", Depth: 10, Store: store(t, nil)}
	s, err := transport.ListenUnix(o)
	require.NoError(t, err)
	require.ErrorIs(t, s.Report().NotKept, transport.ErrNoStore)
	require.NoError(t, s.Close())
	require.Empty(t, entries(t, filepath.Dir(o.Path)))
}

func TestStoreNames(t *testing.T) {
	f := func(name string) {
		t.Helper()
		s := listen(t, transport.UnixOptions{Path: room(t), Depth: 10, Name: name, Store: store(t, newManager(t))})
		require.ErrorIs(t, s.Report().NotKept, unix.EINVAL)
	}
	f("")
	f("a:b")
	f("a\nFDSTOREREMOVE=1")
	f(string(make([]byte, 256)))
}

func TestParseInherited(t *testing.T) {
	f := func(pid, count, names string, want ...string) {
		t.Helper()
		got, err := transport.ParseInherited(func(key string) string {
			return map[string]string{"LISTEN_PID": pid, "LISTEN_FDS": count, "LISTEN_FDNAMES": names}[key]
		}, 77)
		if len(want) == 1 && want[0] == "error" {
			require.Error(t, err)
			return
		}
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	f("", "", "")
	f("78", "1", "a")
	f("78", "nonsense", "a")
	f("77", "1", "a", "a")
	f("77", "3", "a:b:a", "a", "b", "a")
	f("77", "2", "a", "error")
	f("77", "", "a", "error")
	f("77", "-1", "", "error")
	f("77", "1025", "a", "error")
}

func TestNotifyAddress(t *testing.T) {
	_, err := transport.OpenStore(func(string) string { return "vsock:2:1234" })
	require.ErrorContains(t, err, "vsock:2:1234")
}

// fileOf identifies what a descriptor is, by its inode.
func fileOf(t testing.TB, fd int) uint64 {
	t.Helper()
	var stat unix.Stat_t
	require.NoError(t, unix.Fstat(fd, &stat))
	return stat.Ino
}

package transport_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/transport"
)

// TestDeepQueue sends to the socket itself, which nobody reads.
func TestDeepQueue(t *testing.T) {
	testkit.NeedRoot(t)
	const depth = 16384
	s := listen(t, transport.UnixOptions{Path: room(t)})
	require.NoError(t, s.Report().Shallow)
	require.Equal(t, depth, s.Report().Depth)
	taken := overfill(t, s)
	if taken != depth+1 { // the kernel refuses when there are more than the limit
		t.Errorf("the queue took %d datagrams, want %d", taken, depth+1)
	}
}

// TestHostQueue is without rights: the queue is the host's, and it says why.
func TestHostQueue(t *testing.T) {
	testkit.NeedRoot(t)
	text, err := os.ReadFile("/proc/sys/net/unix/max_dgram_qlen")
	require.NoError(t, err)
	limit, err := strconv.Atoi(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	path := room(t)
	require.NoError(t, os.Chown(filepath.Dir(path), nobody, nobody))
	got := output(t, asNobody(process(t, order{Role: "report", Path: path})))
	want := fmt.Sprintf("depth %d: make network namespace: operation not permitted (needs CAP_SYS_ADMIN)", limit+1)
	require.Equal(t, want, got)
}

// TestSmallQueue asks for less than the host has by default.
func TestSmallQueue(t *testing.T) {
	testkit.NeedRoot(t)
	s := listen(t, transport.UnixOptions{Path: room(t), Depth: 3})
	require.NoError(t, s.Report().Shallow)
	require.Equal(t, 3, s.Report().Depth)
	require.Equal(t, 4, overfill(t, s))
}

func TestThreadsComeHome(t *testing.T) {
	testkit.NeedRoot(t)
	for range 10 {
		listen(t, transport.UnixOptions{Path: room(t), Depth: 100})
	}
	home, err := os.Readlink("/proc/self/ns/net")
	require.NoError(t, err)
	threads, err := filepath.Glob("/proc/self/task/*/ns/net")
	require.NoError(t, err)
	for _, thread := range threads {
		ns, err := os.Readlink(thread)
		if errors.Is(err, os.ErrNotExist) {
			continue // it has ended
		}
		require.NoError(t, err)
		require.Equal(t, home, ns, thread)
	}
}

// overfill sends until a sender that has nothing in the queue is refused.
func overfill(t *testing.T, s *transport.Socket) int {
	t.Helper()
	to, err := unix.Getsockname(s.FD())
	require.NoError(t, err)
	// It is bound to the temporary name; senders know the other one.
	dir := filepath.Dir(to.(*unix.SockaddrUnix).Name)
	total := 0
	for {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		require.NoError(t, err)
		defer unix.Close(fd)
		require.NoError(t, unix.Connect(fd, &unix.SockaddrUnix{Name: dir + "/statsd.sock"}))
		n := 0
		for err == nil {
			if err = unix.Send(fd, []byte("a:1|c"), unix.MSG_DONTWAIT); err == nil {
				n++
			}
		}
		require.ErrorIs(t, err, unix.EAGAIN)
		if n == 0 {
			return total
		}
		total += n
	}
}

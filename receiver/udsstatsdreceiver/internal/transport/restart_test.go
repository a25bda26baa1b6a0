package transport_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/transport"
)

// receiveLife is one life of an agent: it receives until its input is closed, and
// tells how much that was. It says when it is ready.
func receiveLife(o order) error {
	store, err := transport.OpenStore(os.Getenv)
	if err != nil {
		return err
	}
	s, err := transport.ListenUnix(transport.UnixOptions{Path: o.Path, Store: store, Name: "statsd"})
	if err != nil {
		return err
	}
	report := s.Report()
	fmt.Println(report.Restored, report.Depth)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	got, strangers := 0, 0
	err = s.Run(ctx, reader(func(batch []transport.Datagram) {
		got += len(batch)
		for i := range batch {
			if batch[i].PID <= 0 {
				strangers++
			}
		}
	}))
	if err != nil {
		return err
	}
	fmt.Println(got, strangers)
	return s.Close()
}

// life is a running receiver.
type life struct {
	cmd   *exec.Cmd
	stdin io.Closer
	out   *bufio.Scanner
	// restored and depth are what it said at the start.
	restored string
	depth    int
}

// start begins a life as a service manager would; fd is what it has kept.
func start(t *testing.T, m *manager, path string, fd int) *life {
	t.Helper()
	cmd := process(t, order{Role: "receive", Path: path})
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+m.path)
	if fd >= 0 {
		// Only the process itself knows its pid in advance: the shell becomes it.
		cmd.Args = []string{"sh", "-c", "LISTEN_PID=$$ exec /proc/" + strconv.Itoa(os.Getpid()) + "/exe"}
		cmd.Path = "/bin/sh"
		cmd.Env = append(cmd.Env, "LISTEN_FDS=1", "LISTEN_FDNAMES=statsd")
		copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		require.NoError(t, err)
		file := os.NewFile(uintptr(copied), "kept")
		defer file.Close()
		cmd.ExtraFiles = []*os.File{file}
	}
	l := &life{cmd: cmd}
	var err error
	l.stdin, err = cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	l.out = bufio.NewScanner(out)
	require.True(t, l.out.Scan(), "the receiver is not ready")
	_, err = fmt.Sscan(l.out.Text(), &l.restored, &l.depth)
	require.NoError(t, err)
	return l
}

// end ends it and returns what it has received, and how much without a sender.
func (l *life) end(t *testing.T) (got, strangers int) {
	t.Helper()
	require.NoError(t, l.stdin.Close())
	require.True(t, l.out.Scan())
	_, err := fmt.Sscan(l.out.Text(), &got, &strangers)
	require.NoError(t, err)
	require.NoError(t, l.cmd.Wait())
	return got, strangers
}

// TestRestartLosesNothing has 8 processes send 2,000 datagrams a second while the
// receiver is away for half a second, and 3 s in all.
func TestRestartLosesNothing(t *testing.T) {
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "sh")
	const senders, each, every = 8, 750, 4 * time.Millisecond
	path := room(t)
	m := newManager(t)
	first := start(t, m, path, -1)
	require.Equal(t, "false", first.restored)
	message, fd := m.receive(t)
	require.Equal(t, "FDSTORE=1\nFDNAME=statsd", message)
	defer unix.Close(fd)

	var sending []*exec.Cmd
	for range senders {
		cmd := process(t, order{Role: "send", Path: path, Count: each, Size: 138, Every: every})
		require.NoError(t, cmd.Start())
		sending = append(sending, cmd)
	}
	until(t, 500*time.Millisecond)
	got, strangers := first.end(t)
	until(t, 500*time.Millisecond)
	second := start(t, m, path, fd)
	require.Equal(t, "true", second.restored)
	require.Equal(t, first.depth, second.depth)
	for _, cmd := range sending {
		require.NoError(t, cmd.Wait()) // no send was refused
	}
	// Nobody sends any more; its end hands over nothing of a kept socket.
	awaitEmpty(t, fd)
	gotLater, strangersLater := second.end(t)

	t.Logf("received %d before and %d after", got, gotLater)
	require.Equal(t, senders*each, got+gotLater)
	require.Zero(t, strangers+strangersLater)
	require.Positive(t, got)
	require.Greater(t, gotLater, senders*each/6) // half a second of it, and more
}

// awaitEmpty waits until nothing is in the queue.
func awaitEmpty(t *testing.T, fd int) {
	t.Helper()
	testkit.Eventually(t, patience, func() error {
		events := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if n, err := unix.Poll(events, 0); n != 0 || err != nil {
			return fmt.Errorf("%d sockets with datagrams (%v)", n, err)
		}
		return nil
	})
}

// until lets time pass: the load is what goes on meanwhile.
func until(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
		t.Fatal("the test was ended")
	}
}

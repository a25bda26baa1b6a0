package transport_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/transport"
)

// inbox is what a Run has handed over.
type inbox struct {
	mu  sync.Mutex
	got []transport.Datagram
}

// run receives in the background until the test ends.
func run(t testing.TB, s *transport.Socket, also func([]transport.Datagram)) *inbox {
	t.Helper()
	box := &inbox{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- s.Run(ctx, reader(func(batch []transport.Datagram) {
			box.mu.Lock()
			defer box.mu.Unlock()
			for _, d := range batch {
				d.Payload = []byte(string(d.Payload))
				box.got = append(box.got, d)
			}
			if also != nil {
				also(batch)
			}
		}))
	}()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	return box
}

// await waits for n datagrams.
func (b *inbox) await(t testing.TB, n int) []transport.Datagram {
	t.Helper()
	var got []transport.Datagram
	testkit.Eventually(t, patience, func() error {
		b.mu.Lock()
		defer b.mu.Unlock()
		got = b.got
		if len(got) < n {
			return fmt.Errorf("%d datagrams, want %d", len(got), n)
		}
		return nil
	})
	require.Len(t, got, n)
	return got
}

func TestSenderIsOtherProcess(t *testing.T) {
	testkit.NeedRoot(t)
	path := room(t)
	s := listen(t, transport.UnixOptions{Path: path})
	box := run(t, s, nil)
	cmd := asNobody(process(t, order{Role: "send", Path: path, Count: 3, Size: 20}))
	output(t, cmd)
	for _, d := range box.await(t, 3) {
		require.Equal(t, strings.Repeat("x", 20), string(d.Payload))
		require.Equal(t, []any{cmd.Process.Pid, uint32(nobody), -1, false}, []any{d.PID, d.UID, d.PidFD, d.Truncated})
	}
	require.Equal(t, uint64(3), s.Stats().Datagrams)
}

// TestFirstDatagramHasSender sends from the moment the file is there: none may
// come without credentials.
func TestFirstDatagramHasSender(t *testing.T) {
	path := room(t)
	for range 20 {
		sending := make(chan struct{})
		stop := make(chan struct{})
		go func() {
			defer close(sending)
			for {
				select {
				case <-stop:
					return
				default:
					sendOnce(path)
				}
			}
		}()
		s, err := transport.ListenUnix(transport.UnixOptions{Path: path, Depth: 100})
		require.NoError(t, err)
		box := run(t, s, nil)
		testkit.Eventually(t, patience, func() error {
			if s.Stats().Datagrams == 0 {
				return errors.New("nothing came in")
			}
			return nil
		})
		close(stop)
		<-sending
		require.NoError(t, s.Close())
		for _, d := range box.got {
			require.Equal(t, os.Getpid(), d.PID)
		}
	}
}

func sendOnce(path string) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	_ = unix.Sendto(fd, []byte("a:1|c"), unix.MSG_DONTWAIT, &unix.SockaddrUnix{Name: path})
}

func TestTruncation(t *testing.T) {
	f := func(buffer, size int, truncated bool) {
		t.Helper()
		path := room(t)
		s := listen(t, transport.UnixOptions{Path: path, Depth: 10, BufferBytes: buffer})
		box := run(t, s, nil)
		text := strings.Repeat("y", size)
		write(t, dial(t, "unixgram", path), text)
		d := box.await(t, 1)[0]
		longest := buffer
		if longest == 0 {
			longest = 8192
		}
		require.Equal(t, text[:min(size, longest)], string(d.Payload))
		require.Equal(t, truncated, d.Truncated)
		want := uint64(0)
		if truncated {
			want = 1
		}
		require.Equal(t, want, s.Stats().Truncated)
	}
	f(0, 0, false)
	f(0, 8192, false)
	f(0, 8193, true)
	f(0, 65000, true)
	f(65536, 65000, false)
	f(65536, 65536, false)
	f(65536, 65537, true)
}

func TestBufferSize(t *testing.T) {
	f := func(size int) {
		t.Helper()
		path := room(t)
		_, err := transport.ListenUnix(transport.UnixOptions{Path: path, BufferBytes: size})
		require.ErrorIs(t, err, unix.EINVAL)
		require.Empty(t, entries(t, filepath.Dir(path)))
		_, err = transport.ListenUDP(transport.UDPOptions{Address: "127.0.0.1:0", BufferBytes: size})
		require.ErrorIs(t, err, unix.EINVAL)
	}
	f(-1)
	f(65537)
}

// TestTakenPidFD outlives the datagram, and the sender.
func TestTakenPidFD(t *testing.T) {
	path := room(t)
	s := listenPidFDs(t, path)
	taken := make(chan int, 1)
	run(t, s, func(batch []transport.Datagram) { taken <- batch[0].TakePidFD() })
	cmd := process(t, order{Role: "send", Path: path, Count: 1, Size: 5})
	output(t, cmd)
	fd := <-taken
	require.GreaterOrEqual(t, fd, 0)
	defer unix.Close(fd)
	testkit.Eventually(t, patience, func() error { // it has exited and been waited for
		if err := unix.PidfdSendSignal(fd, 0, nil, 0); !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("process descriptor of %d: %w", cmd.Process.Pid, err)
		}
		return nil
	})
}

// TestPidFD compares with the pid, and the descriptor is not passed on by exec.
func TestPidFD(t *testing.T) {
	path := room(t)
	s := listenPidFDs(t, path)
	type seen struct{ info, flags string }
	told := make(chan seen, 1)
	run(t, s, func(batch []transport.Datagram) {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", batch[0].PidFD))
		told <- seen{field(string(text), "Pid"), field(string(text), "flags")}
	})
	write(t, dial(t, "unixgram", path), "a:1|c")
	got := <-told
	require.Equal(t, strconv.Itoa(os.Getpid()), got.info)
	flags, err := strconv.ParseInt(got.flags, 8, 64)
	require.NoError(t, err)
	require.NotZero(t, flags&unix.O_CLOEXEC, got.flags)
}

func field(text, name string) string {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// TestPidFDsDoNotLeak takes every seventh descriptor, and leaves the others.
func TestPidFDsDoNotLeak(t *testing.T) {
	const count = 1_000_000
	path := room(t)
	s := listenPidFDs(t, path)
	without := make(chan int, count)
	taken := 0
	box := run(t, s, func(batch []transport.Datagram) {
		for i := range batch {
			if batch[i].PidFD < 0 {
				without <- i
			}
			if taken++; taken%7 == 0 {
				_ = unix.Close(batch[i].TakePidFD())
			}
		}
	})
	before := descriptorsOfRun(t, s)
	var senders []*exec.Cmd
	for range 2 {
		cmd := process(t, order{Role: "send", Path: path, Count: count / 2, Size: 1})
		require.NoError(t, cmd.Start())
		senders = append(senders, cmd)
	}
	for _, cmd := range senders {
		require.NoError(t, cmd.Wait())
	}
	box.await(t, count/2*2)
	require.Empty(t, without)
	testkit.Eventually(t, patience, func() error {
		if now := descriptors(t); now > before {
			return fmt.Errorf("%d descriptors, %d before", now, before)
		}
		return nil
	})
}

func listenPidFDs(t *testing.T, path string) *transport.Socket {
	t.Helper()
	s := listen(t, transport.UnixOptions{Path: path, PidFDs: true})
	if err := s.Report().NoPidFDs; err != nil {
		testkit.Lack(t, testkit.Feature{Name: "SO_PASSPIDFD", MinKernel: "6.5"}, err)
	}
	require.True(t, s.Report().PidFDs)
	return s
}

// descriptorsOfRun counts when Run has opened what it needs.
func descriptorsOfRun(t *testing.T, s *transport.Socket) int {
	t.Helper()
	testkit.Eventually(t, patience, func() error {
		if s.Stats().Calls == 0 {
			return errors.New("Run has not begun")
		}
		return nil
	})
	return descriptors(t)
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(list)
}

// TestAttachedDescriptors is a sender that wants us to hold files open.
func TestAttachedDescriptors(t *testing.T) {
	f := func(pidFDs bool) {
		t.Helper()
		path := room(t)
		s := listen(t, transport.UnixOptions{Path: path, Depth: 100, PidFDs: pidFDs})
		box := run(t, s, nil)
		file, err := os.Open("/proc/self/status")
		require.NoError(t, err)
		defer file.Close()
		rights := unix.UnixRights(int(file.Fd()), int(file.Fd()), int(file.Fd()))

		if err := s.AllowRights(); err != nil { // from before 6.16
			t.Logf("SO_PASSRIGHTS: %v", err)
		}
		before := descriptorsOfRun(t, s)
		for range 1000 {
			require.NoError(t, attach(path, rights))
		}
		for _, d := range box.await(t, 1000) {
			require.Equal(t, os.Getpid(), d.PID)
		}
		testkit.Eventually(t, patience, func() error {
			if now := descriptors(t); now > before {
				return fmt.Errorf("%d descriptors, %d before", now, before)
			}
			return nil
		})
	}
	f(false)
	f(true)
}

// TestAttachingIsRefused by the kernel, before it costs us anything.
func TestAttachingIsRefused(t *testing.T) {
	path := room(t)
	s := listen(t, transport.UnixOptions{Path: path, Depth: 10})
	if _, err := unix.GetsockoptInt(s.FD(), unix.SOL_SOCKET, unix.SO_PASSRIGHTS); err != nil {
		testkit.Lack(t, testkit.Feature{Name: "SO_PASSRIGHTS", MinKernel: "6.16"}, err)
	}
	require.ErrorIs(t, attach(path, unix.UnixRights(0)), unix.EPERM)
}

// attach sends a datagram with descriptors.
func attach(path string, rights []byte) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Sendmsg(fd, []byte("a:1|c"), rights, &unix.SockaddrUnix{Name: path}, 0)
}

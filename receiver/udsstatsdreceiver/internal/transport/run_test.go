package transport_test

import (
	"context"
	"errors"
	"fmt"
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

// TestBusyAndIdle counts system calls. While the first datagram is being handled
// a thousand come in: they are read 64 at a time. Then ten pauses find nothing,
// and the reader waits until it is woken.
func TestBusyAndIdle(t *testing.T) {
	testkit.NeedRoot(t)
	path := room(t)
	s := listen(t, transport.UnixOptions{Path: path})
	conn := dial(t, "unixgram", path)
	first := make(chan struct{})
	sent := make(chan struct{})
	run(t, s, func(batch []transport.Datagram) {
		if string(batch[0].Payload) == "first" {
			close(first)
			<-sent
		}
	})
	// It pauses at the start too: there may have been traffic before.
	awaitIdle(t, s, transport.Stats{Calls: 10, Pauses: 9, Waits: 1})

	write(t, conn, "first")
	<-first
	overflow := dial(t, "unixgram", path) // 278 fit into one sender's buffer
	for i := range 1000 {
		if i%250 == 0 {
			overflow = dial(t, "unixgram", path)
		}
		write(t, overflow, "a:1|c")
	}
	close(sent)
	// 1 for the first, 16 for the thousand (the last is not full), 10 for nothing.
	awaitIdle(t, s, transport.Stats{Datagrams: 1001, Calls: 10 + 1 + 16 + 10, Pauses: 9 + 2 + 9, Waits: 2})
}

// TestShallowQueueIsNotTimed: in a pause it would overflow.
func TestShallowQueueIsNotTimed(t *testing.T) {
	path := room(t)
	s := listen(t, transport.UnixOptions{Path: path, Depth: 100})
	box := run(t, s, nil)
	conn := dial(t, "unixgram", path)
	for i := range 100 {
		write(t, conn, "a:1|c")
		box.await(t, i+1)
	}
	// The last wait may be yet to come.
	testkit.Eventually(t, patience, func() error {
		if got := s.Stats(); got.Pauses != 0 || got.Waits < 100 {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
}

// awaitIdle waits for the reader to wait for a datagram, and for the counters.
// Signals may cut a pause short, which is a pause all the same.
func awaitIdle(t *testing.T, s *transport.Socket, want transport.Stats) {
	t.Helper()
	testkit.Eventually(t, patience, func() error {
		if got := s.Stats(); got.Waits < want.Waits {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	require.Equal(t, want, s.Stats())
	testkit.Eventually(t, patience, func() error { return sleepsInPoll() })
	require.Equal(t, want, s.Stats())
}

// sleepsInPoll tells whether a thread of ours waits in poll(2) without a timeout.
func sleepsInPoll() error {
	files, err := filepath.Glob("/proc/self/task/*/syscall")
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		fields := strings.Fields(string(text))
		if err == nil && len(fields) > 3 && isEndlessPoll(fields) {
			return nil
		}
	}
	return errors.New("no thread waits in poll")
}

// isEndlessPoll reads /proc/PID/syscall (proc(5)): a number, then the arguments.
// Without poll(2), on arm64, Go calls ppoll(2), whose timeout is a null pointer.
func isEndlessPoll(fields []string) bool {
	switch fields[0] {
	case fmt.Sprint(unix.SYS_PPOLL):
		return fields[3] == "0x0"
	case "7": // poll on x86
		return strings.HasSuffix(fields[3], "ffffffff")
	}
	return false
}

// TestEnd ends a Run in each of its waits, and a Run that was not there yet.
func TestEnd(t *testing.T) {
	f := func(depth int, end func(*transport.Socket, context.CancelFunc)) {
		t.Helper()
		s, err := transport.ListenUnix(transport.UnixOptions{Path: room(t), Depth: depth})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		const n = 3
		done := make(chan error, n)
		for range n {
			go func() { done <- s.Run(ctx, reader(func([]transport.Datagram) {})) }()
		}
		testkit.Eventually(t, patience, func() error {
			if got := s.Stats(); got.Waits+got.Pauses < n {
				return fmt.Errorf("%+v", got)
			}
			return nil
		})
		end(s, cancel)
		for range n {
			// One of them may have found it closed.
			if err := <-done; !errors.Is(err, net.ErrClosed) {
				require.NoError(t, err)
			}
		}
		require.NoError(t, s.Close())
		require.ErrorIs(t, s.Run(t.Context(), nil), net.ErrClosed)
	}
	byContext := func(_ *transport.Socket, cancel context.CancelFunc) { cancel() }
	byClose := func(s *transport.Socket, _ context.CancelFunc) { require.NoError(t, s.Close()) }
	f(100, byContext) // waits for a datagram
	f(100, byClose)
	f(8192, byContext) // pauses
	f(8192, byClose)
}

// TestEndHandsOverQueue ends before the start: all is in the queue still.
func TestEndHandsOverQueue(t *testing.T) {
	path := room(t)
	s := listen(t, transport.UnixOptions{Path: path, Depth: 1000})
	conn := dial(t, "unixgram", path)
	queued := min(200, s.Report().Depth)
	for range queued {
		write(t, conn, "a:1|c")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got := 0
	require.NoError(t, s.Run(ctx, reader(func(batch []transport.Datagram) { got += len(batch) })))
	require.Equal(t, queued, got)
}

// TestEndUnderFlood: the queue is never empty.
func TestEndUnderFlood(t *testing.T) {
	path := room(t)
	s := listen(t, transport.UnixOptions{Path: path})
	for range 2 {
		cmd := process(t, order{Role: "send", Path: path, Count: -1, Size: 1})
		cmd.Stderr = nil // it ends with an error when the socket goes
		require.NoError(t, cmd.Start())
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got, atEnd := 0, 0
	require.NoError(t, s.Run(ctx, reader(func(batch []transport.Datagram) {
		if got += len(batch); got >= 50_000 {
			cancel()
		}
		if ctx.Err() != nil {
			atEnd += len(batch)
		}
	})))
	// The batch that ended it, those until the end was noticed, and one queue.
	if most := 2*s.Report().Depth + 10_000; atEnd > most {
		t.Errorf("%d datagrams after the end, at most %d", atEnd, most)
	}
}

func TestReceiveDoesNotAllocate(t *testing.T) {
	path := room(t)
	s := listen(t, transport.UnixOptions{Path: path, Depth: 100, PidFDs: true})
	conn := dial(t, "unixgram", path)
	receive := s.Receive()
	payload := []byte("a:1|c")
	allocs := testing.AllocsPerRun(100, func() {
		for range 10 {
			if _, err := conn.Write(payload); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := receive(); n != 10 || err != nil {
			t.Fatal(n, err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations per batch", allocs)
	}
}

// TestUDP has no sender.
func TestUDP(t *testing.T) {
	f := func(address string) {
		t.Helper()
		s, err := transport.ListenUDP(transport.UDPOptions{Address: address})
		require.NoError(t, err)
		defer s.Close()
		box := run(t, s, nil)
		conn, err := net.Dial("udp", net.JoinHostPort("127.0.0.1", fmt.Sprint(s.Addr().Port)))
		require.NoError(t, err)
		defer conn.Close()
		write(t, conn, "a:1|c")
		write(t, conn, strings.Repeat("z", 8193))
		got := box.await(t, 2)
		require.Equal(t, "a:1|c", string(got[0].Payload))
		require.Equal(t, []any{transport.NoPID, uint32(transport.NoUID), -1, false}, []any{got[0].PID, got[0].UID, got[0].PidFD, got[0].Truncated})
		require.True(t, got[1].Truncated)
		require.Len(t, got[1].Payload, 8192)
		require.NoError(t, s.Close())
	}
	f("127.0.0.1:0")
	f(":0")
}

// TestUDPQueue fills it: no fewer small datagrams fit than the Report says.
func TestUDPQueue(t *testing.T) {
	s, err := transport.ListenUDP(transport.UDPOptions{Address: "127.0.0.1:0", QueueBytes: 100_000})
	require.NoError(t, err)
	defer s.Close()
	conn, err := net.DialUDP("udp", nil, s.Addr())
	require.NoError(t, err)
	defer conn.Close()
	for range 2 * s.Report().Depth {
		write(t, conn, strings.Repeat("z", 138))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got := 0
	require.NoError(t, s.Run(ctx, reader(func(batch []transport.Datagram) { got += len(batch) })))
	t.Logf("depth %d, took %d", s.Report().Depth, got)
	require.GreaterOrEqual(t, got, s.Report().Depth)
}

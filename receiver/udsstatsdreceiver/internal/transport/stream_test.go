package transport_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/dogstatsd"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/transport"
)

// visit is what became of one connection.
type visit struct {
	peer   transport.Peer
	frames []string
	reason error
	counts dogstatsd.Counts
}

// desk admits up to most connections and collects visits that have ended.
type desk struct {
	most  int
	begun chan struct{}
	ended chan *visit

	mu   sync.Mutex
	open int
}

func (d *desk) admit(peer *transport.Peer) (transport.Session, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open >= d.most {
		return transport.Session{}, false
	}
	d.open++
	v := &visit{peer: *peer}
	return transport.Session{
		Counts: &v.counts,
		Frame: func(payload []byte) {
			v.frames = append(v.frames, string(payload))
			d.begun <- struct{}{}
		},
		End: func(reason error) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.open--
			v.reason = reason
			d.ended <- v
		},
	}, true
}

// accept runs a listener until the test ends. Its end function ends it sooner.
func accept(t *testing.T, o transport.StreamOptions, most int) (d *desk, l *transport.Listener, end func()) {
	t.Helper()
	d = &desk{most: most, begun: make(chan struct{}, 1000), ended: make(chan *visit, 1000)}
	l, err := transport.ListenStream(o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx, d.admit) }()
	end = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
		require.Zero(t, l.Stats().Open)
		require.NoError(t, l.Close())
	})
	t.Cleanup(end)
	return d, l, end
}

func TestFrames(t *testing.T) {
	path := room(t)
	d, l, _ := accept(t, transport.StreamOptions{Path: path}, 10)
	f := func(sent string, want error, frames ...string) {
		t.Helper()
		conn := dial(t, "unix", path)
		write(t, conn, sent)
		require.NoError(t, conn.CloseWrite())
		v := <-d.ended
		require.Equal(t, frames, v.frames)
		if want == nil {
			require.NoError(t, v.reason)
			require.True(t, v.counts.Empty())
		} else {
			require.ErrorIs(t, v.reason, want)
			require.False(t, v.counts.Empty())
		}
		// It is closed towards the peer as well.
		_, err := conn.Read(make([]byte, 1))
		require.Error(t, err)
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	}
	long := strings.Repeat("x", dogstatsd.MaxFrame)
	f("", nil)
	f(frame("a:1|c"), nil, "a:1|c")
	f(frame("a:1|c")+frame("b:2|g"), nil, "a:1|c", "b:2|g")
	f(frame(long)+frame("b:2|g"), nil, long, "b:2|g")
	f(frame("a:1|c")+frame(long+"x"), dogstatsd.ErrFrameTooLong, "a:1|c")
	f("\xff\xff\xff\xff", dogstatsd.ErrFrameTooLong)
	f(frame("a:1|c")+frame("b:2|g")[:6], io.ErrUnexpectedEOF, "a:1|c")
	f("\x05\x00", io.ErrUnexpectedEOF)
	f(frame("a:1|c")+frame(""), dogstatsd.ErrFrameEmpty, "a:1|c")
	require.Equal(t, uint64(9), l.Stats().Accepted)
	require.Equal(t, uint64(8), l.Stats().Frames)
}

// TestManyConnections send at the same time, each its frames in order.
func TestManyConnections(t *testing.T) {
	path := room(t)
	d, l, _ := accept(t, transport.StreamOptions{Path: path}, 100)
	const connections, each = 20, 20
	var group sync.WaitGroup
	for c := range connections {
		conn := dial(t, "unix", path)
		group.Go(func() {
			for i := range each {
				_, _ = conn.Write([]byte(frame(fmt.Sprintf("%d:%d", c, i))))
			}
			_ = conn.Close()
		})
	}
	group.Wait()
	seen := map[string]bool{}
	for range connections {
		v := <-d.ended
		require.Len(t, v.frames, each)
		who, _, _ := strings.Cut(v.frames[0], ":")
		seen[who] = true
		for i, text := range v.frames {
			require.Equal(t, fmt.Sprintf("%s:%d", who, i), text)
		}
	}
	require.Len(t, seen, connections)
	require.Equal(t, uint64(connections*each), l.Stats().Frames)
}

func TestStreamPeer(t *testing.T) {
	path := room(t)
	d, l, _ := accept(t, transport.StreamOptions{Path: path, PidFDs: true}, 10)
	require.True(t, l.Report().PidFDs)
	conn := dial(t, "unix", path)
	write(t, conn, frame("a:1|c"))
	<-d.begun
	before := descriptors(t)
	require.NoError(t, conn.Close())
	v := <-d.ended
	require.Equal(t, os.Getpid(), v.peer.PID)
	require.Equal(t, uint32(os.Geteuid()), v.peer.UID)
	if v.peer.PidFD < 0 {
		testkit.Lack(t, testkit.Feature{Name: "SO_PEERPIDFD", MinKernel: "6.5"}, errors.New("no descriptor"))
	}
	// Both ends of the connection and the descriptor of the process go.
	testkit.Eventually(t, patience, func() error {
		if now := descriptors(t); now > before-3 {
			return fmt.Errorf("%d descriptors, %d before", now, before)
		}
		return nil
	})
}

func TestRefusedConnection(t *testing.T) {
	path := room(t)
	d, l, _ := accept(t, transport.StreamOptions{Path: path}, 1)
	first := dial(t, "unix", path)
	write(t, first, frame("a:1|c"))
	<-d.begun
	_, err := dial(t, "unix", path).Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, uint64(1), l.Stats().Refused)
	require.Equal(t, int64(1), l.Stats().Open)

	require.NoError(t, first.Close())
	<-d.ended
	write(t, dial(t, "unix", path), frame("b:2|g"))
	<-d.begun
}

func TestIdleConnection(t *testing.T) {
	path := room(t)
	d, _, _ := accept(t, transport.StreamOptions{Path: path, IdleTimeout: 300 * time.Millisecond}, 1)
	f := func(sent string, partial uint64) {
		t.Helper()
		conn := dial(t, "unix", path)
		write(t, conn, sent)
		v := <-d.ended
		require.ErrorIs(t, v.reason, transport.ErrIdle)
		require.Equal(t, []string{"a:1|c"}, v.frames)
		require.Equal(t, partial, v.counts.Of(dogstatsd.FramePartial))
	}
	f(frame("a:1|c"), 0)
	f(frame("a:1|c")+"\x05", 1)
}

// TestStreamEnd comes while a frame is being handled and others are in the
// socket: they are handed over still. A peer that sends nothing is not waited for.
func TestStreamEnd(t *testing.T) {
	path := room(t)
	l, err := transport.ListenStream(transport.StreamOptions{Path: path})
	require.NoError(t, err)
	begun, hold := make(chan struct{}), make(chan struct{})
	frames := 0 // by one peer
	var reasons []error
	var mu sync.Mutex
	session := transport.Session{
		Frame: func([]byte) {
			if frames++; frames == 1 {
				close(begun)
				<-hold
			}
		},
		End: func(reason error) {
			mu.Lock()
			defer mu.Unlock()
			reasons = append(reasons, reason)
		},
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx, func(*transport.Peer) (transport.Session, bool) { return session, true }) }()
	dial(t, "unix", path)
	busy := dial(t, "unix", path)
	write(t, busy, frame("a:1|c"))
	<-begun
	for range 3 {
		write(t, busy, frame(strings.Repeat("x", 30_000)))
	}
	cancel()
	close(hold)
	require.NoError(t, <-done)
	require.Equal(t, 4, frames)
	require.Equal(t, []error{nil, nil}, reasons)
	require.NoError(t, l.Close())
	require.Empty(t, entries(t, filepath.Dir(path)))
}

// TestKeptListener has a connection made while nobody was there.
func TestKeptListener(t *testing.T) {
	m := newManager(t)
	o := transport.StreamOptions{Path: room(t), Name: "stream", Store: store(t, m)}
	_, first, end := accept(t, o, 1)
	require.NoError(t, first.Report().NotKept)
	_, fd := m.receive(t)
	end()
	require.NoError(t, o.Store.Close())
	conn := dial(t, "unix", o.Path)
	write(t, conn, frame("between"))

	o.Store = store(t, m)
	o.Store.Hold("stream", fd)
	d, second, _ := accept(t, o, 2) // the check of the path connects too
	_, copied := m.receive(t)
	require.NoError(t, unix.Close(copied))
	require.True(t, second.Report().Restored)
	<-d.begun
	require.NoError(t, conn.Close())
	testkit.Eventually(t, patience, func() error {
		if v := <-d.ended; len(v.frames) != 1 || v.frames[0] != "between" {
			return fmt.Errorf("frames %q", v.frames)
		}
		return nil
	})
}

func TestStreamClosed(t *testing.T) {
	l, err := transport.ListenStream(transport.StreamOptions{Path: room(t)})
	require.NoError(t, err)
	require.NoError(t, l.Close())
	require.NoError(t, l.Close())
	require.ErrorIs(t, l.Run(t.Context(), nil), net.ErrClosed)
}

func frame(payload string) string {
	return string(binary.LittleEndian.AppendUint32(nil, uint32(len(payload)))) + payload
}

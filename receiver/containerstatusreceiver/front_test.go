package containerstatusreceiver

import (
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// front is a socket in front of an engine's that can be opened and closed, so
// that one engine can be away for one receiver only.
type front struct {
	t        *testing.T
	path     string
	upstream string

	mu          sync.Mutex
	listener    net.Listener
	connections map[net.Conn]bool
	serving     sync.WaitGroup
}

// newFront is closed at first, and closed for good at the end of the test.
func newFront(t *testing.T, upstream string) *front {
	t.Helper()
	f := &front{t: t, path: filepath.Join(t.TempDir(), "docker.sock"), upstream: upstream, connections: map[net.Conn]bool{}}
	t.Cleanup(f.close)
	return f
}

func (f *front) open() {
	f.t.Helper()
	listener, err := net.Listen("unix", f.path)
	require.NoError(f.t, err)
	f.mu.Lock()
	f.listener = listener
	f.mu.Unlock()
	f.serving.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			f.serving.Go(func() { f.forward(c) })
		}
	})
}

// close ends all connections and waits for them. It may be called twice.
func (f *front) close() {
	f.mu.Lock()
	if f.listener != nil {
		_ = f.listener.Close() // removes the socket
		f.listener = nil
	}
	for c := range f.connections {
		_ = c.Close()
	}
	f.mu.Unlock()
	f.serving.Wait()
}

func (f *front) forward(client net.Conn) {
	engine, err := net.Dial("unix", f.upstream)
	if err != nil {
		_ = client.Close()
		return
	}
	if !f.track(client, engine) {
		return
	}
	defer f.forget(client, engine)
	f.serving.Go(func() {
		_, _ = io.Copy(engine, client)
		_ = engine.Close()
	})
	_, _ = io.Copy(client, engine)
	_ = client.Close()
}

// track refuses, and closes, what comes after the end.
func (f *front) track(both ...net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range both {
		if f.listener == nil {
			_ = c.Close()
			continue
		}
		f.connections[c] = true
	}
	return f.listener != nil
}

func (f *front) forget(both ...net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range both {
		delete(f.connections, c)
	}
}

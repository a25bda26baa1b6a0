package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"

	"github.com/tallymanhq/tallyman/internal/unixsocket"
)

// ErrOpen says that everybody in the network could read the recorder.
var ErrOpen = errors.New("beyond loopback a token or client certificates are needed")

// listener is an open endpoint.
type listener struct {
	net.Listener
	socket *unixsocket.Listener // nil for TCP
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

// listenUnix makes the socket, see [unixsocket.Listen].
func listenUnix(ctx context.Context, path string, mode fs.FileMode) (*listener, error) {
	socket, err := unixsocket.Listen(ctx, path, func(file string) error { return os.Chmod(file, mode) })
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return &listener{Listener: socket, socket: socket}, nil
}

// remove takes the name of a Unix socket away, if it still is ours.
func (l *listener) remove() {
	if l.socket != nil {
		_ = l.socket.Remove() // at worst a socket stays that the next start replaces
	}
}

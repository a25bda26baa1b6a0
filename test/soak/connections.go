package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// loopbacks are addresses of the server: as many times the ports that a client can
	// come from.
	loopbacks = 4
	// byContainer is of how many connections one goes to a container's server.
	byContainer = 20
	// byReset is of how many connections one ends by a reset.
	byReset = 10
	// answerWithin bounds an exchange on a busy machine.
	answerWithin = 5 * time.Second
	// requestSize and replySize are bytes.
	requestSize, replySize = 16, 32
)

// connections makes TCP connections with one exchange each.
type connections struct {
	listeners []net.Listener
	serving   sync.WaitGroup
	container func() string // host:port of a container's server; "": there is none now
}

func newConnections(container func() string) (*connections, error) {
	c := &connections{container: container}
	for i := range loopbacks {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.1.%d:0", i+1))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("serve connections: %w", err), c.close())
		}
		c.listeners = append(c.listeners, l)
		c.serving.Go(func() { c.serve(l) })
	}
	return c, nil
}

// serve ends with its listener.
func (c *connections) serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		c.serving.Go(func() {
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(answerWithin))
			if _, err := io.ReadFull(conn, make([]byte, requestSize)); err == nil {
				_, _ = conn.Write(make([]byte, replySize))
			}
		})
	}
}

// once makes a connection. The server closes first, unless it ends by a reset.
func (c *connections) once(ctx context.Context, n int64) error {
	address, request := c.listeners[n%loopbacks].Addr().String(), make([]byte, requestSize)
	if web := c.container(); web != "" && n%byContainer == 0 {
		address, request = web, []byte("GET / HTTP/1.0\r\n\r\n")
	}
	dialer := net.Dialer{Timeout: answerWithin}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return err // it names the address
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(answerWithin))
	if _, err := conn.Write(request); err != nil {
		return err
	}
	if n%byReset == 1 {
		_ = conn.(*net.TCPConn).SetLinger(0) // what "tcp" is
		_, err := io.ReadFull(conn, make([]byte, replySize))
		return err
	}
	_, err = io.Copy(io.Discard, conn)
	return err
}

func (c *connections) close() error {
	var errs []error
	for _, l := range c.listeners {
		errs = append(errs, l.Close())
	}
	c.serving.Wait()
	return errors.Join(errs...)
}

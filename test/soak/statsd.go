package main

import (
	"context"
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	// names of metrics that come again and again, each from every client.
	names = 200
	// clients are tags and sockets at a time.
	clients = 20
	// messages in a datagram.
	messages = 10
	// fresh is after how many datagrams one has a name that never comes again: 100
	// a second of the default rate.
	fresh = 50
	// redial is after how many datagrams a client is a new one, by its socket.
	redial = 500
)

// statsd floods the socket. Each client is one worker's at a time.
type statsd struct {
	path string
	free chan *sender
	next atomic.Int64 // numbers metrics
}

// sender is a client's socket, or the lack of one.
type sender struct {
	number, sent, fd int
}

func newStatsd(path string) *statsd {
	s := &statsd{path: path, free: make(chan *sender, clients)}
	for i := range clients {
		s.free <- &sender{number: i, fd: -1}
	}
	return s
}

// once sends a datagram. What the socket refuses is lost, as with any client that
// does not wait.
func (s *statsd) once(_ context.Context, n int64) error {
	c := <-s.free
	defer func() { s.free <- c }()
	if c.sent++; c.sent%redial == 0 {
		c.close()
	}
	if c.fd < 0 {
		fd, err := dial(s.path)
		if err != nil {
			return err
		}
		c.fd = fd
	}
	if err := unix.Send(c.fd, s.datagram(c.number, n), 0); err != nil {
		if err != unix.EAGAIN {
			c.close()
		}
		return fmt.Errorf("send to %s: %w", s.path, err)
	}
	return nil
}

func (c *sender) close() {
	if c.fd >= 0 {
		_ = unix.Close(c.fd)
	}
	c.fd = -1
}

// datagram has counters, gauges, timers and histograms in turn.
func (s *statsd) datagram(client int, n int64) []byte {
	var text []byte
	if n%fresh == 0 {
		text = fmt.Appendf(text, "soak.once.%d:1|c\n", n)
	}
	for range messages {
		i := s.next.Add(1)
		kind := []string{"c", "g", "ms", "h"}[i%4]
		text = fmt.Appendf(text, "soak.metric.%d:%d|%s|#client:%d,env:production\n", i%names, i%1000, kind, client)
	}
	return text
}

func (s *statsd) close() {
	for range clients {
		(<-s.free).close()
	}
}

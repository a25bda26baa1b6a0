package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	workers  = 8
	upload   = 16 // bytes of a connection
	download = 32
	// patience is ample for one connection on a loaded machine.
	patience = 30 * time.Second
)

// serve answers connections, in the background and for as long as the process lives.
func serve() error {
	l, err := net.Listen("tcp4", server().String())
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				fmt.Fprintln(os.Stderr, "bench-conntrack: server:", err)
				return
			}
			go answer(c)
		}
	}()
	return nil
}

// answer lets the client close first: its is the side that keeps the port.
func answer(c net.Conn) {
	defer c.Close()
	var b [download]byte
	if _, err := io.ReadFull(c, b[:upload]); err != nil {
		return
	}
	if _, err := c.Write(b[:]); err != nil {
		return
	}
	_, _ = c.Read(b[:])
}

// connectAll makes n connections, by all workers together.
func connectAll(n int) error {
	var left atomic.Int64
	left.Store(int64(n))
	failed := make(chan error, workers)
	var working sync.WaitGroup
	for i := range workers {
		working.Go(func() {
			dialer := net.Dialer{
				LocalAddr: &net.TCPAddr{IP: net.ParseIP(clientAddress(i))},
				Control:   chooseLate,
				Timeout:   patience,
			}
			for left.Add(-1) >= 0 {
				if err := connect(&dialer); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	working.Wait()
	close(failed)
	var all []error
	for err := range failed {
		all = append(all, err)
	}
	return errors.Join(all...)
}

// chooseLate leaves the port to connect(2), which knows the other end: bind(2) would
// only take one that nobody has.
func chooseLate(_, _ string, raw syscall.RawConn) (err error) {
	failed := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
	return errors.Join(failed, err)
}

func connect(dialer *net.Dialer) error {
	c, err := dialer.DialContext(context.Background(), "tcp4", published().String())
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	var b [download]byte
	if _, err := c.Write(b[:upload]); err != nil {
		return err
	}
	_, err = io.ReadFull(c, b[:])
	return err
}

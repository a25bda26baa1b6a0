package connstream_test

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/connstream"
)

// A stream that never looks by itself is woken by the first record after any pause,
// and finds those that follow it within the pause.
func TestRecordsWakeTheReader(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	tp, _ := open(t, connstream.Options{}.WithoutLooks())
	inNetns(t, func(netns uint64) error {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		for n := range 60 {
			client, err := net.Dial("tcp4", l.Addr().String())
			if err != nil {
				return err
			}
			server, err := l.Accept()
			if err != nil {
				return err
			}
			_ = client.Close()
			<-time.After(time.Duration(n%4) * 25 * time.Millisecond) // within the pause, and after it
			if err := server.Close(); err != nil {
				return err
			}
			if _, err := tp.await(netns, 2*n+2); err != nil {
				return err
			}
		}
		return nil
	})
}

// Records that come while the last ones are handled, which takes longer than the reader
// stays awake, and that wake nobody because others just have, are found too.
func TestRecordsAreFoundBehindASlowHandler(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	tp, _ := open(t, connstream.Options{}.WithoutLooks())
	inNetns(t, func(netns uint64) error {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		for n := range 5 {
			first, err := connect(l)
			if err != nil {
				return err
			}
			second, err := connect(l)
			if err != nil {
				return err
			}
			release := tp.pause()
			err = first.close()
			if err == nil {
				_, err = tp.await(netns, 4*n+1)
			}
			err = errors.Join(err, second.close())
			<-time.After(100 * time.Millisecond)
			release()
			if err != nil {
				return err
			}
			if _, err := tp.await(netns, 4*n+4); err != nil {
				return err
			}
		}
		return nil
	})
}

// connection is both ends of one.
type connection struct{ client, server net.Conn }

func connect(l net.Listener) (c connection, err error) {
	if c.client, err = net.Dial("tcp4", l.Addr().String()); err != nil {
		return c, err
	}
	c.server, err = l.Accept()
	return c, err
}

func (c connection) close() error { return errors.Join(c.client.Close(), c.server.Close()) }

// pause stops the stream with the next batch, until release.
func (tp *tape) pause() (release func()) {
	hold := make(chan struct{})
	set := func(c chan struct{}) {
		tp.mu.Lock()
		defer tp.mu.Unlock()
		tp.hold = c
	}
	set(hold)
	return func() { set(nil); close(hold) }
}

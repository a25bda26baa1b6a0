package connstream_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/connstream"
)

// A server that works for 50 ms before it answers takes 50 ms, at both ends, and
// each exchange is in the bucket of its time.
func TestResponseTime(t *testing.T) {
	const requests, work = 6, 50 * time.Millisecond
	_, s := open(t, measuring())
	needIO(t, s)
	f := func(netns uint64, address string) error {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		defer l.Close()
		begun := connstream.Now()
		for range requests / 2 { // on connections of their own, and two on each
			if err := (dialogue{requests: 2, asks: 1, answers: 1, wait: work}).hold(l); err != nil {
				return err
			}
		}
		port := addrOf(l).Port()
		if err := both(s, netns, port, requests); err != nil {
			return fmt.Errorf("%s: %w", address, err)
		}
		client, server, err := timesAt(s, netns, port)
		if err != nil {
			return err
		}
		// The buckets from 2^-4.5 s (44 ms) on: that of 50 ms, and above.
		late, first := uint64(0), expohistBucket(work.Seconds())
		for _, n := range server.Buckets[first-connstream.FirstBucket:] {
			late += n
		}
		switch {
		case late != requests || server.Min < work || server.Max > patience:
			return fmt.Errorf("%s: server %+v: %w", address, server, errWrong)
		// The client's time begins when its send returns: on a busy machine the
		// server has begun to work by then.
		case client.Min < work/2 || client.Max > patience:
			return fmt.Errorf("%s: client %+v: %w", address, client, errWrong)
		case server.Start < begun || server.Start > connstream.Now()-requests*work:
			return fmt.Errorf("%s: server began at %v, not %v: %w", address, server.Start, begun, errWrong)
		}
		return nil
	}
	inNetns(t, func(netns uint64) error {
		return errors.Join(f(netns, "127.0.0.1:0"), f(netns, "[::1]:0"), f(netns, "[::]:0"))
	})
	require.NoError(t, f(inode(t, "/proc/thread-self/ns/net"), "127.0.0.1:0"))
	require.Zero(t, s.Stats().ResponsesFull)
}

// What counts as an exchange, and what does not.
func TestExchanges(t *testing.T) {
	f := func(name string, d dialogue, want int) {
		t.Run(name, func(t *testing.T) {
			_, s := open(t, measuring())
			needIO(t, s)
			inNetns(t, func(netns uint64) error {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					return err
				}
				defer l.Close()
				if err := d.hold(l); err != nil {
					return err
				}
				return both(s, netns, addrOf(l).Port(), want)
			})
		})
	}
	f("keep-alive", dialogue{requests: 100, asks: 1, answers: 1}, 100)
	f("answer in pieces", dialogue{requests: 10, asks: 1, answers: 5}, 10)
	f("request in pieces", dialogue{requests: 10, asks: 5, answers: 1}, 10)
	f("only asks", dialogue{requests: 100, asks: 1}, 0)
	f("only answers", dialogue{requests: 100, answers: 1}, 0)
	f("server first", dialogue{greets: true}, 0)
	f("server first, then one", dialogue{greets: true, requests: 1, asks: 1, answers: 1}, 1)
}

// To look at what has come without taking it is not yet to read it.
func TestPeek(t *testing.T) {
	const work = 50 * time.Millisecond
	_, s := open(t, measuring())
	needIO(t, s)
	inNetns(t, func(netns uint64) error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		served := make(chan error, 1)
		go func() {
			c, err := l.Accept()
			if err == nil {
				err = (dialogue{requests: 1, asks: 1, answers: 1}).respond(c)
			}
			served <- err
		}()
		c, err := dial(addrOf(l))
		if err != nil {
			return err
		}
		defer c.Close()
		piece := make([]byte, pieceSize)
		if _, err := c.Write(piece); err != nil {
			return err
		}
		if err := errors.Join(peek(c.(*net.TCPConn)), <-served); err != nil {
			return err
		}
		<-time.After(work)
		if _, err := io.ReadFull(c, piece); err != nil {
			return err
		}
		client, _, err := timesAt(s, netns, addrOf(l).Port())
		if err == nil && client.Min < work {
			err = fmt.Errorf("%+v: %w", client, errWrong)
		}
		return errors.Join(err, counted(&client, 1))
	})
}

// peek waits for something to read.
func peek(c *net.TCPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var peeked error
	err = raw.Read(func(fd uintptr) bool {
		_, _, peeked = unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return !errors.Is(peeked, unix.EAGAIN)
	})
	return errors.Join(err, peeked)
}

// Of a connection that was there before the stream, the server's end is measured
// once its listener is told of. Which end the other is nobody knows.
func TestExchangesThereBefore(t *testing.T) {
	testkit.NeedBPF(t)
	inNetns(t, func(netns uint64) error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		d, served := dialogue{requests: 10, asks: 1, answers: 1}, make(chan error, 1)
		c, err := dial(addrOf(l))
		if err != nil {
			return err
		}
		defer c.Close()
		accepted, err := l.Accept()
		if err != nil {
			return err
		}
		_, s, err := start(measuring())
		if err != nil {
			return err
		}
		defer s.Close()
		if s.Programs()["on_send"] != nil || s.Programs()["on_receive"] != nil {
			return nil // TestProgramsOfIO says so
		}
		if err := s.Seed([]connstream.Listener{{Netns: netns, Local: addrOf(l), PID: 4711, Comm: "seeded"}}); err != nil {
			return err
		}
		go func() { served <- d.respond(accepted) }()
		if err := errors.Join(d.request(c), <-served); err != nil {
			return err
		}
		client, server, err := timesAt(s, netns, addrOf(l).Port())
		// The first receive only makes the connection known.
		return errors.Join(err, counted(&client, 0), counted(&server, d.requests-1))
	})
}

// The cgroups of the key are those of the process.
func TestResponsesOfCgroup(t *testing.T) {
	testkit.NeedUnified(t)
	testkit.NeedCgroup(t, "memory")
	g := testkit.Cgroup(t, "connstream")
	unified, memory := inode(t, g.Dir("")), inode(t, g.Dir("memory"))
	own, err := os.Executable()
	require.NoError(t, err)
	_, s := open(t, measuring())
	needIO(t, s)
	cmd := testkit.Run(t, g, "env", loadEnv+"=8", exchangesEnv+"=25", own)
	require.NoError(t, cmd.Wait())
	counts := map[connstream.Direction]uint64{}
	require.NoError(t, s.Responses(func(k connstream.ResponseKey, r *connstream.ResponseTimes) {
		if k.Cgroup == unified && k.MemoryCgroup == memory {
			counts[k.Direction] += r.Count()
		}
	}))
	require.Equal(t, map[connstream.Direction]uint64{connstream.Outgoing: 200, connstream.Incoming: 200}, counts)
}

// Exchanges of more keys than there may be are counted as lost.
func TestResponsesFull(t *testing.T) {
	const servers, requests = 4, 10
	o := measuring()
	o.MaxResponses = 1
	_, s := open(t, o)
	needIO(t, s)
	inNetns(t, func(uint64) error {
		for range servers {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			defer l.Close()
			if err := (dialogue{requests: requests, asks: 1, answers: 1}).hold(l); err != nil {
				return err
			}
		}
		return poll(func() error {
			if got := s.Stats().ResponsesFull; got < (2*servers-1)*requests {
				return fmt.Errorf("%d lost: %w", got, errNotYet)
			}
			return nil
		})
	})
}

// A key that is not used makes room, and begins anew.
func TestResponsesForgotten(t *testing.T) {
	_, s := open(t, measuring())
	needIO(t, s)
	inNetns(t, func(netns uint64) error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		d, port := dialogue{requests: 3, asks: 1, answers: 1}, addrOf(l).Port()
		if err := errors.Join(d.hold(l), d.hold(l), both(s, netns, port, 6)); err != nil {
			return err
		}
		_, before, err := timesAt(s, netns, port)
		if err != nil {
			return err
		}
		there := func(since time.Duration) (n int, err error) {
			err = s.ResponsesAt(connstream.Now()+since, func(k connstream.ResponseKey, _ *connstream.ResponseTimes) {
				if k.Netns == netns {
					n++
				}
			})
			return n, err
		}
		if n, err := there(9 * time.Minute); n != 2 || err != nil {
			return fmt.Errorf("%d keys after nine minutes (%v): %w", n, err, errWrong)
		}
		if n, err := there(11 * time.Minute); n != 0 || err != nil {
			return fmt.Errorf("%d keys after eleven minutes (%v): %w", n, err, errWrong)
		}
		if err := errors.Join(both(s, netns, port, 0), d.hold(l), both(s, netns, port, 3)); err != nil {
			return err
		}
		_, after, err := timesAt(s, netns, port)
		if err == nil && after.Start <= before.Start {
			err = fmt.Errorf("began at %v and again at %v: %w", before.Start, after.Start, errWrong)
		}
		return err
	})
}

// All keys of a full map are read, each once.
func TestResponsesAll(t *testing.T) {
	const keys = 4096
	o := measuring()
	o.MaxResponses = 2 * keys // this host has some of its own
	_, s := open(t, o)
	needIO(t, s)
	require.NoError(t, s.Keep(keys, connstream.Now()))
	seen := map[uint64]int{}
	read := func(now time.Duration) {
		clear(seen)
		require.NoError(t, s.ResponsesAt(now, func(k connstream.ResponseKey, r *connstream.ResponseTimes) {
			if k.Netns == 1 {
				seen[k.Cgroup] += int(r.Count())
			}
		}))
	}
	read(connstream.Now())
	require.Len(t, seen, keys)
	for cgroup, n := range seen {
		require.Equal(t, 1, n, "key %d", cgroup)
	}
	read(connstream.Now() + 11*time.Minute)
	require.Empty(t, seen)
	read(connstream.Now())
	require.Empty(t, seen)
}

// Without the option, and after Close, there are none.
func TestResponsesNone(t *testing.T) {
	none := func(connstream.ResponseKey, *connstream.ResponseTimes) { t.Error("called") }
	_, s := open(t, connstream.Options{IO: true})
	inNetns(t, func(uint64) error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		return (dialogue{requests: 10, asks: 1, answers: 1}).hold(l)
	})
	require.NoError(t, s.Responses(none))
	_, s = open(t, measuring())
	s.Close()
	require.ErrorIs(t, s.Responses(none), os.ErrClosed)
}

// A kernel without the trace points has the records all the same.
func TestIORefused(t *testing.T) {
	testkit.NeedBPF(t)
	f := func(o connstream.Options, refused ...string) {
		t.Helper()
		tp := &tape{}
		o.Handle, o.Lost = tp.handle, tp.loss
		s, err := connstream.OpenRefused(o, refused...)
		require.NoError(t, err)
		defer s.Close()
		require.NoError(t, s.Programs()["on_state"])
		for _, name := range refused {
			require.ErrorContains(t, s.Programs()[name], "no_such_trace_point")
		}
		inNetns(t, func(netns uint64) error {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			defer l.Close()
			if err := (dialogue{requests: 10, asks: 1, answers: 1}).hold(l); err != nil {
				return err
			}
			if all, err := tp.await(netns, 2); err != nil || len(all) != 2 {
				return fmt.Errorf("%d records (%v): %w", len(all), err, errWrong)
			}
			return both(s, netns, addrOf(l).Port(), 0)
		})
	}
	f(connstream.Options{IO: true}, "on_send", "on_receive")
	f(measuring(), "on_send", "on_receive")
	f(measuring(), "on_send")
	f(measuring(), "on_receive")
}

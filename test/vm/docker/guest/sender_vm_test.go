//go:build vmdocker

package guest

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const (
	statsdSocket = socketDir + "/dsd.socket"
	queryURL     = "http://localhost:9480/api/v1/query"
	// first is how many datagrams go out before the step, as fast as they can; the rest follows at a steady pace, which for
	// the time of an upgrade is less.
	first = 20_000
	// steady is the pause between two of them: 100 in a second.
	steady = 10 * time.Millisecond
	// clients take turns. A socket's send buffer holds 278 small datagrams that nobody has read yet, whatever the depth of
	// the receiver's queue: one client of that pace would have none left after three seconds of this machine.
	clients = 20
)

// sender counts one counter up in datagrams until it is stopped. As clients do, it waits for nothing: a datagram that finds
// the queue full is lost, which is an error here.
type sender struct {
	done chan struct{}
	end  chan struct{}
	sent atomic.Int64
	err  error // to be read after done
	base int   // what was recorded before
}

func startSender(t *testing.T) *sender {
	t.Helper()
	base, err := totalSent()
	require.NoError(t, err)
	s := &sender{done: make(chan struct{}), end: make(chan struct{}), base: base}
	var conns []*net.UnixConn
	for range clients {
		conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: statsdSocket, Net: "unixgram"})
		require.NoError(t, err)
		conns = append(conns, conn)
	}
	go func() {
		defer close(s.done)
		s.run(conns)
		for _, conn := range conns {
			s.err = errors.Join(s.err, conn.Close())
		}
	}()
	return s
}

func (s *sender) run(conns []*net.UnixConn) {
	datagram := []byte("package.sent:1|c")
	for range first { // there is no step yet: this may wait
		_, s.err = conns[0].Write(datagram)
		if s.err != nil {
			return
		}
		s.sent.Add(1)
	}
	pace := time.NewTicker(steady)
	defer pace.Stop()
	for n := 0; ; n++ {
		s.err = sendNow(conns[n%clients], datagram)
		if s.err != nil {
			return
		}
		s.sent.Add(1)
		select {
		case <-s.end:
			return
		case <-pace.C:
		}
	}
}

// sendNow sends a datagram, or returns EAGAIN where the queue is full.
func sendNow(conn *net.UnixConn, datagram []byte) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var sendErr error
	err = raw.Write(func(fd uintptr) bool {
		_, sendErr = unix.Write(int(fd), datagram) // Go's descriptors do not block
		return true
	})
	return errors.Join(err, sendErr)
}

// stop returns how many datagrams were sent.
func (s *sender) stop(t *testing.T) int {
	t.Helper()
	close(s.end)
	<-s.done
	require.NoError(t, s.err, "after %d datagrams", s.sent.Load())
	return int(s.sent.Load())
}

// recorded returns nil once at least so many of this sender's datagrams are in the recorder, and never more than it sent.
func (s *sender) recorded(least int) error {
	total, err := totalSent()
	if err != nil {
		return err
	}
	got := total - s.base
	if most := int(s.sent.Load()); got > most {
		return fmt.Errorf("%w: %d datagrams in the recorder, %d were sent", errDisagree, got, most)
	}
	if got < least {
		return fmt.Errorf("%d datagrams of %d in the recorder: %w", got, least, errWait)
	}
	return nil
}

// recordedSent returns nil if the recorder still has so many from before.
func recordedSent(want int) error {
	got, err := totalSent()
	if err == nil && got != want {
		err = fmt.Errorf("%w: %d datagrams in the recorder, want %d", errDisagree, got, want)
	}
	return err
}

// totalSent asks the recorder how many datagrams of the counter have come, in the lives of all agents.
func totalSent() (int, error) {
	body, err := fetch(queryURL + "?" + url.Values{"query": {`{__name__=~"package_sent.*"}[1h]`}}.Encode())
	if err != nil {
		return 0, err
	}
	samples, err := parseSamples(body)
	return int(sumOfLives(samples)), err
}

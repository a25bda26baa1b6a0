package connstream_test

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"testing"
	"time"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/connstream"
)

// measuring are the options of the tests of response times.
func measuring() connstream.Options { return connstream.Options{ResponseTimes: true} }

// needIO skips where the programs of sends and receives cannot run.
func needIO(t testing.TB, s *connstream.Stream) {
	t.Helper()
	for _, name := range []string{"on_send", "on_receive"} {
		err, there := s.Programs()[name]
		if !there {
			t.Fatalf("program %s is not there", name)
		}
		if err != nil {
			testkit.Lack(t, testkit.Feature{Name: "trace points sock_send_length and sock_recv_length", MinKernel: "6.3"}, err)
		}
	}
}

// dialogue is how a client and a server that know each other's habits talk. All
// pieces are pieceSize bytes.
type dialogue struct {
	requests int
	asks     int           // pieces of a request, each sent by itself
	answers  int           // pieces of an answer, likewise
	wait     time.Duration // of the server before it answers
	greets   bool          // the server sends a piece first
}

const pieceSize = 100

// respond is the server's part.
func (d dialogue) respond(c net.Conn) error {
	defer c.Close()
	piece := make([]byte, pieceSize)
	if d.greets {
		if _, err := c.Write(piece); err != nil {
			return err
		}
	}
	for range d.requests {
		for range d.asks {
			if _, err := io.ReadFull(c, piece); err != nil {
				return err
			}
		}
		if d.wait > 0 {
			<-time.After(d.wait) // the work that the server has
		}
		for range d.answers {
			if _, err := c.Write(piece); err != nil {
				return err
			}
		}
	}
	return nil
}

// request is the client's part. It ends when the server has.
func (d dialogue) request(c net.Conn) error {
	defer c.Close()
	piece := make([]byte, pieceSize)
	if d.greets {
		if _, err := io.ReadFull(c, piece); err != nil {
			return err
		}
	}
	for range d.requests {
		for range d.asks {
			if _, err := c.Write(piece); err != nil {
				return err
			}
		}
		for range d.answers {
			if _, err := io.ReadFull(c, piece); err != nil {
				return err
			}
		}
	}
	if n, err := c.Read(piece); n != 0 || !errors.Is(err, io.EOF) {
		return fmt.Errorf("%d bytes more, %v: %w", n, err, errWrong)
	}
	return nil
}

// hold makes one connection to a listener and holds the dialogue there.
func (d dialogue) hold(l net.Listener) error {
	served := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			err = d.respond(c)
		}
		served <- err
	}()
	c, err := dial(addrOf(l))
	if err != nil {
		return err
	}
	return errors.Join(d.request(c), <-served)
}

// timesAt returns the response times of both ends of the connections to a port,
// and asserts that there is one key for each at the most.
func timesAt(s *connstream.Stream, netns uint64, port uint16) (client, server connstream.ResponseTimes, err error) {
	more := 0
	err = s.Responses(func(k connstream.ResponseKey, r *connstream.ResponseTimes) {
		if k.Netns != netns || k.ServerPort != port {
			return
		}
		into := &client
		if k.Direction == connstream.Incoming {
			into = &server
		}
		if into.Start != 0 || k.Cgroup == 0 || k.Direction == connstream.Unknown {
			more++
		}
		*into = *r
	})
	if err == nil && more > 0 {
		err = fmt.Errorf("%d keys too many, or without a cgroup: %w", more, errWrong)
	}
	return client, server, err
}

// counted asserts the number of exchanges, and that sum and buckets are of the
// same: each value is between its bucket's borders.
func counted(r *connstream.ResponseTimes, want int) error {
	low, high := 0.0, 0.0
	for i, n := range r.Buckets {
		bucket := connstream.FirstBucket + i
		low += float64(n) * border(bucket)
		high += float64(n) * border(bucket+1)
	}
	sum := r.Sum.Seconds()
	switch {
	case r.Count() != uint64(want):
		return fmt.Errorf("%d exchanges, want %d: %w", r.Count(), want, errWrong)
	case want == 0:
		return nil
	case sum < low*(1-1e-9) || sum > high*(1+1e-9):
		return fmt.Errorf("sum of %v s is not in %v .. %v s: %w", sum, low, high, errWrong)
	case r.Min <= 0 || r.Min > r.Max || time.Duration(want)*r.Min > r.Sum || time.Duration(want)*r.Max < r.Sum:
		return fmt.Errorf("%v .. %v, sum %v of %d: %w", r.Min, r.Max, r.Sum, want, errWrong)
	case bucketOf(r, r.Min) == 0 || bucketOf(r, r.Max) == 0:
		return fmt.Errorf("%v .. %v are not in %v: %w", r.Min, r.Max, r.Buckets, errWrong)
	}
	return nil
}

// border is the lower end of a bucket, in seconds.
func border(bucket int) float64 { return math.Exp2(float64(bucket) / 4) }

// bucketOf is the count of the bucket that a time belongs to.
func bucketOf(r *connstream.ResponseTimes, d time.Duration) uint64 {
	return r.Buckets[expohistBucket(d.Seconds())-connstream.FirstBucket]
}

// both asserts that both ends of a port counted so many exchanges.
func both(s *connstream.Stream, netns uint64, port uint16, want int) error {
	client, server, err := timesAt(s, netns, port)
	if err != nil {
		return err
	}
	errClient, errServer := counted(&client, want), counted(&server, want)
	return errors.Join(errClient, errServer)
}

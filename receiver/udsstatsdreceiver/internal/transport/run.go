package transport

import (
	"context"
	"fmt"
	"time"
)

const (
	// pauseFor is how long datagrams wait for each other. 5 ms cost 1.4 µs a
	// datagram at 20,000 a second, 0.2 ms cost 1.7 and 20 ms 1.2 (Linux 6.18).
	pauseFor = 5 * time.Millisecond
	// pausesUntilWait is 50 ms: seldom enough for the cost of a wake-up by the
	// sender to vanish, soon enough for an idle agent to stay idle.
	pausesUntilWait = 10
	// timedDepth is the queue that lost nothing in pauses of 5 ms; one of 10
	// datagrams lost 90 % (4 senders, 20,000 a second, Linux 6.18).
	timedDepth = 4096
)

// Reader takes what a socket receives. It is called by one goroutine.
type Reader interface {
	// Ask comes before each look at the queue.
	Ask()
	// Take is called with 1 to 64 datagrams, which are good until it returns.
	Take([]Datagram)
	// Drained says that there was no more in the queue at some moment since Ask.
	Drained()
}

// Run receives until the context ends or the socket is closed, which are no
// errors, and calls the reader from this goroutine. At its end it hands over what
// is in the queue, also of a socket that is kept: the next one may be long in
// coming, or never come. Several Runs of one socket share its datagrams, in no
// order.
func (s *Socket) Run(ctx context.Context, reader Reader) error {
	ctx, end, err := s.begin(ctx)
	if err != nil {
		return fmt.Errorf("receive datagrams: %w", err)
	}
	defer end()
	wake, err := newAlarm(ctx)
	if err != nil {
		return err
	}
	defer wake.close()
	r := run{s: s, batch: newBatch(s.size, s.control), wake: wake, reader: reader}
	if err := r.loop(); err != nil {
		return fmt.Errorf("receive datagrams: %w", err)
	}
	return nil
}

// run is what one Run has to itself.
type run struct {
	s      *Socket
	batch  *batch
	wake   *alarm
	reader Reader
}

func (r *run) loop() error {
	empty := 0
	for !r.wake.rung() {
		n, err := r.drain(r.wake.rung)
		if err != nil {
			return err
		}
		empty++
		if n > 0 {
			empty = 0
		}
		if err := r.rest(empty); err != nil {
			return err
		}
	}
	return r.last()
}

// drain hands over what is in the queue, until it is empty or stop tells to end.
func (r *run) drain(stop func() bool) (int, error) {
	total := 0
	for {
		r.reader.Ask()
		datagrams, err := r.batch.receive(r.s.fd)
		if err != nil {
			return total, err
		}
		r.count(datagrams)
		if len(datagrams) > 0 {
			r.reader.Take(datagrams)
			release(datagrams)
			total += len(datagrams)
		}
		// Less than a full batch is all that there was.
		if len(datagrams) < batchSize {
			r.reader.Drained()
			return total, nil
		}
		if stop() {
			return total, nil
		}
	}
}

func (r *run) count(datagrams []Datagram) {
	stats := &r.s.stats
	stats.calls.Add(1)
	stats.datagrams.Add(uint64(len(datagrams)))
	stats.attached.Add(r.batch.attached)
	r.batch.attached = 0
	for i := range datagrams {
		if datagrams[i].Truncated {
			stats.truncated.Add(1)
		}
	}
}

// rest waits for the clock while there is traffic, else for a datagram.
func (r *run) rest(empty int) error {
	if r.s.timed && empty < pausesUntilWait {
		r.s.stats.pauses.Add(1)
		r.wake.pause(pauseFor)
		return nil
	}
	r.s.stats.waits.Add(1)
	return r.wake.wait(r.s.fd)
}

// last empties the queue as far as it was filled when the end came: under a flood
// it is never empty.
func (r *run) last() error {
	left := max(r.s.report.Depth, batchSize)
	_, err := r.drain(func() bool {
		left -= batchSize
		return left <= 0
	})
	return err
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// tick is how often a steady sender looks what is due.
	tick = 4 * time.Millisecond
	// floodCheck is after how many datagrams a flood looks whether it is over.
	floodCheck = 64
	// padding makes datagrams as long as those that the receiver was measured
	// with, about 138 bytes.
	padding = "env:production,service:checkout,region:eu-central-1,version:1.4.2,team:payments"
)

// sender is a connected datagram socket whose refusals are seen.
type sender struct{ fd int }

func dial(path string) (*sender, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make socket: %w", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return nil, errors.Join(fmt.Errorf("connect to %q: %w", path, err), unix.Close(fd))
	}
	return &sender{fd: fd}, nil
}

// send reports false if the kernel refused: the queue is full, or too much of
// this sender is in it. A patient one waits until it does not.
func (s *sender) send(datagram []byte, patient bool) (bool, error) {
	for {
		err := unix.Send(s.fd, datagram, 0)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EINTR):
		case !errors.Is(err, unix.EAGAIN):
			return false, fmt.Errorf("send: %w", err)
		case !patient:
			return false, nil
		default:
			wait := []unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLOUT}}
			if _, err := unix.Poll(wait, -1); err != nil && !errors.Is(err, unix.EINTR) {
				return false, fmt.Errorf("wait for socket: %w", err)
			}
		}
	}
}

// outcome is what came of sending.
type outcome struct {
	sent, refused int
	longest       time.Duration // that one datagram took
	err           error
}

// sendSteadily shares the rate among the senders, each with a socket of its own.
func sendSteadily(ctx context.Context, o options, out io.Writer) error {
	outcomes := make([]outcome, o.senders)
	var running sync.WaitGroup
	for i := range outcomes {
		running.Go(func() { outcomes[i] = steady(ctx, o, i) })
	}
	running.Wait()
	var all outcome
	for _, one := range outcomes {
		all.sent += one.sent
		all.refused += one.refused
		all.longest = max(all.longest, one.longest)
		all.err = errors.Join(all.err, one.err)
	}
	fmt.Fprintf(out, "sent %d refused %d longest %s\n", all.sent, all.refused, all.longest)
	return all.err
}

// steady is one sender. One that is patient makes up for what it could not send
// in time; another one must not, or it would itself be the burst that is refused.
func steady(ctx context.Context, o options, number int) outcome {
	var got outcome
	s, err := dial(o.socket)
	if err != nil {
		return outcome{err: err}
	}
	text := fmt.Appendf(nil, "%s:1|c|#%s,sender:%d", o.metric, padding, number)
	perSecond := float64(o.rate) / float64(o.senders)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	began, due := time.Now(), 0.0
	for o.count == 0 || got.sent+got.refused < o.count {
		select {
		case <-ctx.Done():
			return got
		case now := <-ticker.C:
			if due += perSecond * tick.Seconds(); o.patient {
				due = perSecond * now.Sub(began).Seconds()
			}
		}
		for got.sent+got.refused < int(due) && (o.count == 0 || got.sent+got.refused < o.count) && ctx.Err() == nil {
			at := time.Now()
			ok, err := s.send(text, o.patient)
			got.longest = max(got.longest, time.Since(at))
			switch {
			case err != nil:
				got.err = err
				return got
			case ok:
				got.sent++
			default:
				got.refused++
			}
		}
	}
	return got
}

// flood waits only where the kernel makes it.
func flood(ctx context.Context, o options, out io.Writer) error {
	s, err := dial(o.socket)
	if err != nil {
		return err
	}
	text := fmt.Appendf(nil, "%s:1|c|#%s", o.metric, padding)
	sent := 0
	for sent%floodCheck != 0 || ctx.Err() == nil {
		if _, err = s.send(text, true); err != nil {
			break
		}
		sent++
	}
	fmt.Fprintf(out, "sent %d\n", sent)
	return err
}

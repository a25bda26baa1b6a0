package transport

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// alarm ends waits when a context ends.
type alarm struct {
	// fd is an eventfd(2), readable when the context has ended.
	fd   int
	rang atomic.Bool
	// ended is closed when the context has ended.
	ended <-chan struct{}
	// events and timer belong to the goroutine that waits.
	events [2]unix.PollFd
	timer  *time.Timer
	// stop and told end the watch of the context.
	stop func() bool
	told chan struct{}
}

func newAlarm(ctx context.Context) (*alarm, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("make event descriptor: %w", err)
	}
	a := &alarm{fd: fd, ended: ctx.Done(), timer: time.NewTimer(0), told: make(chan struct{})}
	a.stop = context.AfterFunc(ctx, func() {
		defer close(a.told)
		a.rang.Store(true)
		// An eventfd takes 8 bytes in the machine's order; any sum is readable.
		_, _ = unix.Write(a.fd, []byte{1, 1, 1, 1, 1, 1, 1, 1})
	})
	return a, nil
}

func (a *alarm) rung() bool { return a.rang.Load() }

// pause returns when the time is over or the context has ended. It is Go's timer
// and not the timeout of poll(2): a goroutine that waits in a system call again
// and again keeps Go's monitor awake. At 20,000 a second a datagram cost 2.6 to
// 2.9 µs with the one and 1.7 to 2.0 with the other (BenchmarkPaced).
func (a *alarm) pause(d time.Duration) {
	a.timer.Reset(d)
	select {
	case <-a.timer.C:
	case <-a.ended:
	}
}

// wait returns when fd is readable or the context has ended.
func (a *alarm) wait(fd int) error {
	a.events[0] = unix.PollFd{Fd: int32(a.fd), Events: unix.POLLIN}
	a.events[1] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	for {
		_, err := unix.Poll(a.events[:], -1)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait: %w", err)
		}
	}
}

func (a *alarm) close() {
	if !a.stop() {
		<-a.told
	}
	a.timer.Stop()
	_ = unix.Close(a.fd)
}

package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// beat is how often a load looks what is due.
	beat = 20 * time.Millisecond
	// backlog is how much of a second may wait for a free worker. The rest of what
	// a busy machine does not manage is left out, and shows as a lower rate.
	backlog = 10
)

// load does one kind of thing again and again.
type load struct {
	name      string
	perSecond int // 0: not at all
	workers   int
	// once does it once; n counts from 0. Several workers call it at a time.
	once func(ctx context.Context, n int64) error

	done, refused atomic.Int64
	first         atomic.Pointer[error] // of the refusals
}

// run works until ctx ends.
func (l *load) run(ctx context.Context) {
	if l.perSecond == 0 {
		return
	}
	due := make(chan int64, l.perSecond/backlog+1)
	var working sync.WaitGroup
	for range l.workers {
		working.Go(func() {
			for n := range due {
				l.count(ctx, l.once(ctx, n))
			}
		})
	}
	l.beat(ctx, due)
	close(due)
	working.Wait()
}

// beat hands out numbers at the rate.
func (l *load) beat(ctx context.Context, due chan<- int64) {
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	begun := time.Now()
	for next := int64(0); ; {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			for until := int64(now.Sub(begun).Seconds() * float64(l.perSecond)); next < until; next++ {
				select {
				case due <- next:
				default:
				}
			}
		}
	}
}

// count leaves out what the end of the run interrupts.
func (l *load) count(ctx context.Context, err error) {
	switch {
	case err == nil:
		l.done.Add(1)
	case ctx.Err() == nil:
		l.refused.Add(1)
		l.first.CompareAndSwap(nil, &err)
	}
}

// start runs all loads and returns how to end them.
func start(ctx context.Context, loads []*load) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	for _, l := range loads {
		running.Go(func() { l.run(ctx) })
	}
	return func() {
		cancel()
		running.Wait()
	}
}

// pause lets time pass, less if ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

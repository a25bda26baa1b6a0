package engine

import (
	"context"
	"sync/atomic"
	"time"
)

// patience is how long a request waits for its turn. Longer than any healthy
// engine needs for a full queue, shorter than the time-outs of its clients
// (Traefik and the Collector's receivers: 5 s and more).
const patience = 4 * time.Second

// limiter bounds what the engine has to do at the same time.
type limiter struct {
	slots      chan struct{} // one value for each request that is being answered
	queue      int64
	waiting    atomic.Int64
	maxStreams int64
	streams    atomic.Int64
}

func newLimiter(o Options) *limiter {
	return &limiter{slots: make(chan struct{}, o.Concurrency), queue: int64(o.Queue), maxStreams: int64(o.Streams)}
}

// acquire waits for a turn. Waiters get theirs in the order in which they came,
// which is how channels work. The error is a [BusyError] or that of ctx.
func (l *limiter) acquire(ctx context.Context) error {
	select {
	case l.slots <- struct{}{}:
		return nil
	default:
	}
	defer l.waiting.Add(-1)
	if l.waiting.Add(1) > l.queue {
		return busy("queue")
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case l.slots <- struct{}{}:
		return nil
	case <-timer.C:
		return busy("wait")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l *limiter) release() { <-l.slots }

// acquireStream does not wait: streams last, so that waiting for one is futile.
func (l *limiter) acquireStream() error {
	if l.streams.Add(1) > l.maxStreams {
		l.streams.Add(-1)
		return busy("streams")
	}
	return nil
}

func (l *limiter) releaseStream() { l.streams.Add(-1) }

package api

import (
	"context"
	"fmt"
	"sync/atomic"
)

// gate lets a number of queries run and a number of them wait.
type gate struct {
	slots      chan struct{}
	maxWaiting int64

	running, waiting                    atomic.Int64
	total, rejected, timedOut, canceled atomic.Uint64
}

func newGate(running, waiting int) *gate {
	return &gate{slots: make(chan struct{}, running), maxWaiting: int64(waiting)}
}

// enter waits for a turn as long as ctx allows. Call leave when the answer is made.
func (g *gate) enter(ctx context.Context) (leave func(), f *failure) {
	g.total.Add(1)
	select {
	case g.slots <- struct{}{}:
		return g.entered(), nil
	default:
	}
	defer g.waiting.Add(-1)
	if g.waiting.Add(1) > g.maxWaiting {
		g.rejected.Add(1)
		return nil, unavailable(fmt.Sprintf("%d queries run and %d wait already", cap(g.slots), g.maxWaiting))
	}
	select {
	case g.slots <- struct{}{}:
		return g.entered(), nil
	case <-ctx.Done():
		return nil, g.failed(fmt.Errorf("wait for other queries: %w", ctx.Err()))
	}
}

func (g *gate) entered() (leave func()) {
	g.running.Add(1)
	return func() {
		g.running.Add(-1)
		<-g.slots
	}
}

// failed counts and maps the error of a query.
func (g *gate) failed(err error) *failure {
	f := queryFailure(err)
	switch f.kind {
	case "timeout":
		g.timedOut.Add(1)
	case "canceled":
		g.canceled.Add(1)
	}
	return f
}

func (g *gate) stats() QueryStats {
	return QueryStats{
		Running: g.running.Load(), Waiting: g.waiting.Load(), Total: g.total.Load(),
		Rejected: g.rejected.Load(), TimedOut: g.timedOut.Load(), Canceled: g.canceled.Load(),
	}
}

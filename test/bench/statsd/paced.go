package main

import (
	"context"
	"errors"
	"time"
)

const (
	// pacedRate is that of the goal: datagrams per second, of all four senders.
	pacedRate = 20_000
	// usualFlush is our default.
	usualFlush = 10 * time.Second
)

// paced is how much of a core the receiver needs, in percent: of each round.
type paced struct {
	idle, busy []float64
	rate       []float64 // messages per second, one in a datagram
}

func measurePaced(ctx context.Context, o options) (*paced, error) {
	p := &paced{}
	for range o.pacedRounds {
		if err := p.round(ctx, o); err != nil {
			return nil, err
		}
		last := len(p.busy) - 1
		o.note("%.0f datagrams/s: %.2f %% of a core, idle %.2f %%", p.rate[last], p.busy[last], p.idle[last])
	}
	return p, nil
}

func (p *paced) round(ctx context.Context, o options) (err error) {
	end := newSink()
	r, err := ours(nil).start(ctx, usualFlush, end)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	all, err := startSenders(ctx, same(processes, order{Path: r.path, Load: usual(1), Rate: pacedRate / processes}))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, all.close()) }()
	w := window{r: r, end: end, all: all}
	if err := w.warm(ctx); err != nil {
		return err
	}
	share, err := shareOf(func() error { return rest(ctx, o.pacedWindow/2) })
	if err != nil {
		return err
	}
	p.idle = append(p.idle, share)
	sent, err := p.load(o, all)
	if err != nil {
		return err
	}
	w.sent = w.sent.plus(sent)
	if err := r.taken(ctx, w.sent.Messages); err != nil {
		return err
	}
	return w.check(ctx)
}

func (p *paced) load(o options, all senders) (totals, error) {
	stop, err := startProfile(o.file("paced.pprof"))
	if err != nil {
		return totals{}, err
	}
	defer stop()
	begin := time.Now()
	var sent totals
	share, err := shareOf(func() error {
		sent, err = all.send(o.pacedWindow)
		return err
	})
	p.busy = append(p.busy, share)
	p.rate = append(p.rate, float64(sent.Messages)/time.Since(begin).Seconds())
	return sent, err
}

// shareOf is this process's share of a core while f runs, in percent.
func shareOf(f func() error) (float64, error) {
	begin := time.Now()
	before, err := usage()
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	after, err := usage()
	return 100 * after.minus(before).cpu.Seconds() / time.Since(begin).Seconds(), err
}

func rest(ctx context.Context, long time.Duration) error {
	timer := time.NewTimer(long)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

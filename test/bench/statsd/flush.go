package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver"
)

// flush is a row: what it costs to hand out so many contexts, pdata included.
type flush struct {
	contexts    int
	cpu         []float64 // µs per context, of each round
	allocations []float64 // per context
}

// flushValues is how often each context came before, so that histograms are as busy as
// ten values make them.
const flushValues = 10

func measureFlush(ctx context.Context, o options) ([]*flush, error) {
	rows := []*flush{{contexts: 1000}, {contexts: 10_000}, {contexts: 100_000}}
	for range o.rounds {
		for _, f := range rows {
			if err := f.round(ctx, o); err != nil {
				return nil, err
			}
			last := len(f.cpu) - 1
			o.note("flush of %d: %.2f µs, %.1f allocations per context", f.contexts, f.cpu[last], f.allocations[last])
		}
	}
	return rows, nil
}

// round takes the flush of a receiver's end, less what the end of one costs that
// has nothing to flush.
func (f *flush) round(ctx context.Context, o options) error {
	empty, err := endOf(ctx, 0, "")
	if err != nil {
		return err
	}
	full, err := endOf(ctx, f.contexts, o.file(fmt.Sprintf("flush-%d.pprof", f.contexts)))
	if err != nil {
		return err
	}
	full = full.minus(empty)
	f.cpu = append(f.cpu, full.cpu.Seconds()*1e6/float64(f.contexts))
	f.allocations = append(f.allocations, float64(full.mallocs)/float64(f.contexts))
	return nil
}

// endOf measures the shutdown of a receiver with so many contexts.
func endOf(ctx context.Context, contexts int, profile string) (cost used, err error) {
	end := newSink()
	s := ours(func(cfg *udsstatsdreceiver.Config) {
		cfg.OriginDetection = false // its end would be part of the figure
		cfg.Limits.OriginContexts, cfg.Limits.OriginMemoryMiB = 1<<20, cfg.Limits.MemoryMiB
	})
	// Not before the end; no longer than a context is remembered.
	r, err := s.start(ctx, 5*time.Minute, end)
	if err != nil {
		return used{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.dir)) }()
	want := totals{}
	if contexts > 0 {
		want, err = sendOnce(ctx, r, load{Contexts: contexts, Values: flushValues, PerDatagram: 50})
	}
	if err != nil {
		return used{}, errors.Join(err, r.stop())
	}
	runtime.GC()
	stop, err := startProfile(profile)
	if err != nil {
		return used{}, errors.Join(err, r.stop())
	}
	before, err := usage()
	err = errors.Join(err, r.receiver.Shutdown(ctx))
	after, usageErr := usage()
	stop()
	if got := end.totals(); got.Counted != want.Counted || got.Observed != want.Observed {
		err = errors.Join(err, fmt.Errorf("%w: handed out %+v of %+v", errLost, got, want))
	}
	return after.minus(before), errors.Join(err, usageErr)
}

// sendOnce sends one cycle from one process and waits until it is taken.
func sendOnce(ctx context.Context, r *running, l load) (totals, error) {
	all, err := startSenders(ctx, []order{{Path: r.path, Load: l}})
	if err != nil {
		return totals{}, err
	}
	sent, err := all.send(0)
	if err == nil {
		err = r.taken(ctx, sent.Messages)
	}
	return sent, errors.Join(err, all.close())
}

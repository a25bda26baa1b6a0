package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"time"
)

// processes is how many of them send.
const processes = 4

// flushEvery is short, so that there are some flushes in a window.
const flushEvery = time.Second

// comparison is a row: the same load for both receivers.
type comparison struct {
	perDatagram int
	rate        float64 // datagrams per second, all senders; 0 as fast as they are taken
	goal        float64
	ours        []float64 // CPU ns per message, a figure of each round
	theirs      []float64
}

// comparisons have rates at which the slower one needs about half a core, and none.
func comparisons() []*comparison {
	return []*comparison{
		{perDatagram: 1, rate: 40_000, goal: 6}, {perDatagram: 10, rate: 10_000, goal: 25}, {perDatagram: 55, rate: 2_000, goal: 25},
		{perDatagram: 1, goal: 6}, {perDatagram: 10, goal: 25}, {perDatagram: 55, goal: 25},
	}
}

func (c *comparison) name() string {
	if c.rate == 0 {
		return fmt.Sprintf("%d, as fast as they are taken", c.perDatagram)
	}
	return fmt.Sprintf("%d, %.0f datagrams/s", c.perDatagram, c.rate)
}

// compare measures all rows in each round, ours and theirs in turns.
func compare(ctx context.Context, o options) ([]*comparison, error) {
	rows := comparisons()
	for range o.rounds {
		for _, c := range rows {
			ns, err := c.measure(ctx, ours(nil), o)
			if err != nil {
				return nil, err
			}
			c.ours = append(c.ours, ns)
			if ns, err = c.measure(ctx, theirs(), o); err != nil {
				return nil, err
			}
			c.theirs = append(c.theirs, ns)
			o.note("%s: %.0f and %.0f ns a message", c.name(), c.ours[len(c.ours)-1], ns)
		}
	}
	return rows, nil
}

// measure starts a receiver, lets it see each context, and then measures a window
// of traffic with its flushes.
func (c *comparison) measure(ctx context.Context, s subject, o options) (ns float64, err error) {
	end := newSink()
	r, err := s.start(ctx, flushEvery, end)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	all, err := startSenders(ctx, same(processes, order{
		Path: r.path, Load: usual(c.perDatagram), Rate: c.rate / processes,
	}))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, all.close()) }()
	w := window{r: r, end: end, all: all}
	if err := w.warm(ctx); err != nil {
		return 0, err
	}
	cost, sent, err := w.run(ctx, o.window, o.file(fmt.Sprintf("%s-%d-%.0f.pprof", s.name, c.perDatagram, c.rate)))
	if err != nil {
		return 0, err
	}
	return float64(cost.cpu.Nanoseconds()) / float64(sent.Messages), w.check(ctx)
}

func same(n int, o order) []order {
	all := make([]order, n)
	for i := range all {
		all[i] = o
	}
	return all
}

// window is traffic to one receiver.
type window struct {
	r    *running
	end  *sink
	all  senders
	sent totals
}

// warm sends a cycle and waits for it to be handed out: contexts exist, and the
// next flush is a whole interval away.
func (w *window) warm(ctx context.Context) error {
	var err error
	if w.sent, err = w.all.send(0); err != nil {
		return err
	}
	if err := w.r.taken(ctx, w.sent.Messages); err != nil {
		return err
	}
	w.flushed(ctx, 2*flushEvery)
	runtime.GC()
	return nil
}

// run sends for some time and returns what the receiver has used until it has
// taken and handed out everything.
func (w *window) run(ctx context.Context, long time.Duration, profile string) (used, totals, error) {
	stop, err := startProfile(profile)
	if err != nil {
		return used{}, totals{}, err
	}
	defer stop()
	before, err := usage()
	if err != nil {
		return used{}, totals{}, err
	}
	sent, err := w.all.send(long)
	if err != nil {
		return used{}, sent, err
	}
	w.sent = w.sent.plus(sent)
	if err := w.r.taken(ctx, w.sent.Messages); err != nil {
		return used{}, sent, err
	}
	w.flushed(ctx, 2*flushEvery)
	after, err := usage()
	return after.minus(before), sent, err
}

// flushed waits for the next flush, or as long as one may take if there was
// nothing left for it.
func (w *window) flushed(ctx context.Context, most time.Duration) {
	select {
	case <-w.end.came:
	default:
	}
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-w.end.came:
	case <-timer.C:
	case <-ctx.Done():
	}
}

var errLost = errors.New("not what was sent")

// check finds all that was sent in what was handed out.
func (w *window) check(ctx context.Context) error {
	want := w.sent
	want.Messages = 0
	err := await(ctx, func() error {
		if got := w.end.totals(); got != want {
			return fmt.Errorf("%w: %s handed out %+v of %+v", errNotYet, w.r.subject.title, got, want)
		}
		return nil
	})
	if origin := w.end.origin(); origin != "" && origin != "kernel" {
		err = errors.Join(err, fmt.Errorf("%w: the origin is %q", errLost, origin))
	}
	return err
}

// startProfile writes a CPU profile until it is stopped; "" is none.
func startProfile(path string) (stop func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		_ = file.Close()
	}, nil
}

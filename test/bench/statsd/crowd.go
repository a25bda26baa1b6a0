package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"time"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver"
)

// crowdVariable makes this program the receiver of a crowd, so that its memory is
// that of nothing else. Its value is the crowd.
const crowdVariable = "TALLYMAN_BENCH_STATSD_CROWD"

// crowdFlush is long enough for everything to be sent before the next flush.
const crowdFlush = 30 * time.Second

// crowd is a row: more than a million contexts.
type crowd struct {
	Origins  int // containers, with a process in each
	Contexts int // of each
	// OriginLimit is limits.origin_contexts. A single one may have all the memory
	// that there is for contexts; all else is as it comes.
	OriginLimit int
	Environment []string // of the process

	Result crowdResult
}

// crowdResult is what the process has found out. Bytes are beyond the start.
type crowdResult struct {
	Contexts, Overflowed int
	Containers           int
	Peak, Peak2          int // of the first flush, and of a second one of everything
	After                int // when what is not used was given back
	PerContext           float64
	FlushCPU             float64 // µs per point
	FlushAllocations     float64
	Message, Message2    float64 // CPU ns of a message: with its context made, and known
}

func crowds(quick bool) []*crowd {
	if quick {
		return []*crowd{{Origins: 2, Contexts: 10_100, OriginLimit: 10_000}}
	}
	return []*crowd{
		{Origins: 1, Contexts: 1_200_000, OriginLimit: 1_000_000},
		{Origins: 200, Contexts: 6_000, OriginLimit: 10_000},
		{Origins: 200, Contexts: 6_000, OriginLimit: 10_000, Environment: []string{"GOMEMLIMIT=320MiB"}}, // that of the image
	}
}

func measureCrowds(ctx context.Context, o options) ([]*crowd, error) {
	rows := crowds(o.quick)
	for _, c := range rows {
		text, err := json.Marshal(c)
		if err != nil {
			return nil, err
		}
		cmd := exec.CommandContext(ctx, "/proc/self/exe")
		cmd.Env = append(append(os.Environ(), crowdVariable+"="+string(text)), c.Environment...)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("measure %d origins: %w", c.Origins, err)
		}
		if err := json.Unmarshal(out, &c.Result); err != nil {
			return nil, fmt.Errorf("parse %q: %w", out, err)
		}
		o.note("%d origins: %+v", c.Origins, c.Result)
	}
	return rows, nil
}

// runCrowd is the process.
func runCrowd(ctx context.Context, text string) (err error) {
	var c crowd
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return fmt.Errorf("parse crowd: %w", err)
	}
	end := newAdder()
	s := ours(func(cfg *udsstatsdreceiver.Config) {
		cfg.Limits.OriginContexts = c.OriginLimit
		if c.Origins == 1 {
			cfg.Limits.OriginMemoryMiB = cfg.Limits.MemoryMiB
		}
	})
	r, err := s.start(ctx, crowdFlush, end)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	all, remove, err := c.start(ctx, r.path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, all.close(), remove()) }()
	if err := c.measure(ctx, r, end, all); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(c.Result)
}

// start makes a cgroup for each sender, as a container engine does.
func (c *crowd) start(ctx context.Context, path string) (senders, func() error, error) {
	var orders []order
	var made cgroups
	for i := range c.Origins {
		dirs, err := made.container()
		if err != nil {
			return nil, nil, errors.Join(err, made.remove())
		}
		orders = append(orders, order{
			Path: path, Cgroups: dirs,
			Load: load{First: i * c.Contexts, Contexts: c.Contexts, Values: 1, PerDatagram: 50},
		})
	}
	all, err := startSenders(ctx, orders)
	if err != nil {
		return nil, nil, errors.Join(err, made.remove())
	}
	return all, made.remove, nil
}

func (c *crowd) measure(ctx context.Context, r *running, end *adder, all senders) error {
	heapBefore := heap()
	debug.FreeOSMemory()
	if err := resetPeak(); err != nil {
		return fmt.Errorf("reset peak of memory: %w", err)
	}
	start, err := readMemory()
	if err != nil {
		return err
	}
	for n, message := range []*float64{&c.Result.Message, &c.Result.Message2} {
		if *message, err = c.pass(ctx, r, end, passOf{all, n + 1}); err != nil {
			return err
		}
		now, err := readMemory()
		if err != nil {
			return err
		}
		*[]*int{&c.Result.Peak, &c.Result.Peak2}[n] = now.peak - start.peak
	}
	c.Result.FlushCPU, c.Result.FlushAllocations = end.perPoint()
	c.Result.Containers = len(end.containers)
	if c.Result.Contexts, err = r.count(ctx, "otelcol_uds_statsd_contexts", ""); err != nil {
		return err
	}
	if c.Result.Overflowed, err = r.count(ctx, "otelcol_uds_statsd_dropped", ""); err != nil {
		return err
	}
	c.Result.PerContext = float64(heap()-heapBefore) / float64(c.Result.Contexts)
	debug.FreeOSMemory()
	after, err := readMemory()
	c.Result.After = after.now - start.now
	return err
}

// passOf is how often the senders have sent after a pass.
type passOf struct {
	all senders
	n   int
}

// pass sends each context once and waits until the flush has handed out all values
// of this and earlier passes.
func (c *crowd) pass(ctx context.Context, r *running, end *adder, p passOf) (nsPerMessage float64, err error) {
	before, err := usage()
	if err != nil {
		return 0, err
	}
	sent, err := p.all.send(0)
	if err != nil {
		return 0, err
	}
	want := sent.times(p.n)
	if err := r.taken(ctx, want.Messages); err != nil {
		return 0, err
	}
	after, err := usage()
	if err != nil {
		return 0, err
	}
	if end.calls() > 0 {
		return 0, fmt.Errorf("%w: a flush came before everything was sent", errLost)
	}
	err = await(ctx, func() error {
		if got := end.flushed(want.Counted, want.Observed); got != "" {
			return fmt.Errorf("%w: %s", errNotYet, got)
		}
		return nil
	})
	return float64(after.minus(before).cpu.Nanoseconds()) / float64(sent.Messages), err
}

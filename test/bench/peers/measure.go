package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

const (
	// runIn lies between the last question and the window, so that the garbage
	// of warming up is not counted: all programs collect theirs within a few
	// passes.
	runIn = 5 * time.Second
	// scrapes are averaged: one costs a few of the 10 ms ticks at 57 containers.
	scrapes = 5
)

// order is forward in the first round, backward in the next, and so on.
func order(n, round int) []int {
	var all []int
	for i := range n {
		all = append(all, i)
	}
	if round%2 == 1 {
		slices.Reverse(all)
	}
	return all
}

// errMissing stands for errors that have been printed when they happened.
var errMissing = errors.New("rows are missing, why is said above")

// sample is one measured window. Times are CPU seconds per minute.
type sample struct {
	cpu    float64 // the program and its children
	engine float64 // the engine, with what it does by itself
	others float64 // everything else on the machine
	memory memory  // at the end of the window
	passes float64 // reads of each container per minute
	scrape *scrape // nil without a page
}

// scrape is what one scrape of the page costs.
type scrape struct {
	cpu   float64 // seconds
	bytes float64 // of the page, unpacked
}

// bench measures over one fleet.
type bench struct {
	options
	fleet *fleet
}

// measure fills the report: for each number of containers all rows, in an order
// that lets what drifts on the machine meet all of them alike, and then the
// engine without anybody.
func (r *report) measure(ctx context.Context, o options) (err error) {
	rows, err := chosen(o.only)
	if err != nil {
		return err
	}
	fmt.Println("Starting the engine.")
	f, err := newFleet(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	if err := r.describe(ctx, f, o.dir); err != nil {
		return err
	}
	var errs []error
	for _, n := range o.counts {
		b := bench{options: o, fleet: f}
		t, err := b.table(ctx, n, rows)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.tables = append(r.tables, t)
		errs = append(errs, err)
	}
	return errors.Join(append(errs, r.readLoad(&r.loadAfter))...)
}

// chosen returns the rows to measure: those of -only, without the ones that our
// binary has not got.
func chosen(only []string) ([]variant, error) {
	components, err := exec.Command(tallyman, "components").Output()
	if err != nil {
		return nil, fmt.Errorf("list components of %s: %w (make build makes it)", tallyman, err)
	}
	var rows []variant
	for _, v := range variants() {
		switch {
		case len(only) > 0 && !slices.Contains(only, v.name), len(only) == 0 && v.extra:
		case v.needs != "" && !strings.Contains(string(components), "- name: "+v.needs+"\n"):
			fmt.Printf("Leaving out %s: %s has no %s.\n", v.name, tallyman, v.needs)
		default:
			rows = append(rows, v)
		}
	}
	return rows, nil
}

func (b *bench) table(ctx context.Context, n int, rows []variant) (table, error) {
	t := table{containers: n}
	fmt.Printf("Starting containers, up to %d.\n", n)
	begun := time.Now()
	if err := b.fleet.grow(ctx, n); err != nil {
		return t, err
	}
	fmt.Printf("%d containers after %.0f s.\n", n, time.Since(begun).Seconds())
	for _, v := range rows {
		t.rows = append(t.rows, row{variant: v})
	}
	var failures []string
	for round := range b.rounds {
		for _, at := range order(len(rows), round) {
			s, err := b.measureRow(ctx, rows[at], n)
			if ctx.Err() != nil {
				return t, ctx.Err()
			}
			if err != nil {
				fmt.Fprintf(os.Stderr, "measure %s over %d containers: %v\n", rows[at].name, n, err)
				failures = append(failures, rows[at].name)
				continue
			}
			fmt.Printf("%d containers, round %d: %s\n", n, round+1, s.line(rows[at].name))
			t.rows[at].samples = append(t.rows[at].samples, s)
		}
	}
	var err error
	if len(failures) > 0 {
		err = fmt.Errorf("measure over %d containers: %w (%s)", n, errMissing, strings.Join(failures, ", "))
	}
	return t, errors.Join(err, b.measureIdle(ctx, &t))
}

func (s sample) line(name string) string {
	return fmt.Sprintf("%-20s %6.2f CPU s/min, engine %6.2f, others %5.2f, %4.0f MB, %4.0f passes/min",
		name, s.cpu, s.engine, s.others, s.memory.now/1e6, s.passes)
}

// measureIdle comes last, when starting so many containers no longer keeps the
// engine busy.
func (b *bench) measureIdle(ctx context.Context, t *table) error {
	err := wait(ctx, runIn, nil)
	if err != nil {
		return err
	}
	s, err := b.watch(ctx, nil)
	t.idle = s.engine
	fmt.Printf("%d containers, idle: engine %.2f, others %.2f CPU s/min\n", t.containers, s.engine, s.others)
	return err
}

// measureRow starts one program, waits until it works as it will go on to,
// measures, and ends it.
func (b *bench) measureRow(ctx context.Context, v variant, n int) (sample, error) {
	state, err := os.MkdirTemp("", "bench-peers-")
	if err != nil {
		return sample{}, fmt.Errorf("make state directory: %w", err)
	}
	defer os.RemoveAll(state)
	set := setting{dir: b.dir, state: state, engine: b.fleet.engine.Host(), api: b.fleet.api, network: b.network}
	p, err := start(v, set, filepath.Join(b.dir, v.name+".log"))
	if err != nil {
		return sample{}, err
	}
	defer p.stop()
	m := v.meter(set)
	if err := warm(ctx, p, m, n); err != nil {
		return sample{}, err
	}
	if err := wait(ctx, runIn, p.ended); err != nil {
		return sample{}, errors.Join(err, p.alive())
	}
	if err := m.mark(ctx); err != nil {
		return sample{}, err
	}
	s, err := b.watch(ctx, p)
	if err != nil {
		return s, err
	}
	if s.passes, err = m.passes(ctx, n); err != nil {
		return s, err
	}
	if v.page != "" {
		s.scrape, err = measureScrape(ctx, v.page, p.pid(), s.cpu/60)
	}
	return s, err
}

// warm waits until the program reads all n containers in each pass.
func warm(ctx context.Context, p *program, m meter, n int) error {
	ctx, cancel := context.WithTimeout(ctx, warmWithin)
	defer cancel()
	var ended, last error
	err := testkit.Poll(ctx, func() error {
		if ended = p.alive(); ended != nil {
			return nil
		}
		err := m.warm(ctx, n)
		if ctx.Err() == nil {
			last = err // later ones are about the deadline
		}
		return err
	})
	if err != nil && last != nil {
		err = fmt.Errorf("wait %v for %d containers: %w", warmWithin, n, last)
	}
	return errors.Join(err, ended)
}

// watch lets the window pass and returns what was used in it. Without a program
// all but the engine are others.
func (b *bench) watch(ctx context.Context, p *program) (sample, error) {
	before, err := b.look(p)
	if err != nil {
		return sample{}, err
	}
	var ended <-chan struct{}
	if p != nil {
		ended = p.ended
	}
	if err := wait(ctx, b.window, ended); err != nil {
		if p != nil {
			err = errors.Join(err, p.alive())
		}
		return sample{}, err
	}
	after, err := b.look(p)
	if err != nil {
		return sample{}, err
	}
	minutes := after.at.Sub(before.at).Minutes()
	s := sample{memory: after.memory}
	s.cpu = (after.program - before.program) / minutes
	s.engine = (after.engine - before.engine) / minutes
	s.others = (after.machine-before.machine)/minutes - s.cpu - s.engine
	return s, nil
}

// look is the state of all clocks at one moment.
type look struct {
	at                       time.Time
	program, engine, machine float64 // CPU seconds since each began
	memory                   memory
}

func (b *bench) look(p *program) (look, error) {
	now := look{at: time.Now()}
	all, err := processes()
	if err != nil {
		return now, err
	}
	workers, err := b.fleet.workers(all)
	if err != nil {
		return now, err
	}
	for _, pid := range workers {
		now.engine += all[pid].own
	}
	if now.machine, err = readBusy(); err != nil || p == nil {
		return now, err
	}
	for _, pid := range family(all, p.pid()) {
		now.program += all[pid].own
		m, err := readMemory(pid)
		if err != nil && pid == p.pid() {
			return now, err
		}
		now.memory.now += m.now
		now.memory.peak += m.peak
	}
	return now, nil
}

// measureScrape takes off what the program does meanwhile anyway.
func measureScrape(ctx context.Context, page string, pid int, idle float64) (*scrape, error) {
	before, err := readStat(pid)
	if err != nil {
		return nil, err
	}
	var s scrape
	begun := time.Now()
	for range scrapes {
		body, err := get(ctx, page)
		if err != nil {
			return nil, err
		}
		s.bytes = float64(len(body))
	}
	after, err := readStat(pid)
	if err != nil {
		return nil, err
	}
	s.cpu = max(0, after.own-before.own-idle*time.Since(begun).Seconds()) / scrapes
	return &s, nil
}

// wait lets time pass unless ctx or the program ends before.
func wait(ctx context.Context, d time.Duration, ended <-chan struct{}) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-ended:
		return errEnded
	}
}

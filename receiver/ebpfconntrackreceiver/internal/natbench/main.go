package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

type options struct {
	rounds      int
	connections int // of a round
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := play(ctx); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench-conntrack:", err)
		os.Exit(1)
	}
}

// play takes the role that the environment gives this process.
func play(ctx context.Context) error {
	if role := os.Getenv(roleVariable); role != "" {
		return playRole(role)
	}
	o, err := parseFlags(os.Args[1:])
	if err != nil {
		return err
	}
	rep, err := run(ctx, o)
	if err != nil {
		return err
	}
	return rep.print(os.Stdout)
}

func parseFlags(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("bench-conntrack", flag.ContinueOnError)
	flags.IntVar(&o.rounds, "rounds", 5, "how often each tracker is measured")
	flags.IntVar(&o.connections, "connections", 20_000, "connections of a round")
	quick := flags.Bool("quick", false, "one round of 2,000")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if *quick {
		o = options{rounds: 1, connections: 2000}
	}
	if o.rounds < 1 || o.connections < workers {
		return o, fmt.Errorf("read flags: at least one round of %d connections is needed", workers)
	}
	return o, nil
}

// run measures all trackers in turn.
func run(ctx context.Context, o options) (*report, error) {
	b, err := newBed(ctx)
	if err != nil {
		return nil, errors.Join(err, b.close())
	}
	rep, err := measure(ctx, b, o)
	return rep, errors.Join(err, b.close())
}

func measure(ctx context.Context, b *bed, o options) (*report, error) {
	rep, err := newReport(o)
	if err != nil {
		return nil, err
	}
	load, err := startLoad(ctx, b)
	if err != nil {
		return nil, err
	}
	defer load.close()
	// One that does not count: caches, and the first connections of the neighbours.
	if _, err := load.round(ctx, trackers()[0], o.connections); err != nil {
		return nil, err
	}
	for i := range o.rounds {
		for j := range trackers() {
			// Each tracker is once early and once late in a round.
			t := trackers()[j]
			if i%2 == 1 {
				t = trackers()[len(trackers())-1-j]
			}
			c, err := load.round(ctx, t, o.connections)
			if err != nil {
				return nil, fmt.Errorf("measure %s: %w", t, err)
			}
			fmt.Fprintf(os.Stderr, "round %d, %-9s %s\n", i+1, t, c)
			rep.costs[t] = append(rep.costs[t], c)
		}
	}
	return rep, nil
}

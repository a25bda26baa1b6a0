package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/tallymanhq/tallyman/test/soak/judge"
)

type options struct {
	binary, config, dir string
	duration, lap       time.Duration
	every               time.Duration // between samples
	leak                string
	rates               rates
}

// rates are per second.
type rates struct {
	cgroups     int // made and removed
	named       int // of so many cgroups one is a container by its name
	containers  int // by the engine
	datagrams   int // of DogStatsD, ten messages each
	connections int
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, err := parseFlags(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func parseFlags(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	flags.StringVar(&o.binary, "binary", ".cache/soak/tallyman", "the agent, as scripts/soak.sh builds it")
	flags.StringVar(&o.config, "config", "otelcol-config.yaml", "its configuration")
	flags.StringVar(&o.dir, "dir", ".cache/soak", "for samples, logs, and what engine and agent keep")
	flags.DurationVar(&o.duration, "duration", 20*time.Minute, "how long in all")
	flags.DurationVar(&o.lap, "lap", time.Minute, "time between two reloads")
	flags.DurationVar(&o.every, "every", 2*time.Second, "time between two samples")
	flags.StringVar(&o.leak, "leak", "", "memory, goroutines or descriptors: lose one with each sample, to see that it is found")
	flags.IntVar(&o.rates.cgroups, "cgroups", 100, "cgroups made and removed per second, half of them with a process")
	flags.IntVar(&o.rates.named, "named", 20, "of so many cgroups one looks like a container")
	flags.IntVar(&o.rates.containers, "containers", 5, "containers started and removed per second")
	flags.IntVar(&o.rates.datagrams, "datagrams", 5000, "datagrams of ten DogStatsD messages per second")
	flags.IntVar(&o.rates.connections, "connections", 2000, "TCP connections per second")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	return o, o.validate()
}

func (o options) validate() error {
	r := o.rates
	if o.lap < 2*o.every || o.every <= 0 {
		return fmt.Errorf("read -lap: %v has no two samples of one every %v in its second half", o.lap, o.every)
	}
	if o.laps() < judge.MinLaps {
		return fmt.Errorf("read -duration: %v are %d laps of %v: %w (at least %d)", o.duration, o.laps(), o.lap, judge.ErrTooFew, judge.MinLaps)
	}
	if min(r.cgroups, r.containers, r.datagrams, r.connections) < 0 || r.named < 1 {
		return fmt.Errorf("read rates: %+v: negative, or -named below 1", r)
	}
	return nil
}

func (o options) laps() int { return int(o.duration / o.lap) }

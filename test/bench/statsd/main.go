package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

type options struct {
	parts       []string // what is measured; empty: all
	rounds      int
	window      time.Duration
	pacedRounds int
	pacedWindow time.Duration
	quick       bool
	binaries    string // folder of the test binary with our timing tests
	profiles    string // folder for CPU profiles; "": none
}

func parts() []string { return []string{"receivers", "parsers", "paced", "flush", "contexts"} }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := play(ctx); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench-statsd:", err)
		os.Exit(1)
	}
}

// play takes the role that the environment gives this process.
func play(ctx context.Context) error {
	if text := os.Getenv(orderVariable); text != "" {
		return runSender(text)
	}
	if text := os.Getenv(crowdVariable); text != "" {
		return runCrowd(ctx, text)
	}
	o, err := parseFlags(os.Args[1:])
	if err != nil {
		return err
	}
	return run(ctx, o)
}

func parseFlags(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("bench-statsd", flag.ContinueOnError)
	list := flags.String("part", "", "what to measure: "+strings.Join(parts(), ",")+" (default all)")
	flags.IntVar(&o.rounds, "rounds", 7, "how often each row is measured")
	flags.DurationVar(&o.window, "window", 4*time.Second, "time of sending in a round of the receivers")
	flags.IntVar(&o.pacedRounds, "paced-rounds", 3, "rounds of 20,000 datagrams a second")
	flags.DurationVar(&o.pacedWindow, "paced-window", 30*time.Second, "time of sending in such a round")
	flags.BoolVar(&o.quick, "quick", false, "one short round of each")
	flags.StringVar(&o.binaries, "binaries", ".cache/statsd", "folder of the test binary that scripts/bench-statsd.sh builds")
	flags.StringVar(&o.profiles, "profiles", "", "folder for CPU profiles, of the last round of each row (they cost some per cent)")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if *list != "" {
		o.parts = strings.Split(*list, ",")
	}
	for _, p := range o.parts {
		if !slices.Contains(parts(), p) {
			return o, fmt.Errorf("read -part: no %q (there are %s)", p, strings.Join(parts(), ", "))
		}
	}
	if o.quick {
		o.rounds, o.window, o.pacedRounds, o.pacedWindow = 1, time.Second, 1, 2*time.Second
	}
	if o.rounds < 1 || o.pacedRounds < 1 {
		return o, fmt.Errorf("read -rounds: at least one is needed")
	}
	return o, nil
}

// note tells how far it is; the result alone goes to standard output.
func (o options) note(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func (o options) wants(part string) bool { return len(o.parts) == 0 || slices.Contains(o.parts, part) }

// file is where a profile goes, "" if none is wanted.
func (o options) file(name string) string {
	if o.profiles == "" {
		return ""
	}
	return filepath.Join(o.profiles, name)
}

func run(ctx context.Context, o options) error {
	other := ballast()
	rep, err := newReport()
	if err != nil {
		return err
	}
	if o.wants("receivers") {
		rep.receivers, err = compare(ctx, o)
	}
	if o.wants("parsers") && err == nil {
		rep.parsers, err = compareParsers(ctx, o)
	}
	if o.wants("paced") && err == nil {
		rep.paced, err = measurePaced(ctx, o)
	}
	if o.wants("flush") && err == nil {
		rep.flushes, err = measureFlush(ctx, o)
	}
	if o.wants("contexts") && err == nil {
		rep.crowds, err = measureCrowds(ctx, o)
	}
	if err != nil {
		return err
	}
	other.keep()
	return rep.print(os.Stdout)
}

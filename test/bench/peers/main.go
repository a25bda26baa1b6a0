package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type options struct {
	counts  []int // numbers of containers, ascending
	window  time.Duration
	rounds  int
	only    []string // names of variants; empty: all
	network string
	dir     string // binaries of the peers, logs, the engine's files
	page    string // "": print only
	args    []string
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
		fmt.Fprintln(os.Stderr, "bench-peers:", err)
		os.Exit(1)
	}
}

func parseFlags(args []string) (options, error) {
	o := options{args: args}
	flags := flag.NewFlagSet("bench-peers", flag.ContinueOnError)
	counts := flags.String("n", "57,207", "numbers of containers, ascending")
	flags.DurationVar(&o.window, "window", time.Minute, "time over which CPU time is counted")
	flags.IntVar(&o.rounds, "rounds", 2, "how often each row is measured; the least counts")
	only := flags.String("only", "", "rows to measure: "+strings.Join(names(), ",")+" (default all; prints only)")
	flags.StringVar(&o.network, "network", "bridge", "network of the containers: bridge, none, host")
	flags.StringVar(&o.dir, "dir", ".cache/peers", "where the peers' binaries are and logs go")
	flags.StringVar(&o.page, "page", "docs/benchmarks.md", "page whose section is replaced (empty: print only)")
	quick := flags.Bool("quick", false, "-n 7 -window 10s -rounds 1, and print only")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if *quick {
		*counts, o.window, o.rounds, o.page = "7", 10*time.Second, 1, ""
	}
	if *only != "" {
		o.only, o.page = strings.Split(*only, ","), ""
	}
	return o, errors.Join(o.setCounts(*counts), o.validate())
}

func (o *options) setCounts(list string) error {
	for field := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(field)
		if err != nil || n < 1 {
			return fmt.Errorf("read -n: %q is no number of containers", field)
		}
		o.counts = append(o.counts, n)
	}
	if !slices.IsSorted(o.counts) {
		return fmt.Errorf("read -n: %q does not ascend (containers are added, not taken away)", list)
	}
	return nil
}

func (o *options) validate() error {
	if o.rounds < 1 || o.window < time.Second {
		return fmt.Errorf("measure %d rounds of %v: at least one round and a second are needed", o.rounds, o.window)
	}
	for _, name := range o.only {
		if !slices.Contains(names(), name) {
			return fmt.Errorf("read -only: no row %q (there are %s)", name, strings.Join(names(), ", "))
		}
	}
	return nil
}

// run measures everything and writes the page. A row that cannot be measured
// does not take the others with it, but the page stays as it was.
func run(ctx context.Context, o options) error {
	rep := report{args: o.args, window: o.window, network: o.network}
	err := rep.measure(ctx, o)
	if ctx.Err() != nil {
		return err
	}
	section := rep.render()
	fmt.Print("\n", section)
	if err != nil || o.page == "" {
		return err
	}
	return replaceSection(o.page, section)
}

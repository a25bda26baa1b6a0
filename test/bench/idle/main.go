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
	binary, config, dir string
	containers          int
	settle, window      time.Duration
	rows                []variant
	profiles            string
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
		fmt.Fprintln(os.Stderr, "bench idle:", err)
		os.Exit(1)
	}
}

func parseFlags(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("idle", flag.ContinueOnError)
	flags.StringVar(&o.binary, "binary", "bin/tallyman", "the agent")
	flags.StringVar(&o.config, "config", "otelcol-config.yaml", "its configuration")
	flags.StringVar(&o.dir, "dir", ".cache/idle", "for logs, and what engine and agent keep")
	flags.IntVar(&o.containers, "n", 50, "containers")
	flags.DurationVar(&o.settle, "settle", time.Minute, "time between the start of the agent and the window")
	flags.DurationVar(&o.window, "window", time.Minute, "time over which is measured")
	rows := flags.String("rows", "all on,no recorder", "rows, or all: "+strings.Join(names(), ","))
	flags.StringVar(&o.profiles, "profiles", "", "folder for profiles of each row")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.containers < 1 || o.window < time.Second || o.settle < 0 {
		return o, fmt.Errorf("measure %d containers for %v: at least one container and a second are needed", o.containers, o.window)
	}
	// The agent is told of folders below it, and wants them absolute.
	dir, err := filepath.Abs(o.dir)
	if err != nil {
		return o, fmt.Errorf("read -dir: %w", err)
	}
	o.dir = dir
	return o, o.choose(*rows)
}

func (o *options) choose(list string) error {
	if list == "all" {
		o.rows = variants()
		return nil
	}
	for name := range strings.SplitSeq(list, ",") {
		at := slices.IndexFunc(variants(), func(v variant) bool { return v.name == name })
		if at < 0 {
			return fmt.Errorf("read -rows: no row %q (there are %s)", name, strings.Join(names(), ", "))
		}
		o.rows = append(o.rows, variants()[at])
	}
	return nil
}

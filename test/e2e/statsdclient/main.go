package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// errUsage says which commands there are.
var errUsage = errors.New("say load, steady, flood or once")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "statsdclient:", err)
		os.Exit(1)
	}
}

// options are the flags of all commands; each has its own use for them.
type options struct {
	address     string // of the library; empty asks the environment
	socket      string
	metric      string
	seed        uint64
	count       int
	aggregation string
	senders     int
	rate        int // datagrams per second of all senders
	patient     bool
	cgroup      string // cgroup.procs files, with commas
	linger      time.Duration
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return errUsage
	}
	var o options
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.StringVar(&o.address, "address", "", "of load: unix:///socket or unixstream:///socket (default: the library's environment variables)")
	flags.StringVar(&o.socket, "socket", "/var/run/datadog/dsd.socket", "of all others: the datagram socket")
	flags.StringVar(&o.metric, "metric", "sent", "of all others: the counter's name")
	flags.Uint64Var(&o.seed, "seed", 1, "of load")
	flags.IntVar(&o.count, "count", 0, "how many to send (0: of load none, else until SIGTERM)")
	flags.StringVar(&o.aggregation, "aggregation", "default", "of load: default, none or extended")
	flags.IntVar(&o.senders, "senders", 1, "of steady: sockets")
	flags.IntVar(&o.rate, "rate", 2000, "of steady: datagrams per second of all senders")
	flags.BoolVar(&o.patient, "patient", false, "of steady: wait where the socket refuses, in place of losing the datagram")
	flags.StringVar(&o.cgroup, "cgroup", "", "of once: cgroup.procs files to enter, with commas")
	flags.DurationVar(&o.linger, "linger", time.Millisecond, "of once: how long to live on")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	switch args[0] {
	case "load":
		return sendLoad(ctx, o, out)
	case "steady":
		return sendSteadily(ctx, o, out)
	case "flood":
		return flood(ctx, o, out)
	case "once":
		return sendOnce(o)
	}
	return fmt.Errorf("run %q: %w", args[0], errUsage)
}

// sendOnce is for a process of a few milliseconds. Nothing is printed: that would
// take longer than the rest.
func sendOnce(o options) error {
	for file := range strings.SplitSeq(o.cgroup, ",") {
		// 0 is the process itself.
		if err := os.WriteFile(file, []byte("0"), 0); err != nil {
			return err
		}
	}
	s, err := dial(o.socket)
	if err != nil {
		return err
	}
	if _, err := s.send([]byte(o.metric+":1|c"), true); err != nil {
		return err
	}
	<-time.After(o.linger)
	return nil
}

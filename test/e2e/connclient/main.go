package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// errUsage says which commands there are.
var errUsage = errors.New("say serve, ask or hold")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "connclient:", err)
		os.Exit(1)
	}
}

// options are the flags of all commands; each has its own use for them.
type options struct {
	address string
	count   int
	first   int // number of the first connection
	spread  int // replies are of 8 to 8+spread-1 bytes
	atOnce  int
	reset   bool
	linger  time.Duration
	ready   string // a file to make
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return errUsage
	}
	var o options
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.StringVar(&o.address, "address", ":80", "host:port to listen at, or to connect to")
	flags.IntVar(&o.count, "count", 1, "of ask: connections")
	flags.IntVar(&o.first, "first", 0, "of ask: the first one's number, which its bytes depend on")
	flags.IntVar(&o.spread, "spread", 10_000, "of ask: how many lengths of replies there are")
	flags.IntVar(&o.atOnce, "at-once", 4, "of ask: connections at a time")
	flags.BoolVar(&o.reset, "reset", false, "of ask: end connections by a reset")
	flags.DurationVar(&o.linger, "linger", 0, "of ask: live on for so long")
	flags.StringVar(&o.ready, "ready", "", "of serve: a file to make when it listens")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	var all reports
	defer func() { all.print(out) }()
	switch args[0] {
	case "serve":
		return serve(ctx, o, &all)
	case "ask":
		return ask(ctx, o, &all)
	case "hold":
		return hold(ctx, o, &all)
	}
	return fmt.Errorf("run %q: %w", args[0], errUsage)
}

// report is one connection, as its end knows it.
type report struct {
	Local    string `json:"local,omitempty"`
	Remote   string `json:"remote,omitempty"`
	Sent     int64  `json:"sent"`
	Received int64  `json:"received"`
	Error    string `json:"error,omitempty"` // the name of an errno, where it is one
}

// reports are safe for concurrent use.
type reports struct {
	mu  sync.Mutex // guards all
	all []report
}

func (r *reports) add(one report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, one)
}

func (r *reports) print(out io.Writer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	encoder := json.NewEncoder(out)
	for _, one := range r.all {
		// Nobody would read what cannot be written about that.
		_ = encoder.Encode(one)
	}
}

// reason is what a test compares: the errno's name, or all that is known.
func reason(err error) string {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return err.Error()
	}
	for name, known := range map[string]syscall.Errno{
		"ECONNREFUSED": syscall.ECONNREFUSED, "ETIMEDOUT": syscall.ETIMEDOUT,
		"ECONNRESET": syscall.ECONNRESET, "EHOSTUNREACH": syscall.EHOSTUNREACH,
	} {
		if errno == known {
			return name
		}
	}
	return errno.Error()
}

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// cleanWithin bounds the removal of containers after Ctrl-C.
const cleanWithin = 60 * time.Second

type options struct {
	binary   string
	config   string
	endpoint string
	state    string // absolute
	interval time.Duration
	duration time.Duration // 0: until a signal
	check    bool
	noAgent  bool
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
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func parseFlags(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.StringVar(&o.binary, "binary", "bin/tallyman", "agent to start")
	flags.StringVar(&o.config, "config", "otelcol-config.yaml", "configuration of the agent")
	flags.StringVar(&o.endpoint, "endpoint", "http://localhost:9464/metrics", "where the agent's figures are read")
	flags.DurationVar(&o.interval, "interval", time.Second, "collection interval of that configuration")
	flags.DurationVar(&o.duration, "for", 0, "end after this time (0: run until Ctrl-C)")
	flags.BoolVar(&o.check, "check", false, "compare the agent's figures with the engine's, then end")
	flags.BoolVar(&o.noAgent, "no-agent", false, "start the containers only")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.check && o.noAgent {
		return o, errors.New("-check needs the agent that -no-agent leaves out")
	}
	state := os.Getenv("TALLYMAN_STATE")
	if state == "" {
		state = ".tallyman"
	}
	var err error
	o.state, err = filepath.Abs(state)
	return o, err
}

// run is the whole demonstration. What it starts it ends, in reverse order,
// also when ctx ends in the middle.
func run(ctx context.Context, o options) (err error) {
	engine, closeEngine, err := findOrStartEngine(ctx, filepath.Join(o.state, "demo"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeEngine()) }()
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanWithin)
		defer cancel()
		fmt.Println("Removing the containers.")
		err = errors.Join(err, removeContainers(ctx, engine))
	}()
	containers, err := startContainers(ctx, engine)
	if err != nil {
		return err
	}
	if o.noAgent {
		listContainers(containers)
		return wait(ctx, o.duration, nil)
	}
	agent, err := startAgent(o, engine.Host())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, agent.stop()) }()
	return show(ctx, o, containers, agent)
}

func show(ctx context.Context, o options, containers []*testkit.Container, agent *agent) error {
	page, err := waitForAll(ctx, o.endpoint, containers, agent)
	if err != nil {
		return err
	}
	if o.check {
		if page, err = check(ctx, o, containers); err != nil {
			return err
		}
	}
	printTable(os.Stdout, containers, page)
	if o.check {
		fmt.Println("The agent's figures are plausible.")
		return nil
	}
	fmt.Printf("Events:  %s\n", filepath.Join(o.state, "events.jsonl"))
	fmt.Printf("Log:     %s\n", agent.log)
	fmt.Printf("Health:  http://localhost:13133\n")
	fmt.Printf("Metrics: %s\n", o.endpoint)
	fmt.Println("Look:    http://localhost:9480")
	return wait(ctx, o.duration, agent)
}

// wait returns when the time is over (0: never), a signal comes, or the agent
// ends; only the last is an error.
func wait(ctx context.Context, duration time.Duration, agent *agent) error {
	if duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, duration)
		defer cancel()
	} else {
		fmt.Println("Ctrl-C ends the demo.")
	}
	var ended <-chan struct{}
	if agent != nil {
		ended = agent.ended
	}
	select {
	case <-ctx.Done():
		return nil
	case <-ended:
		return agent.why()
	}
}

// findOrStartEngine prefers the engine of this host. The returned function
// ends an engine of our own and removes its files.
func findOrStartEngine(ctx context.Context, dir string) (*testkit.Engine, func() error, error) {
	engine, err := testkit.FindEngine(ctx)
	if err == nil {
		fmt.Println("Using the Docker engine at", engine.Socket())
		return engine, func() error { return nil }, nil
	}
	if !errors.Is(err, testkit.ErrNoEngine) {
		return nil, nil, err
	}
	if os.Geteuid() != 0 {
		return nil, nil, fmt.Errorf("%w (start one, or run as root to have a private one)", err)
	}
	fmt.Println("No Docker engine answers; starting a private one in", dir)
	engine, err = testkit.StartEngine(ctx, dir, func(format string, args ...any) { fmt.Printf(format+"\n", args...) })
	if err != nil {
		return nil, nil, err
	}
	return engine, func() error { return errors.Join(engine.Stop(), os.RemoveAll(dir)) }, nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/client"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/test/soak/agent"
	"github.com/tallymanhq/tallyman/test/soak/inside"
	"github.com/tallymanhq/tallyman/test/soak/proc"
)

const (
	// mark is how a later run finds what an interrupted one left.
	mark = "dev.tallyman.bench-idle"
	// starters is how many containers are started at once: the engine spends half of
	// a start waiting.
	starters = 4
	// cleanWithin bounds the removal of 50 containers, about 0.2 s each.
	cleanWithin = 2 * time.Minute
)

var errContainers = errors.New("not all containers are on its page")

// figures are what one row has cost.
type figures struct {
	variant
	cpu, user, system float64 // percent of a core
	wakeups           float64 // of threads, per second
	usage             proc.Usage
	descriptors       int
	goes              inside.State // empty where the agent does not tell
}

// run measures all rows, and prints the table of those that could be.
func run(ctx context.Context, o options) (err error) {
	fmt.Printf("Starting an engine and %d containers.\n", o.containers)
	logf := func(format string, args ...any) { fmt.Printf(format+"\n", args...) }
	dir := filepath.Join(o.dir, "engine")
	engine, err := testkit.StartEngine(ctx, dir, logf)
	if err != nil {
		return err
	}
	defer func() {
		fmt.Println("Removing the containers and the engine.")
		err = errors.Join(err, clear(engine), engine.Stop(), os.RemoveAll(dir))
	}()
	if err := clear(engine); err != nil {
		return err
	}
	ids, err := fill(ctx, engine, o.containers)
	if err != nil {
		return err
	}
	var table []figures
	for _, v := range o.rows {
		f, err := measure(ctx, o, v, fleet{engine: engine, logs: filepath.Join(dir, "data"), ids: ids})
		if err != nil {
			return fmt.Errorf("measure %q: %w", v.name, err)
		}
		fmt.Printf("%s: %.2f %% of a core, RSS %.0f MB\n", v.name, f.cpu, float64(f.usage.RSS)/1e6)
		table = append(table, f)
	}
	return printTable(os.Stdout, o, table)
}

// fleet is what there is to look at.
type fleet struct {
	engine *testkit.Engine
	logs   string // the engine's folder with what containers write
	ids    []string
}

func fill(ctx context.Context, engine *testkit.Engine, n int) ([]string, error) {
	image, err := engine.BusyboxImage(ctx)
	if err != nil {
		return nil, err
	}
	ids, errs := make([]string, n), make([]error, n)
	slots := make(chan struct{}, starters)
	var starting sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		starting.Go(func() {
			defer func() { <-slots }()
			c, err := engine.StartContainer(ctx, testkit.ContainerSpec{
				Name: fmt.Sprintf("idle-%03d", i), Image: image, Labels: map[string]string{mark: "1"},
			})
			if errs[i] = err; err == nil {
				ids[i] = c.ID
			}
		})
	}
	starting.Wait()
	return ids, errors.Join(errs...)
}

func clear(engine *testkit.Engine) error {
	ctx, cancel := context.WithTimeout(context.Background(), cleanWithin)
	defer cancel()
	list, err := engine.Client().ContainerList(ctx, client.ContainerListOptions{
		All: true, Filters: client.Filters{}.Add("label", mark),
	})
	if err != nil {
		return fmt.Errorf("list the containers of the benchmark: %w", err)
	}
	var errs []error
	for _, c := range list.Items {
		_, err := engine.Client().ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// measure starts the agent as the row wants it, and ends it.
func measure(ctx context.Context, o options, v variant, f fleet) (got figures, err error) {
	got.variant = v
	dir, err := filepath.Abs(filepath.Join(o.dir, "agent"))
	if err != nil {
		return got, fmt.Errorf("place the agent: %w", err)
	}
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		return got, fmt.Errorf("place the agent: %w", err)
	}
	config, err := without(o.config, v.without, dir)
	if err != nil {
		return got, err
	}
	socket := filepath.Join(dir, "inside.sock")
	a, err := agent.Start(ctx, agent.Options{
		Binary: o.binary, Config: config, Dir: dir, Set: v.set,
		Env: append([]string{
			"TALLYMAN_DOCKER_HOST=" + f.engine.Host(), "TALLYMAN_DOCKER_ROOT=" + f.logs, inside.SocketEnv + "=" + socket,
		}, v.env...),
	})
	if err != nil {
		return got, err
	}
	defer func() { err = errors.Join(err, a.Stop()) }()
	if err := let(ctx, a, o.settle); err != nil {
		return got, err
	}
	if err := got.watch(ctx, a, o.window); err != nil {
		return got, err
	}
	if got.goes, err = inside.Ask(ctx, socket); err == nil && o.profiles != "" {
		err = saveProfiles(ctx, socket, o, v)
	}
	if err != nil && o.profiles == "" {
		err = nil // the agent as it is shipped does not tell
	}
	return got, errors.Join(err, seesAll(ctx, a, v, f.ids))
}

// watch fills in what the agent uses while the window passes.
func (f *figures) watch(ctx context.Context, a *agent.Agent, window time.Duration) error {
	before, err := proc.ReadCPU(a.PID())
	slept, errSlept := proc.ReadSwitches(a.PID())
	if err := errors.Join(err, errSlept); err != nil {
		return err
	}
	begun := time.Now()
	if err := let(ctx, a, window); err != nil {
		return err
	}
	after, err := proc.ReadCPU(a.PID())
	awake, errAwake := proc.ReadSwitches(a.PID())
	if err := errors.Join(err, errAwake); err != nil {
		return err
	}
	f.wakeups = float64(awake-slept) / time.Since(begun).Seconds()
	percent := func(d time.Duration) float64 { return 100 * d.Seconds() / time.Since(begun).Seconds() }
	f.cpu, f.user, f.system = percent(after.Total()-before.Total()), percent(after.User-before.User), percent(after.System-before.System)
	kinds, err := proc.Descriptors(a.PID())
	for _, n := range kinds {
		f.descriptors += n
	}
	if err != nil {
		return err
	}
	f.usage, err = proc.ReadUsage(a.PID())
	return err
}

// seesAll makes sure that what was measured is the work that was meant: all
// containers are on the page, where there is one.
func seesAll(ctx context.Context, a *agent.Agent, v variant, ids []string) error {
	for _, name := range v.without {
		if name == "prometheus" {
			return nil
		}
	}
	page, err := agent.Get(ctx, a.Page)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if !strings.Contains(string(page), id) {
			return fmt.Errorf("look for %.12s: %w", id, errContainers)
		}
	}
	return nil
}

// profiles are asked for when the window is over: they cost time themselves.
func saveProfiles(ctx context.Context, socket string, o options, v variant) error {
	if err := os.MkdirAll(o.profiles, 0o755); err != nil {
		return fmt.Errorf("make folder for profiles: %w", err)
	}
	seconds := fmt.Sprintf("profile?seconds=%d", int(o.window.Seconds()))
	for file, name := range map[string]string{"cpu": seconds, "heap": "heap", "allocs": "allocs", "goroutine": "goroutine"} {
		text, err := inside.Profile(ctx, socket, name)
		if err != nil {
			return err
		}
		path := filepath.Join(o.profiles, strings.ReplaceAll(v.name, " ", "-")+"."+file+".pprof")
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return fmt.Errorf("write profile: %w", err)
		}
	}
	return nil
}

// let lets time pass, unless the agent ends.
func let(ctx context.Context, a *agent.Agent, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-a.Ended():
		return a.Alive()
	}
}

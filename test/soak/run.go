package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/tallymanhq/tallyman/test/soak/agent"
	"github.com/tallymanhq/tallyman/test/soak/inside"
)

// soak is one run.
type soak struct {
	options
	engine  *engine
	agent   *agent.Agent
	loads   []*load
	samples *samples
}

// run is all of it. What it starts it ends, in reverse order, also when ctx ends in
// the middle.
func run(ctx context.Context, o options) (err error) {
	o.dir, err = filepath.Abs(o.dir) // the agent takes no other path of containers' logs
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	log, err := os.Create(filepath.Join(o.dir, "engine.log"))
	if err != nil {
		return fmt.Errorf("make log: %w", err)
	}
	defer log.Close()
	s := &soak{options: o}
	fmt.Println("Starting an engine and the agent.")
	s.engine, err = startEngine(ctx, filepath.Join(o.dir, "engine"), func(format string, args ...any) { fmt.Fprintf(log, format+"\n", args...) })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.engine.close()) }()
	if err := s.startAgent(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.agent.Stop()) }()
	return s.underLoad(ctx)
}

func (s *soak) startAgent(ctx context.Context) error {
	dir := filepath.Join(s.dir, "agent")
	if err := os.RemoveAll(dir); err != nil { // what an earlier run has left
		return fmt.Errorf("make folder: %w", err)
	}
	socket := filepath.Join(s.dir, "inside.sock")
	var err error
	s.agent, err = agent.Start(ctx, agent.Options{
		Binary: s.binary, Config: s.config, Dir: dir,
		Env: []string{
			"TALLYMAN_DOCKER_HOST=" + s.engine.host(), "TALLYMAN_DOCKER_ROOT=" + s.engine.logs(),
			inside.SocketEnv + "=" + socket, inside.LeakEnv + "=" + s.leak,
		},
	})
	if err != nil {
		return err
	}
	s.samples = &samples{look: agentLook(s.agent, socket), begun: time.Now()}
	return nil
}

// underLoad starts the loads, drives the laps and says what came of them.
func (s *soak) underLoad(ctx context.Context) (err error) {
	groups, err := newCgroups(s.rates.named, s.agent.Statsd)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, groups.close()) }()
	tcp, err := newConnections(s.engine.server)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tcp.close()) }()
	flood := newStatsd(s.agent.Statsd)
	defer flood.close()
	s.loads = []*load{
		{name: "cgroups", perSecond: s.rates.cgroups, workers: 16, once: groups.once},
		{name: "containers", perSecond: s.rates.containers, workers: 10, once: s.engine.once},
		{name: "DogStatsD datagrams", perSecond: s.rates.datagrams, workers: 4, once: flood.once},
		{name: "TCP connections", perSecond: s.rates.connections, workers: 32, once: tcp.once},
	}
	stop := start(ctx, s.loads)
	begun := time.Now()
	driven := s.drive(ctx)
	over := time.Since(begun)
	own, ownErr := agent.Get(context.WithoutCancel(ctx), s.agent.Own)
	stop()
	if err := errors.Join(driven, s.samples.write(s.table())); err != nil {
		return err
	}
	return errors.Join(ownErr, s.report(string(own), over))
}

// drive runs the laps, with samples taken all the while. The page is read by nobody
// else, so it is read here, as a Prometheus would.
func (s *soak) drive(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var beside sync.WaitGroup
	defer beside.Wait()
	defer cancel() // before the wait
	beside.Go(func() { s.samples.run(ctx, s.every) })
	beside.Go(func() { s.scrape(ctx) })
	for n := range s.laps() {
		if err := s.driveLap(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// scrapeEvery is the interval of Prometheus' own example.
const scrapeEvery = 15 * time.Second

func (s *soak) scrape(ctx context.Context) {
	for ctx.Err() == nil {
		pause(ctx, scrapeEvery)
		_, _ = agent.Get(ctx, s.agent.Page) // it is not there while the agent starts anew
	}
}

// driveLap disturbs, waits until the agent runs again, and lets it run for half a
// lap at least. The first lap has nothing to disturb.
func (s *soak) driveLap(ctx context.Context, n int) error {
	begun := time.Now()
	s.samples.enter(phase{lap: n})
	var took time.Duration
	if n > 0 {
		var err error
		if took, err = s.disturb(ctx); err != nil {
			return fmt.Errorf("lap %d: %w", n+1, err)
		}
	}
	if err := s.let(ctx, time.Until(begun.Add(s.lap/2))); err != nil {
		return err
	}
	s.samples.enter(phase{lap: n, calm: true})
	if err := s.let(ctx, max(s.lap/2, time.Until(begun.Add(s.lap)))); err != nil {
		return err
	}
	s.tell(n, took)
	return nil
}

// disturb reloads the agent and restarts the engine at the same time, and returns
// how long the agent took.
func (s *soak) disturb(ctx context.Context) (time.Duration, error) {
	var both sync.WaitGroup
	var engineErr error
	both.Go(func() { engineErr = s.engine.restart(ctx) })
	took, err := s.agent.Reload(ctx)
	both.Wait()
	return took, errors.Join(err, engineErr)
}

// let lets time pass, unless the agent ends.
func (s *soak) let(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(max(0, d))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.agent.Ended():
		return s.agent.Alive()
	}
}

// tell prints a line per lap.
func (s *soak) tell(n int, reload time.Duration) {
	v := s.samples.last()
	fmt.Printf("lap %3d of %d: reload %4.1f s, RSS %4.0f MiB, heap %4.0f MiB, %4.0f goroutines, %4.0f descriptors, disk %4.0f MiB\n", n+1, s.laps(),
		reload.Seconds(), v["RSS, MiB"]/mib, v["heap, live, MiB"]/mib, v["goroutines"], v["descriptors"], v["disk, MiB"]/mib)
}

// table is the file with all samples. It is written of an interrupted run, too.
func (s *soak) table() string { return filepath.Join(s.dir, "samples.tsv") }

// report prints everything and returns what has grown, and whether the run had loads.
func (s *soak) report(own string, over time.Duration) error {
	rows, err := judgeAll(s.samples, s.laps(), s.lap)
	if err != nil {
		return err
	}
	complaints, err := s.agent.Complaints()
	if err != nil {
		return err
	}
	fmt.Printf("\n%d laps of %v, a reload and a restart of the engine at the beginning of each.\n\n", s.laps(), s.lap)
	printLoads(os.Stdout, s.loads, over)
	fmt.Println("\nThe agent's log at warn and above:")
	printComplaints(os.Stdout, complaints)
	fmt.Println("\nWhat it has refused, dropped or lost since the last reload:")
	for _, line := range losses(own) {
		fmt.Println("  ", line)
	}
	fmt.Println()
	printRows(os.Stdout, rows, s.lap)
	fmt.Printf("Memory is judged in runs of %v, live heap and files in runs of %v and longer.\n", memoryFrom, recorderFrom)
	fmt.Printf("All samples: %s\n", s.table())
	return errors.Join(borne(s.loads, over), grown(rows))
}

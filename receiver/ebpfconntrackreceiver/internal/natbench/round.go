package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// load is the client and the server, which last for all rounds.
type load struct {
	bed            *bed
	client, server *actor
}

func startLoad(ctx context.Context, b *bed) (*load, error) {
	server, err := start(ctx, b.server, "server")
	if err != nil {
		return nil, err
	}
	client, err := start(ctx, b.client, "client")
	if err != nil {
		return nil, errors.Join(err, server.stop())
	}
	return &load{bed: b, client: client, server: server}, nil
}

// close ends both; a round has said before what went wrong with them.
func (l *load) close() { _ = errors.Join(l.client.stop(), l.server.stop()) }

// cost is what a round took, all of it CPU time of the round.
type cost struct {
	connections int
	whole       time.Duration // the machine, less what others did
	parts       time.Duration // the processes that take part, and ksoftirqd
	agent       time.Duration // the tracker's process
	tracked     tracked
}

func (c *cost) String() string {
	us := func(d time.Duration) float64 { return perConnection(d, c.connections) }
	return fmt.Sprintf("%6.1f µs of the machine, %6.1f µs of those who take part, %5.2f µs of the agent per connection, %+v",
		us(c.whole), us(c.parts), us(c.agent), c.tracked)
}

// perConnection is in microseconds.
func perConnection(d time.Duration, connections int) float64 {
	return float64(d.Nanoseconds()) / 1000 / float64(connections)
}

// round makes n connections under a tracker of its own.
func (l *load) round(ctx context.Context, t tracker, n int) (*cost, error) {
	environment, err := l.environment()
	if err != nil {
		return nil, err
	}
	agent, err := start(ctx, l.bed.router, string(t), environment...)
	if err != nil {
		return nil, err
	}
	c, err := l.measure(ctx, agent, n)
	if err = errors.Join(err, agent.stop()); err != nil {
		return nil, err
	}
	return c, nil
}

func (l *load) environment() ([]string, error) {
	var all []string
	for name, ns := range map[string]string{clientVariable: l.bed.client, serverVariable: l.bed.server} {
		n, err := inode(ns)
		if err != nil {
			return nil, err
		}
		all = append(all, fmt.Sprintf("%s=%d", name, n))
	}
	return all, nil
}

func (l *load) measure(ctx context.Context, agent *actor, n int) (*cost, error) {
	if _, err := l.server.order(0); err != nil { // from here on its time counts
		return nil, err
	}
	part := []int{os.Getpid(), l.client.pid(), l.server.pid(), agent.pid()}
	before, err := readClock(part)
	if err != nil {
		return nil, err
	}
	client, err := l.client.order(n)
	if err != nil {
		return nil, err
	}
	asked, err := agent.order(0) // all that has ended, before it is flushed
	if err != nil {
		return nil, err
	}
	flush, err := l.bed.flush(ctx)
	if err != nil {
		return nil, err
	}
	told, err := agent.order(0)
	if err != nil {
		return nil, err
	}
	after, err := readClock(part)
	if err != nil {
		return nil, err
	}
	server, err := l.server.order(0)
	if err != nil {
		return nil, err
	}
	took := after.minus(before)
	return &cost{
		connections: n,
		whole:       took.machine - took.others,
		parts:       client.CPU + server.CPU + asked.CPU + told.CPU + flush + took.softirqd,
		agent:       asked.CPU + told.CPU,
		tracked:     told.Tracked,
	}, nil
}

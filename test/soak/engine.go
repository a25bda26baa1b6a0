package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moby/moby/client"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

const (
	// mark is how leftovers of a killed engine are found.
	mark = "dev.tallyman.soak"
	// steady is how many containers stay from one restart of the engine to the next.
	steady = 5
	// stay is how long the others live.
	stay = 500 * time.Millisecond
	// clearWithin bounds the removal of what a restart has left, 0.2 s each.
	clearWithin = time.Minute
)

// engine is a private Docker engine that is restarted, with containers that come
// and go.
type engine struct {
	dir  string
	logf func(string, ...any)
	web  atomic.Pointer[string] // host:port of a container's server

	mu      sync.RWMutex // held for writing while the engine restarts
	running *testkit.Engine
}

func startEngine(ctx context.Context, dir string, logf func(string, ...any)) (*engine, error) {
	e := &engine{dir: dir, logf: logf}
	if err := e.start(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

// start has the steady containers run when it returns.
func (e *engine) start(ctx context.Context) error {
	running, err := testkit.StartEngine(ctx, e.dir, e.logf)
	if err != nil {
		return err
	}
	e.running = running
	if err := e.clear(ctx); err != nil {
		return errors.Join(err, running.Stop())
	}
	for i := range steady {
		spec := testkit.ContainerSpec{Name: fmt.Sprintf("soak-steady-%d", i), Labels: map[string]string{mark: "1"}}
		if i == 0 {
			spec.Cmd = []string{"sh", "-c", "mkdir /www; echo hello >/www/index.html; exec httpd -f -p 80 -h /www"}
		}
		c, err := running.StartContainer(ctx, spec)
		if err == nil && i == 0 {
			err = e.serveAt(ctx, c)
		}
		if err != nil {
			return errors.Join(err, running.Stop())
		}
	}
	return nil
}

func (e *engine) serveAt(ctx context.Context, c *testkit.Container) error {
	info, err := c.Inspect(ctx)
	if err != nil {
		return err
	}
	for _, network := range info.NetworkSettings.Networks {
		if network.IPAddress.IsValid() {
			address := net.JoinHostPort(network.IPAddress.String(), "80")
			e.web.Store(&address)
		}
	}
	return nil
}

// server is where a container answers HTTP.
func (e *engine) server() string {
	if address := e.web.Load(); address != nil {
		return *address
	}
	return ""
}

// clear removes all containers of this and of earlier runs.
func (e *engine) clear(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, clearWithin)
	defer cancel()
	list, err := e.running.Client().ContainerList(ctx, client.ContainerListOptions{
		All: true, Filters: client.Filters{}.Add("label", mark),
	})
	if err != nil {
		return fmt.Errorf("list the containers of the soak: %w", err)
	}
	var errs []error
	for _, c := range list.Items {
		_, err := e.running.Client().ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// once starts a container, which writes a line, and removes it. Every tenth fails by
// itself before.
func (e *engine) once(ctx context.Context, n int64) error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	script := "echo hello; exec sleep 1000"
	if n%10 == 0 {
		script = "echo hello; exit 3"
	}
	c, err := e.running.StartContainer(ctx, testkit.ContainerSpec{
		Cmd: []string{"sh", "-c", script}, Labels: map[string]string{mark: "1", "com.docker.compose.project": "soak"},
	})
	if err != nil {
		return err
	}
	pause(ctx, stay)
	return c.Remove(context.WithoutCancel(ctx))
}

// restart stops the engine, which ends all containers, and starts it again. Who is
// in the middle of a container finishes it first.
func (e *engine) restart(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.web.Store(nil)
	if err := e.running.Stop(); err != nil {
		return fmt.Errorf("restart the engine: %w", err)
	}
	if err := e.start(ctx); err != nil {
		return fmt.Errorf("restart the engine: %w", err)
	}
	return nil
}

func (e *engine) host() string { return e.running.Host() }

// logs is where the engine keeps what containers write.
func (e *engine) logs() string { return filepath.Join(e.dir, "data") }

func (e *engine) close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return errors.Join(e.running.Stop(), os.RemoveAll(e.dir))
}

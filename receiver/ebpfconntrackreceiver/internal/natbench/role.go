package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// roleVariable makes a process of this program one of those that take part: client,
// server, or a tracker's name. It reads orders from its input, a number in a line
// each, and writes a line of JSON for each to its output. Its first line says that it
// is ready.
const roleVariable = "TALLYMAN_NATBENCH_ROLE"

// result is what a role says to an order.
type result struct {
	// CPU is what the process has used since its last result.
	CPU time.Duration
	// Tracked is for trackers only.
	Tracked tracked
}

func playRole(role string) error {
	switch role {
	case "client":
		return obey(func(n int) (tracked, error) { return tracked{}, connectAll(n) })
	case "server":
		if err := serve(); err != nil {
			return err
		}
		return obey(func(int) (tracked, error) { return tracked{}, nil })
	}
	return runTracker(tracker(role))
}

// obey answers orders until the input ends.
func obey(do func(n int) (tracked, error)) error {
	out := json.NewEncoder(os.Stdout)
	last, err := processTime()
	if err != nil {
		return err
	}
	if err := out.Encode(result{}); err != nil {
		return fmt.Errorf("say ready: %w", err)
	}
	orders := bufio.NewScanner(os.Stdin)
	for orders.Scan() {
		n, err := strconv.Atoi(orders.Text())
		if err != nil {
			return fmt.Errorf("read order: %w", err)
		}
		var r result
		if r.Tracked, err = do(n); err != nil {
			return err
		}
		now, err := processTime()
		if err != nil {
			return err
		}
		r.CPU, last = now-last, now
		if err := out.Encode(r); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	return orders.Err()
}

// processTime is what this process has used, user and system, of all threads.
func processTime() (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		return 0, fmt.Errorf("read CPU time: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

// actor is a role's process, as the driver has it.
type actor struct {
	role string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *json.Decoder
}

// start starts a process of this program in a namespace, and waits until it is ready.
func start(ctx context.Context, ns, role string, environment ...string) (*actor, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own program: %w", err)
	}
	a := &actor{role: role, cmd: exec.CommandContext(ctx, self)}
	a.cmd.Env = append(append(os.Environ(), roleVariable+"="+role), environment...)
	a.cmd.Stderr = os.Stderr
	if a.in, err = a.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	out, err := a.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	a.out = json.NewDecoder(out)
	if err := inside(ns, a.cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	if _, err := a.result(); err != nil {
		return nil, errors.Join(err, a.stop())
	}
	return a, nil
}

// order has the actor do something, and returns what it says when it is done.
func (a *actor) order(n int) (result, error) {
	if _, err := fmt.Fprintln(a.in, n); err != nil {
		return result{}, fmt.Errorf("order %s: %w", a.role, err)
	}
	return a.result()
}

func (a *actor) result() (result, error) {
	var r result
	if err := a.out.Decode(&r); err != nil {
		return r, fmt.Errorf("hear from %s: %w", a.role, err)
	}
	return r, nil
}

func (a *actor) pid() int { return a.cmd.Process.Pid }

// stop ends the process, by the end of its input.
func (a *actor) stop() error {
	if err := errors.Join(a.in.Close(), a.cmd.Wait()); err != nil {
		return fmt.Errorf("stop %s: %w", a.role, err)
	}
	return nil
}

package testkit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// sharedDir holds the engine that test processes share. Not below /tmp:
	// there any user could be first, and it may be memory where tests count
	// block IO.
	sharedDir = "/var/lib/tallyman-test"
	// sharedGrace is how long it lives on without a user, so that the packages
	// of one `go test ./...` do not each start it.
	sharedGrace = 10 * time.Second
)

// watchScript waits until nobody holds the lock, and still nobody after the
// grace, and then ends the engine while holding the lock itself. It runs apart
// from all test processes, because none of them knows that it is the last one.
const watchScript = `
lock=$1; grace=$2; stop=$3; run=$4; bridge=$5; dir=$6
while :; do
	flock "$lock" true
	sleep "$grace"
	flock -n -E 99 "$lock" sh -c "$stop"'
rm -rf "$dir"' sh "$run" "$bridge" "$dir"
	[ $? -eq 99 ] || exit
done`

// sharedEngine is one engine per machine: users hold the lock file shared as
// long as they use it; starting and ending takes it alone. The kernel gives a
// dead process's lock back, so nothing has to be counted or tidied up.
func sharedEngine(ctx context.Context, logf func(string, ...any)) (*Engine, func(), error) {
	return shareEngine(ctx, sharedDir, share{grace: sharedGrace, logf: logf})
}

type share struct {
	grace time.Duration
	logf  func(string, ...any)
}

func shareEngine(ctx context.Context, dir string, s share) (*Engine, func(), error) {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, nil, fmt.Errorf("share a docker engine: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("share a docker engine: %w", err)
	}
	engine, err := s.use(ctx, lock)
	if err != nil {
		return nil, nil, errors.Join(err, lock.Close())
	}
	// Closing gives the lock back. There is nobody to tell about an error.
	return engine, func() { _ = lock.Close() }, nil
}

// use returns the engine with the lock held shared. Between starting and using
// the lock is free for a moment, so the watchdog may have been faster: again.
func (s share) use(ctx context.Context, lock *os.File) (*Engine, error) {
	dir := filepath.Join(filepath.Dir(lock.Name()), "engine")
	d, err := newDaemon(dir)
	if err != nil {
		return nil, err
	}
	for {
		if err := flock(lock, unix.LOCK_SH); err != nil {
			return nil, err
		}
		engine, err := dialEngine(ctx, d.socket())
		if err == nil || ctx.Err() != nil {
			return engine, err
		}
		if err := s.startAlone(ctx, lock, d); err != nil {
			return nil, err
		}
	}
}

func (s share) startAlone(ctx context.Context, lock *os.File, d *daemon) error {
	// Given back first: two users turning shared into exclusive would wait for
	// each other.
	if err := flock(lock, unix.LOCK_UN); err != nil {
		return err
	}
	if there, err := lockAlone(ctx, lock, d); there || err != nil {
		return err
	}
	if err := d.start(ctx, s.logf); err != nil {
		return err
	}
	return s.watch(ctx, lock, d)
}

// lockAlone takes the lock, or reports that another user was first and the
// engine is there. It does not just wait for the lock: the first one keeps it
// shared for as long as it uses the engine, minutes maybe.
func lockAlone(ctx context.Context, lock *os.File, d *daemon) (there bool, err error) {
	var broken error
	err = Poll(ctx, func() error {
		if _, err := dialEngine(ctx, d.socket()); err == nil {
			there = true
			return nil
		}
		err := flock(lock, unix.LOCK_EX|unix.LOCK_NB)
		if err != nil && !errors.Is(err, unix.EWOULDBLOCK) {
			broken = err
			return nil
		}
		return err
	})
	return there, errors.Join(err, broken)
}

func (s share) watch(ctx context.Context, lock *os.File, d *daemon) error {
	const script = `watch=$1; shift; setsid sh -c "$watch" sh "$@" >>"$6/watch.log" 2>&1 </dev/null &`
	grace := strconv.FormatFloat(s.grace.Seconds(), 'f', 3, 64)
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", script, "sh", watchScript,
		lock.Name(), grace, stopScript, d.run, d.bridge, d.dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.Join(fmt.Errorf("watch over the docker engine: %w: %s", err, out), d.stop())
	}
	return nil
}

// flock waits for the lock. A signal, of which the Go runtime sends itself
// many, interrupts the wait.
func flock(file *os.File, how int) error {
	for {
		err := unix.Flock(int(file.Fd()), how)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("lock %s: %w", file.Name(), err)
		}
	}
}

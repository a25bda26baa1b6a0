package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// used is what this process has used since its start.
type used struct {
	cpu     time.Duration // user and system, all threads
	mallocs uint64
}

func usage() (used, error) {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return used{}, fmt.Errorf("read CPU time: %w", err)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return used{time.Duration(r.Utime.Nano() + r.Stime.Nano()), m.Mallocs}, nil
}

func (u used) minus(o used) used { return used{u.cpu - o.cpu, u.mallocs - o.mallocs} }

// memory is in bytes.
type memory struct{ now, peak int }

// readMemory reads lines such as "VmHWM:	  123456 kB" of /proc/self/status
// (https://docs.kernel.org/filesystems/proc.html, table 1-2).
func readMemory() (memory, error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return memory{}, fmt.Errorf("read memory: %w", err)
	}
	var m memory
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		n, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
		switch name {
		case "VmRSS":
			m.now = n << 10
		case "VmHWM":
			m.peak = n << 10
		}
	}
	return m, nil
}

// resetPeak makes the peak what is there now.
func resetPeak() error { return os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) }

// heap is what lives after a collection.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // what the first one only made free to finalize
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

const (
	// patience is ample for anything that is waited for.
	patience = 2 * time.Minute
	// lookEvery is short against what is waited for and costs nothing that shows.
	lookEvery = 20 * time.Millisecond
)

var errNotYet = errors.New("not what is waited for")

// await calls f until it returns something else than errNotYet.
func await(ctx context.Context, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		err := f()
		if !errors.Is(err, errNotYet) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-tick.C:
		}
	}
}

// ballastBytes is about the heap of an agent with its other components: without it
// the collector would run far more often than there, to the harm of who allocates.
const ballastBytes = 32 << 20

// weight is the other heap.
type weight []byte

func ballast() weight { return make(weight, ballastBytes) }

func (w weight) keep() { runtime.KeepAlive(w) }

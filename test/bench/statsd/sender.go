package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// orderVariable makes this program a sender: its value is the order.
const orderVariable = "TALLYMAN_BENCH_STATSD_ORDER"

// order is what a sender does.
type order struct {
	Path string
	Load load
	// Rate is in datagrams per second; 0 is as fast as they are taken.
	Rate float64
	// Cgroups are directories of cgroups that it enters before it connects.
	Cgroups []string
	// CPU is the only one that it runs on.
	CPU int
}

// runSender connects and says so. Then, for each line it reads, it sends whole
// cycles until the time of that line has passed, at least one, and answers with
// their number. It sends with a socket that waits, so nothing is lost.
func runSender(text string) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return fmt.Errorf("parse order: %w", err)
	}
	for _, dir := range o.Cgroups {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0); err != nil {
			return fmt.Errorf("enter cgroup: %w", err)
		}
	}
	if err := runOn(o.CPU); err != nil {
		return err
	}
	datagrams := o.Load.datagrams()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: o.Path}); err != nil {
		return fmt.Errorf("connect to %s: %w", o.Path, err)
	}
	pace, err := newPacer(o.Rate)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		long, err := time.ParseDuration(lines.Text())
		if err != nil {
			return fmt.Errorf("parse time: %w", err)
		}
		cycles, err := sendFor(long, fd, datagrams, pace)
		if err != nil {
			return fmt.Errorf("send in cycle %d: %w", cycles, err)
		}
		fmt.Println(cycles)
	}
	return nil
}

// runOn keeps this goroutine on one CPU.
func runOn(cpu int) error {
	runtime.LockOSThread()
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("run on CPU %d: %w", cpu, err)
	}
	return nil
}

func sendFor(long time.Duration, fd int, datagrams [][]byte, pace *pacer) (cycles int, err error) {
	if err := pace.start(); err != nil {
		return 0, err
	}
	for begin := time.Now(); cycles == 0 || time.Since(begin) < long; cycles++ {
		for _, d := range datagrams {
			if err := pace.wait(); err != nil {
				return cycles, err
			}
			if err := retry(func() error { return unix.Send(fd, d, 0) }); err != nil {
				return cycles, err
			}
		}
	}
	return cycles, nil
}

func retry(f func() error) error {
	err := f()
	for errors.Is(err, unix.EINTR) {
		err = f()
	}
	return err
}

// pacer lets one datagram go at each tick of a timer of the kernel, finer than
// those of Go. Ticks that come while a datagram waits are made up for.
type pacer struct {
	fd   int // 0 without a rate
	tick unix.Timespec
	due  uint64
}

func newPacer(rate float64) (*pacer, error) {
	if rate == 0 {
		return &pacer{}, nil
	}
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make timer: %w", err)
	}
	return &pacer{fd: fd, tick: unix.NsecToTimespec(int64(1e9 / rate))}, nil
}

func (p *pacer) start() error {
	if p.fd == 0 {
		return nil
	}
	p.due = 0
	return unix.TimerfdSettime(p.fd, 0, &unix.ItimerSpec{Interval: p.tick, Value: p.tick}, nil)
}

func (p *pacer) wait() error {
	if p.fd == 0 {
		return nil
	}
	if p.due == 0 {
		var ticks [8]byte
		if err := retry(func() error { _, err := unix.Read(p.fd, ticks[:]); return err }); err != nil {
			return fmt.Errorf("wait for timer: %w", err)
		}
		p.due = binary.NativeEndian.Uint64(ticks[:])
	}
	p.due--
	return nil
}

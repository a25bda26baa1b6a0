package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// clock is the CPU time of the machine since its start.
type clock struct {
	machine  time.Duration
	softirqd time.Duration // of the kernel's threads that do the network's work when there is much of it
	others   time.Duration // of processes that take no part, with their children that have ended
}

func (c clock) minus(o clock) clock {
	return clock{c.machine - o.machine, c.softirqd - o.softirqd, c.others - o.others}
}

// readClock takes the pids that take part; the kernel's threads may work for them,
// and are not others.
func readClock(part []int) (clock, error) {
	var c clock
	var err error
	if c.machine, err = machineTime(); err != nil {
		return c, err
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return c, fmt.Errorf("list processes: %w", err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it has gone
		}
		name, rest, ok := cutStat(string(text))
		if !ok {
			continue
		}
		fields := strings.Fields(rest)
		switch {
		case strings.HasPrefix(name, "ksoftirqd/"):
			c.softirqd += sumTicks(fields, 11, 13) // utime, stime
		case !isKernels(pid, fields) && !slices.Contains(part, pid):
			c.others += sumTicks(fields, 11, 15) // and cutime, cstime
		}
	}
	return c, nil
}

// kthreadd is the pid of the parent of the kernel's threads.
const kthreadd = 2

// isKernels looks at ppid.
func isKernels(pid int, fields []string) bool {
	return pid == kthreadd || len(fields) > 1 && fields[1] == strconv.Itoa(kthreadd)
}

// cutStat returns the name in a line such as "15 (ksoftirqd/0) S 2 0 ...", and what
// follows it (https://docs.kernel.org/filesystems/proc.html, table 1-4).
func cutStat(text string) (name, rest string, ok bool) {
	begin, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if begin < 0 || end < begin {
		return "", "", false
	}
	return text[begin+1 : end], text[end+1:], true
}

// tickDuration is the unit of /proc: USER_HZ is 100 on every architecture that Go
// has for Linux.
const tickDuration = 10 * time.Millisecond

// sumTicks adds up fields [from, to).
func sumTicks(fields []string, from, to int) time.Duration {
	var sum time.Duration
	for i := from; i < to && i < len(fields); i++ {
		n, _ := strconv.ParseInt(fields[i], 10, 64)
		sum += time.Duration(n) * tickDuration
	}
	return sum
}

// machineTime is what all processors have done: user, nice, system, irq, softirq of
// the first line of /proc/stat, "cpu  user nice system idle iowait irq softirq ...".
func machineTime() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, fmt.Errorf("read CPU time of the machine: %w", err)
	}
	return parseMachine(string(text))
}

var errNoCPU = errors.New("no line of all processors")

func parseMachine(text string) (time.Duration, error) {
	line, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(line)
	if len(fields) < 8 || fields[0] != "cpu" {
		return 0, fmt.Errorf("read CPU time of the machine from %q: %w", line, errNoCPU)
	}
	return sumTicks(fields, 1, 4) + sumTicks(fields, 6, 8), nil
}

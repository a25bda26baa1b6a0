package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// userHz is the unit of times in /proc for user space: 100 per second on every
// architecture that Docker runs on, whatever the kernel's own tick is.
const userHz = 100

var errFormat = errors.New("unknown format")

// procStat is what /proc/PID/stat says of one process.
type procStat struct {
	name   string
	parent int
	// own is the CPU time of all threads, user and system, and that of the
	// children that were waited for; in seconds.
	own float64
}

func readStat(pid int) (procStat, error) {
	text, err := os.ReadFile(procFile(pid, "stat"))
	if err != nil {
		return procStat{}, fmt.Errorf("read stat of process %d: %w", pid, err)
	}
	s, err := parseStat(text)
	if err != nil {
		return s, fmt.Errorf("parse stat of process %d: %w", pid, err)
	}
	return s, nil
}

// parseStat reads lines such as
//
//	742 (dockerd) S 1 742 742 0 -1 4194560 9117 60 0 0 13 9 2 1 20 0 ...
//
// (https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html). A name may
// contain blanks and brackets, so it ends with the last bracket.
func parseStat(text []byte) (procStat, error) {
	const parent, utime, cstime = 1, 11, 14 // counted from the field after the name
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return procStat{}, fmt.Errorf("%w: no name in %q", errFormat, text)
	}
	fields := strings.Fields(string(text[end+1:]))
	if len(fields) <= cstime {
		return procStat{}, fmt.Errorf("%w: %d fields after the name", errFormat, len(fields))
	}
	s := procStat{name: string(text[open+1 : end])}
	var err error
	if s.parent, err = strconv.Atoi(fields[parent]); err != nil {
		return procStat{}, fmt.Errorf("%w: parent %q", errFormat, fields[parent])
	}
	for _, field := range fields[utime : cstime+1] {
		ticks, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return procStat{}, fmt.Errorf("%w: time %q", errFormat, field)
		}
		s.own += float64(ticks) / userHz
	}
	return s, nil
}

// memory is the resident memory of a process in bytes, now and at most.
type memory struct{ now, peak float64 }

func readMemory(pid int) (memory, error) {
	text, err := os.ReadFile(procFile(pid, "status"))
	if err != nil {
		return memory{}, fmt.Errorf("read status of process %d: %w", pid, err)
	}
	now, err := statusField(text, "VmRSS")
	peak, peakErr := statusField(text, "VmHWM")
	if err = errors.Join(err, peakErr); err != nil {
		return memory{}, fmt.Errorf("parse status of process %d: %w", pid, err)
	}
	return memory{now, peak}, nil
}

// statusField finds a line such as "VmRSS:	   70544 kB" and returns bytes.
func statusField(text []byte, name string) (float64, error) {
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[0] != name+":" {
			continue
		}
		kib, err := strconv.ParseUint(fields[1], 10, 64)
		if err != nil || fields[2] != "kB" {
			return 0, fmt.Errorf("%w: %q", errFormat, line)
		}
		return float64(kib) * 1024, nil
	}
	return 0, fmt.Errorf("%w: no %s", errFormat, name)
}

// parseBusy adds up, from /proc/stat, the seconds in which the machine's CPUs
// did anything: the first line, "cpu user nice system idle iowait irq softirq
// steal guest guest_nice". Guests are in user already.
func parseBusy(text []byte) (float64, error) {
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line)
	if len(fields) < 8 || fields[0] != "cpu" {
		return 0, fmt.Errorf("%w: %q", errFormat, line)
	}
	var busy float64
	for _, i := range []int{1, 2, 3, 6, 7} {
		ticks, err := strconv.ParseUint(fields[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%w: %q", errFormat, line)
		}
		busy += float64(ticks) / userHz
	}
	return busy, nil
}

func readBusy() (float64, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, fmt.Errorf("read the machine's CPU time: %w", err)
	}
	return parseBusy(text)
}

// processes lists everything that runs, by process id. What ends meanwhile is
// left out.
func processes() (map[int]procStat, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	all := map[int]procStat{}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if s, err := readStat(pid); err == nil {
			all[pid] = s
		}
	}
	return all, nil
}

// family returns the process and all its living descendants.
func family(all map[int]procStat, pid int) []int {
	members := []int{pid}
	for child, s := range all {
		if s.parent == pid && child != pid {
			members = append(members, family(all, child)...)
		}
	}
	return members
}

func procFile(pid int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), name)
}

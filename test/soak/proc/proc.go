package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// userHz is the unit of times in /proc for user space: 100 per second on every
// architecture that Docker runs on, whatever the kernel's own tick is.
const userHz = 100

var errFormat = errors.New("unknown format")

// Usage is what a process has at one moment.
type Usage struct {
	// RSS is what is resident, in bytes: Anon is its own memory, File are pages of
	// its program, which the kernel may take back.
	RSS, Anon, File int64
	// PSS is RSS with shared pages divided by who shares them, in bytes.
	PSS int64
	// Threads that live.
	Threads int64
}

// ReadUsage reads /proc/PID/status and smaps_rollup
// (https://docs.kernel.org/filesystems/proc.html).
func ReadUsage(pid int) (Usage, error) {
	var u Usage
	status, err := read(pid, "status")
	if err != nil {
		return u, err
	}
	rollup, err := read(pid, "smaps_rollup")
	if err != nil {
		return u, err
	}
	errs := []error{
		field(status, "VmRSS", "kB", &u.RSS), field(status, "RssAnon", "kB", &u.Anon), field(status, "RssFile", "kB", &u.File),
		field(status, "Threads", "", &u.Threads), field(rollup, "Pss", "kB", &u.PSS),
	}
	if err := errors.Join(errs...); err != nil {
		return u, fmt.Errorf("parse memory of process %d: %w", pid, err)
	}
	return u, nil
}

// field finds a line such as "VmRSS:	   70544 kB". What is in kB is told in bytes.
func field(text []byte, name, unit string, to *int64) error {
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != name+":" {
			continue
		}
		value, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil || unit != "" && (len(fields) != 3 || fields[2] != unit) {
			return fmt.Errorf("%w: %q", errFormat, line)
		}
		if unit != "" {
			value *= 1024
		}
		*to = value
		return nil
	}
	return fmt.Errorf("%w: no %s", errFormat, name)
}

// CPU is processor time since the start of the process, of all its threads.
type CPU struct{ User, System time.Duration }

// Total is both.
func (c CPU) Total() time.Duration { return c.User + c.System }

// ReadCPU reads /proc/PID/stat, which counts in 10 ms
// (https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html).
func ReadCPU(pid int) (CPU, error) {
	text, err := read(pid, "stat")
	if err != nil {
		return CPU{}, err
	}
	c, err := parseCPU(text)
	if err != nil {
		return c, fmt.Errorf("parse stat of process %d: %w", pid, err)
	}
	return c, nil
}

// parseCPU counts fields after the name, which may contain blanks and brackets.
func parseCPU(text []byte) (CPU, error) {
	const user, system = 11, 12
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) <= system {
		return CPU{}, fmt.Errorf("%w: %q", errFormat, text)
	}
	u, err := strconv.ParseInt(fields[user], 10, 64)
	s, errSystem := strconv.ParseInt(fields[system], 10, 64)
	if err := errors.Join(err, errSystem); err != nil {
		return CPU{}, fmt.Errorf("%w: %w", errFormat, err)
	}
	const tick = time.Second / userHz
	return CPU{User: time.Duration(u) * tick, System: time.Duration(s) * tick}, nil
}

// ReadSwitches is how often threads of a process have gone to sleep by themselves,
// which is how often they were woken. Those of ended threads are not in it.
func ReadSwitches(pid int) (int64, error) {
	tasks, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "task"))
	if err != nil {
		return 0, fmt.Errorf("list threads of process %d: %w", pid, err)
	}
	var sum int64
	for _, task := range tasks {
		text, err := read(pid, filepath.Join("task", task.Name(), "status"))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		var n int64
		if err = errors.Join(err, field(text, "voluntary_ctxt_switches", "", &n)); err != nil {
			return 0, fmt.Errorf("parse threads of process %d: %w", pid, err)
		}
		sum += n
	}
	return sum, nil
}

func read(pid int, name string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), name))
	if err != nil {
		return nil, fmt.Errorf("read %s of process %d: %w", name, pid, err)
	}
	return text, nil
}

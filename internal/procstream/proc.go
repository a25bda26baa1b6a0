package procstream

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// ErrMalformed says that a /proc file did not have its documented form.
var ErrMalformed = errors.New("malformed")

// userHZ is the unit of times in /proc/PID/stat: USER_HZ, which is 100 on
// every architecture Go supports on Linux (include/asm-generic/param.h).
const userHZ = 100

// Flags and states of /proc/PID/stat, from include/linux/sched.h.
const (
	pfExiting = 0x4 // PF_EXITING: the task is in do_exit
	zombie    = 'Z'
	dead      = 'X'
)

// Stat is what /proc/PID/stat says of one process.
type Stat struct {
	PID, PPID int
	// Start identifies the process together with PID: ticks (10 ms) since
	// the host booted.
	Start uint64
	// Comm is the command name: 15 bytes at most, 63 of a kernel thread.
	// Bytes that are not UTF-8 (a name cut inside a character) are replaced.
	Comm string
	// RSS is the resident memory in bytes.
	RSS uint64
	// Ended: a zombie, or on its way there. The kernel says it of the first
	// thread: with others it may be true while they still run, be it that
	// they are freeing the memory or that only the first one left.
	Ended bool
}

// Reader reads processes below one procfs. It is not safe for concurrent use.
type Reader struct {
	proc string
	boot time.Time
	page uint64
	buf  []byte
	path []byte
}

// NewReader returns a reader of the procfs at roots.Proc.
func NewReader(roots hostfs.Roots) *Reader {
	return &Reader{proc: roots.Proc, boot: bootTime(), page: uint64(os.Getpagesize()), buf: make([]byte, 0, 4096)}
}

// bootTime is the wall time of the host's boot; start times of processes
// count from it on CLOCK_BOOTTIME.
func bootTime() time.Time {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return time.Time{}
	}
	return time.Now().Add(-time.Duration(ts.Nano()))
}

// WallTime turns a time since boot into wall time. Unlike [Reader.StartTime] it
// asks the clocks anew: wall time may have been set since.
func WallTime(sinceBoot time.Duration) time.Time {
	return bootTime().Add(sinceBoot)
}

// StartTime turns [Stat.Start] into wall time, exact to 10 ms.
func (r *Reader) StartTime(start uint64) time.Time {
	return r.boot.Add(time.Duration(start) * (time.Second / userHZ))
}

// Executable is the name of the file that a process executes, cut to the length
// of a command name; "" if it cannot be told.
func (r *Reader) Executable(pid int) string {
	file, err := os.Readlink(r.proc + "/" + strconv.Itoa(pid) + "/exe")
	if err != nil {
		return "" // gone, or a kernel thread, or not for us to see
	}
	name := filepath.Base(strings.TrimSuffix(file, " (deleted)"))
	return name[:min(len(name), commMax)]
}

// commMax is TASK_COMM_LEN without the final zero (include/linux/sched.h).
const commMax = 15

// Ticks is the inverse of StartTime, rounded down.
func (r *Reader) Ticks(at time.Time) uint64 {
	d := at.Sub(r.boot)
	if d < 0 {
		return 0
	}
	return uint64(d / (time.Second / userHZ))
}

func (r *Reader) file(pid int, name string) string {
	r.path = append(r.path[:0], r.proc...)
	r.path = append(r.path, '/')
	r.path = strconv.AppendInt(r.path, int64(pid), 10)
	r.path = append(r.path, '/')
	r.path = append(r.path, name...)
	return string(r.path)
}

// Root is the path through which the process' root directory can be reached.
func (r *Reader) Root(pid int) string { return r.file(pid, "root") }

// Mountinfo is the path of the process' mount table.
func (r *Reader) Mountinfo(pid int) string { return r.file(pid, "mountinfo") }

// Pids appends the process ids in a cgroup.procs file to dst. A removed
// cgroup gives [hostfs.ErrGone]. Ids are as this pid namespace numbers them;
// processes it cannot see are written as 0 by the kernel and left out.
func (r *Reader) Pids(procsFile string, dst []int) ([]int, error) {
	b, err := hostfs.ReadFile(procsFile, r.buf)
	r.buf = b
	if err != nil {
		return dst, err
	}
	return parsePids(b, dst)
}

func parsePids(b []byte, dst []int) ([]int, error) {
	for len(b) > 0 {
		line, rest, _ := bytes.Cut(b, []byte("\n"))
		b = rest
		pid, err := strconv.ParseInt(string(line), 10, 32)
		if err != nil || pid < 0 {
			return dst, fmt.Errorf("cgroup.procs line %q: %w", line[:min(len(line), 32)], ErrMalformed)
		}
		if pid > 0 {
			dst = append(dst, int(pid))
		}
	}
	return dst, nil
}

// Stat reads one process. One that has gone gives [hostfs.ErrGone].
func (r *Reader) Stat(pid int) (Stat, error) {
	b, err := hostfs.ReadFile(r.file(pid, "stat"), r.buf)
	r.buf = b
	if err != nil {
		return Stat{}, err
	}
	s, err := parseStat(b)
	s.RSS *= r.page
	return s, err
}

// Positions in /proc/PID/stat after the command name, counted from the state.
const (
	statState = 0
	statPPID  = 1
	statFlags = 6
	statStart = 19
	statRSS   = 21
)

// parseStat reads "4711 (comm) S 1 ...". The command may hold blanks and
// parentheses, so it ends at the last ")". RSS is left in pages.
func parseStat(b []byte) (Stat, error) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 2 || b[open-1] != ' ' || end < open {
		return Stat{}, malformed("stat", b)
	}
	pid, err := strconv.ParseUint(string(b[:open-1]), 10, 31)
	fields := bytes.Fields(b[end+1:])
	if err != nil || len(fields) <= statRSS || len(fields[statState]) != 1 {
		return Stat{}, malformed("stat", b)
	}
	ppid, err := strconv.ParseUint(string(fields[statPPID]), 10, 31)
	flags, err2 := strconv.ParseUint(string(fields[statFlags]), 10, 64)
	start, err3 := strconv.ParseUint(string(fields[statStart]), 10, 64)
	rss, err4 := strconv.ParseUint(string(fields[statRSS]), 10, 64)
	if err := errors.Join(err, err2, err3, err4); err != nil {
		return Stat{}, malformed("stat", b)
	}
	state := fields[statState][0]
	return Stat{
		PID: int(pid), PPID: int(ppid), Comm: strings.ToValidUTF8(string(b[open+1:end]), "\uFFFD"),
		Start: start, RSS: rss,
		Ended: state == zombie || state == dead || flags&pfExiting != 0,
	}, nil
}

// VPID reads the process id in the innermost pid namespace; 0 if the kernel
// does not say.
func (r *Reader) VPID(pid int) (int, error) {
	b, err := hostfs.ReadFile(r.file(pid, "status"), r.buf)
	r.buf = b
	if err != nil {
		return 0, err
	}
	return parseVPID(b)
}

// parseVPID takes the last number of the line "NSpid:\t4711\t1".
func parseVPID(b []byte) (int, error) {
	for len(b) > 0 {
		line, rest, _ := bytes.Cut(b, []byte("\n"))
		b = rest
		value, ok := bytes.CutPrefix(line, []byte("NSpid:"))
		if !ok {
			continue
		}
		fields := bytes.Fields(value)
		if len(fields) == 0 {
			return 0, malformed("status", line)
		}
		vpid, err := strconv.Atoi(string(fields[len(fields)-1]))
		if err != nil || vpid < 0 {
			return 0, malformed("status", line)
		}
		return vpid, nil
	}
	return 0, nil
}

// KillPending reports whether a process has been sent SIGKILL and has not
// acted on it yet: one that waits for a processor, or in the kernel.
func (r *Reader) KillPending(pid int) (bool, error) {
	b, err := hostfs.ReadFile(r.file(pid, "status"), r.buf)
	r.buf = b
	if err != nil {
		return false, err
	}
	return parseKillPending(b)
}

// sigkillBit is SIGKILL in a signal mask.
const sigkillBit = 1 << (9 - 1)

// parseKillPending reads the lines "SigPnd:\t0000000000000100" (this thread)
// and "ShdPnd:" (the whole process), masks in hexadecimal.
func parseKillPending(b []byte) (bool, error) {
	pending := false
	for line := range bytes.Lines(b) {
		key, value, _ := bytes.Cut(line, []byte(":"))
		if name := string(key); name != "SigPnd" && name != "ShdPnd" {
			continue
		}
		mask, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 16, 64)
		if err != nil {
			return false, malformed("status", line)
		}
		pending = pending || mask&sigkillBit != 0
	}
	return pending, nil
}

func malformed(what string, b []byte) error {
	return fmt.Errorf("%s %q: %w", what, b[:min(len(b), 64)], ErrMalformed)
}

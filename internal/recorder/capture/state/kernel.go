package state

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// kernel reads what the kernel has said about OOM kills since a time.
func (p *shot) kernel(from time.Time) {
	text, err := ReadOOM(filepath.Join(p.o.Roots.Root, "dev/kmsg"), from)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("%w (it needs %s)", err, syslog)
		}
		p.s.miss("kernel log", err)
		return
	}
	p.s.Kernel = p.redactor.Text(text)
}

const (
	// maxRecord is PRINTK_MESSAGE_MAX (kernel/printk/internal.h): a read with less
	// room is refused.
	maxRecord = 2048
	// maxRecords is what the largest log (2^25 bytes by CONFIG_LOG_BUF_SHIFT) holds
	// of short lines; the usual one of 2^18 has some thousands.
	maxRecords = 500_000
	// maxReport bounds what is kept: the report of one kill with a thousand tasks
	// is about 100 KB.
	maxReport = 256 << 10
)

// ReadOOM returns the kernel's reports about OOM kills from a time on, "" if
// there are none. The path is that of /dev/kmsg; it needs CAP_SYSLOG where
// kernel.dmesg_restrict is set. It reads what is there and never waits.
func ReadOOM(path string, from time.Time) (string, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("open %s: %w", path, err)
	}
	defer func() { _ = unix.Close(fd) }()
	boot, err := bootOfLog()
	if err != nil {
		return "", err
	}
	var report reporter
	buf := make([]byte, maxRecord)
	for range maxRecords {
		n, err := unix.Read(fd, buf)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EPIPE):
			continue // EPIPE: records were overwritten; the next read goes on after them
		case errors.Is(err, unix.EAGAIN):
			return report.text(), nil
		case err != nil:
			return "", fmt.Errorf("read %s: %w", path, err)
		case n == 0:
			return report.text(), nil // a plain file, of a test
		}
		since, text, ok := parseRecord(buf[:n])
		if ok && !boot.Add(since).Before(from) {
			report.line(text)
		}
	}
	return report.text(), nil
}

// bootOfLog is the moment from which the times of the log count. They are of
// local_clock, which goes with CLOCK_MONOTONIC but may be off by some
// milliseconds in an hour: good enough to tell minutes apart.
func bootOfLog() (time.Time, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return time.Time{}, fmt.Errorf("read monotonic clock: %w", err)
	}
	return time.Now().Add(-time.Duration(ts.Nano())), nil
}

// parseRecord reads one record (Documentation/ABI/testing/dev-kmsg):
//
//	6,339,5140900,-;text
//	 KEY=value lines, which are left out
//
// The third number is the time in microseconds.
func parseRecord(b []byte) (since time.Duration, text string, ok bool) {
	head, rest, ok := bytes.Cut(b, []byte(";"))
	fields := bytes.Split(head, []byte(","))
	if !ok || len(fields) < 3 {
		return 0, "", false
	}
	micros, err := strconv.ParseUint(string(fields[2]), 10, 50)
	if err != nil {
		return 0, "", false
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	return time.Duration(micros) * time.Microsecond, strings.ToValidUTF8(string(line), "\uFFFD"), true
}

// reporter picks the reports out of the log. One begins with "x invoked
// oom-killer" (dump_header in mm/oom_kill.c) and ends with "Killed process"
// (__oom_kill_process); the reaper tells one line more, later. Lines of others
// in between stay: they cannot be told apart for sure.
type reporter struct {
	out    strings.Builder
	inside bool
}

func (r *reporter) line(text string) {
	if strings.Contains(text, "invoked oom-killer") {
		r.inside = true
	}
	killed := strings.Contains(text, "Killed process ")
	if (r.inside || killed || strings.HasPrefix(text, "oom_reaper: ")) && r.out.Len() < maxReport {
		r.out.WriteString(text)
		r.out.WriteByte('\n')
	}
	if killed {
		r.inside = false
	}
}

func (r *reporter) text() string { return r.out.String() }

package state

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzParseStatus(f *testing.F) {
	f.Add([]byte("Name:\tapp\nState:\tS (sleeping)\nUid:\t1000\t1000\t1000\t1000\nNSpid:\t4711\t7\nVmSwap:\t      12 kB\nThreads:\t3\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var p Process
		parseStatus(b, &p)
		if p.UID < 0 || p.VPID < 0 || p.Threads < 0 || strings.ContainsAny(p.State, " \n") {
			t.Errorf("%+v", p)
		}
	})
}

func FuzzSplitCmdline(f *testing.F) {
	f.Add([]byte("sh\x00-c\x00sleep 1\x00"))
	f.Add([]byte("nginx: master process\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		args := splitCmdline(b)
		if len(args) > maxArgs+1 {
			t.Errorf("%d arguments", len(args))
		}
		size := 0
		for _, arg := range args {
			size += len(arg)
			if !utf8.ValidString(arg) || strings.Contains(arg, "\x00") {
				t.Errorf("argument %q", arg)
			}
		}
		if size > 3*maxCmdline+len("...") { // a byte that is no text becomes three
			t.Errorf("%d bytes of %d", size, len(b))
		}
	})
}

// FuzzReporter takes a log line by line.
func FuzzReporter(f *testing.F) {
	f.Add("python invoked oom-killer: x\nmemory: usage 1kB\nKilled process 1 (a)\nafter\noom_reaper: reaped process 1\n")
	f.Fuzz(func(t *testing.T, log string) {
		var r reporter
		lines := 0
		for line := range strings.Lines(log) {
			lines++
			r.line(strings.TrimSuffix(line, "\n"))
		}
		out := r.text()
		if len(out) > maxReport+maxRecord && len(log) < maxReport {
			t.Errorf("%d bytes of a log of %d", len(out), len(log))
		}
		kept := strings.Count(out, "\n")
		if kept > lines {
			t.Errorf("%d lines of %d", kept, lines)
		}
		if !strings.Contains(log, "invoked oom-killer") && !strings.Contains(log, "Killed process ") && !strings.Contains(log, "oom_reaper: ") && out != "" {
			t.Errorf("a report of a log without one: %q", out)
		}
	})
}

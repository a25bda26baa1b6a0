package testkit_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// recorder is a testing.TB for tests of what fails a test: it notes failures
// and runs cleanups when told. Everything else is the real one's.
type recorder struct {
	testing.TB
	failures []string
	skipped  string
	cleanups []func()
}

func (r *recorder) Helper()           {}
func (r *recorder) Cleanup(f func())  { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Error(args ...any) { r.note("%v", args...) }
func (r *recorder) Fatal(args ...any) { r.note("%v", args...); runtime.Goexit() }

func (r *recorder) Errorf(format string, args ...any) { r.note(format, args...) }

func (r *recorder) Fatalf(format string, args ...any) {
	r.note(format, args...)
	runtime.Goexit()
}

func (r *recorder) Skipf(format string, args ...any) {
	r.skipped = sprintf(format, args...)
	runtime.Goexit()
}

func (r *recorder) note(format string, args ...any) {
	r.failures = append(r.failures, sprintf(format, args...))
}

// run calls f as a test would be, then its cleanups, last first.
func (r *recorder) run(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for i := len(r.cleanups) - 1; i >= 0; i-- {
				r.cleanups[i]()
			}
		}()
		f()
	}()
	<-done
}

func TestVerifyNoLeaksCatchesDescriptor(t *testing.T) {
	r := &recorder{TB: t}
	var leak *os.File
	r.run(func() {
		testkit.VerifyNoLeaks(r)
		leak, _ = os.Open("/proc/self/status")
	})
	require.NotNil(t, leak)
	require.NoError(t, leak.Close())
	require.Len(t, r.failures, 1)
	require.Contains(t, r.failures[0], "/status")
}

func TestVerifyNoLeaksCatchesGoroutine(t *testing.T) {
	r := &recorder{TB: t}
	stop := make(chan struct{})
	r.run(func() {
		testkit.VerifyNoLeaks(r)
		go func() { <-stop }()
	})
	close(stop)
	require.Len(t, r.failures, 1)
	require.Contains(t, r.failures[0], "TestVerifyNoLeaksCatchesGoroutine")
}

func TestVerifyNoLeaksIsQuietOtherwise(t *testing.T) {
	r := &recorder{TB: t}
	r.run(func() {
		testkit.VerifyNoLeaks(r)
		c, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		require.NoError(t, c.Close())
	})
	require.Empty(t, r.failures)
}

func TestLackSkipsOrFails(t *testing.T) {
	f := func(require, minimum string, wantFailure bool) {
		t.Helper()
		t.Setenv(testkit.RequireEnv, require)
		r := &recorder{TB: t}
		r.run(func() { testkit.Lack(r, testkit.Feature{Name: "teleport", MinKernel: minimum}, errors.New("no beam")) })
		said := r.skipped + strings.Join(r.failures, "")
		if (len(r.failures) > 0) != wantFailure || !strings.Contains(said, "teleport") || !strings.Contains(said, "no beam") {
			t.Errorf("require=%q minimum=%q: failures %q, skipped %q", require, minimum, r.failures, r.skipped)
		}
	}
	f("", "", false)
	f("", "2.6", false)
	f("1", "", true)
	f("1", "2.6", true)
	f("1", "99.0", false) // this kernel is too old: that is nobody's fault
}

func TestEventuallyReportsTheLastError(t *testing.T) {
	r := &recorder{TB: t}
	calls := 0
	r.run(func() {
		testkit.Eventually(r, 30*time.Millisecond, func() error {
			calls++
			return errors.New("call " + strconv.Itoa(calls))
		})
	})
	require.Len(t, r.failures, 1)
	require.Contains(t, r.failures[0], "call "+strconv.Itoa(calls))

	calls = 0
	testkit.Eventually(t, time.Minute, func() error {
		calls++
		if calls < 3 {
			return errors.New("not yet")
		}
		return nil
	})
	require.Equal(t, 3, calls)
}

func TestRunStartsInsideTheCgroup(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	group := testkit.Cgroup(t, "run")
	cmd := testkit.Run(t, group, "sleep", "1000")
	text, err := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/cgroup")
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if !strings.HasSuffix(line, ":"+group.Path()+"\n") {
			t.Errorf("process is elsewhere: %q, want path %s", line, group.Path())
		}
	}
	require.Equal(t, []int{cmd.Process.Pid}, group.PIDs())

	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	var exit *exitError
	require.ErrorAs(t, cmd.Wait(), &exit)
	require.Equal(t, syscall.SIGTERM, exit.Sys().(syscall.WaitStatus).Signal())
}

func TestCgroupIsGoneAfterItsTest(t *testing.T) {
	testkit.NeedCgroup(t, "memory", "cpu", "pids")
	var dirs []string
	parent := filepath.Join("/tallyman-testkit-"+strconv.Itoa(os.Getpid()), "nested")
	t.Run("user", func(t *testing.T) {
		group := testkit.Cgroup(t, parent+"/leaf")
		child := group.Child("child")
		for _, controller := range []string{"memory", "cpu", "pids"} {
			dirs = append(dirs, child.Dir(controller), group.Dir(controller), filepath.Dir(filepath.Dir(group.Dir(controller))))
		}
		testkit.Run(t, child, "sleep", "1000")
		stubborn := testkit.Run(t, child, "sh", "-c", "trap '' TERM; while :; do sleep 1000; done")
		require.Len(t, child.PIDs(), 2+children(t, stubborn.Process.Pid))
	})
	for _, dir := range dirs {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("cgroup after the test: %v", err)
		}
	}
}

func TestCgroupLimitIsTheKernels(t *testing.T) {
	testkit.NeedCgroup(t, "memory", "pids")
	group := testkit.Cgroup(t, "limit")
	file := "memory.limit_in_bytes"
	if group.Unified("memory") {
		file = "memory.max"
	}
	group.Write("memory", file, strconv.Itoa(32<<20))
	require.Equal(t, strconv.Itoa(32<<20), group.Read("memory", file))

	group.Write("pids", "pids.max", "1")
	cmd := testkit.Run(t, group, "sh", "-c", "exec 2>/dev/null; (:) && exit 0; exit 7")
	var exit *exitError
	require.ErrorAs(t, cmd.Wait(), &exit, "a fork beyond pids.max")
}

func TestCgroupTakesThisProcessBack(t *testing.T) {
	testkit.NeedCgroup(t)
	t.Run("user", func(t *testing.T) {
		group := testkit.Cgroup(t, "self")
		group.AddPID(os.Getpid())
		require.Equal(t, []int{os.Getpid()}, group.PIDs())
	})
	text, err := os.ReadFile("/proc/self/cgroup")
	require.NoError(t, err)
	require.NotContains(t, string(text), "tallyman")
}

func TestNeedCgroupNamesTheController(t *testing.T) {
	t.Setenv(testkit.RequireEnv, "")
	testkit.NeedRoot(t)
	r := &recorder{TB: t}
	r.run(func() { testkit.NeedCgroup(r, "memory", "antigravity") })
	require.Contains(t, r.skipped, "antigravity")
}

package procstream_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/procstream"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// patience is for emulated machines; here it takes milliseconds.
const patience = 30 * time.Second

func newReader() *procstream.Reader { return procstream.NewReader(hostfs.NewRoots("/")) }

// start runs a process under a name of its own until the test ends.
func start(t testing.TB, name string, attr *syscall.SysProcAttr, args ...string) *exec.Cmd {
	t.Helper()
	sleep, err := exec.LookPath("sleep")
	require.NoError(t, err)
	link := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.Symlink(sleep, link))
	cmd := &exec.Cmd{Path: link, Args: append([]string{"sleep"}, args...), SysProcAttr: attr}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // and been waited for
	})
	return cmd
}

// named waits until the process has the name: Start returns when the new
// program's descriptors are set up, which is just before its name is.
func named(t testing.TB, r *procstream.Reader, pid int, name string) procstream.Stat {
	t.Helper()
	var s procstream.Stat
	testkit.Eventually(t, patience, func() (err error) {
		if s, err = r.Stat(pid); err == nil && s.Comm != name {
			err = fmt.Errorf("process %d is called %q, want %q", pid, s.Comm, name)
		}
		return err
	})
	return s
}

// asleep waits until a process that is to become sleep is: its last program runs.
func asleep(t *testing.T, pid int) {
	t.Helper()
	testkit.Eventually(t, patience, func() error {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err == nil && !strings.Contains(string(stat), "(sleep) S ") {
			err = fmt.Errorf("it does not sleep yet: %s", stat)
		}
		return err
	})
}

func TestStatOfOwnProcess(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	s, err := newReader().Stat(os.Getpid())
	require.NoError(t, err)
	if s.PID != os.Getpid() || s.PPID != os.Getppid() || s.Ended {
		t.Errorf("%+v, own ids are %d and %d", s, os.Getpid(), os.Getppid())
	}
	name, err := os.ReadFile("/proc/self/comm")
	require.NoError(t, err)
	if s.Comm+"\n" != string(name) {
		t.Errorf("name %q, want %q", s.Comm, name)
	}
	// A Go test binary needs a few MiB; a mix-up of pages and bytes does not.
	if s.RSS < 1<<20 || s.RSS > 8<<30 || s.RSS%uint64(os.Getpagesize()) != 0 {
		t.Errorf("resident memory of %d bytes", s.RSS)
	}
}

func TestStatOfNamedChild(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	r := newReader()
	for _, name := range []string{"worker", "a) Z 1 (b", "new\nline )"} {
		cmd := start(t, name, nil, "1000")
		s := named(t, r, cmd.Process.Pid, name)
		if s.PID != cmd.Process.Pid || s.PPID != os.Getpid() || s.Ended {
			t.Errorf("%+v", s)
		}
	}
	cmd := start(t, "longer-than-fifteen", nil, "1000")
	named(t, r, cmd.Process.Pid, "longer-than-fif")
}

func TestStatOfKernelThread(t *testing.T) {
	comm, err := os.ReadFile("/proc/2/comm")
	if err != nil || string(comm) != "kthreadd\n" {
		testkit.Lack(t, testkit.Feature{Name: "host pid namespace"}, fmt.Errorf("process 2 is %q", comm))
	}
	s, err := newReader().Stat(2)
	require.NoError(t, err)
	want := procstream.Stat{PID: 2, Comm: "kthreadd", Start: s.Start}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestStatFromZombieToGone(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	r := newReader()
	cmd := start(t, "short", nil, "1000")
	pid := cmd.Process.Pid
	alive := named(t, r, pid, "short")
	require.False(t, alive.Ended)

	require.NoError(t, cmd.Process.Kill())
	var s procstream.Stat
	testkit.Eventually(t, patience, func() (err error) {
		if s, err = r.Stat(pid); err == nil && !s.Ended {
			err = fmt.Errorf("process %d lives: %+v", pid, s)
		}
		return err
	})
	alive.Ended, alive.RSS = true, s.RSS // its memory is going about now
	if diff := cmp.Diff(alive, s); diff != "" {
		t.Errorf("killed and not waited for (-want +got):\n%s", diff)
	}

	require.Error(t, cmd.Wait())
	if s, err := r.Stat(pid); !errors.Is(err, hostfs.ErrGone) || s != (procstream.Stat{}) {
		t.Errorf("waited for: %+v, %v", s, err)
	}
	if vpid, err := r.VPID(pid); !errors.Is(err, hostfs.ErrGone) || vpid != 0 {
		t.Errorf("waited for: vpid %d, %v", vpid, err)
	}
}

func TestStartTime(t *testing.T) {
	r := newReader()
	const slack = 50 * time.Millisecond
	before := time.Now()
	cmd := start(t, "started", nil, "1000")
	after := time.Now()
	s, err := r.Stat(cmd.Process.Pid)
	require.NoError(t, err)
	at := r.StartTime(s.Start)
	if at.Before(before.Add(-slack)) || at.After(after.Add(slack)) {
		t.Errorf("started at %v, want %v to %v", at, before, after)
	}
}

func TestTicks(t *testing.T) {
	r := newReader()
	for _, ticks := range []uint64{0, 1, 99, 100, 123456, 1 << 32} {
		at := r.StartTime(ticks)
		if got := r.Ticks(at); got != ticks {
			t.Errorf("Ticks of tick %d is %d", ticks, got)
		}
		if got := r.Ticks(at.Add(10*time.Millisecond - 1)); got != ticks {
			t.Errorf("Ticks of the end of tick %d is %d", ticks, got)
		}
		if got := r.Ticks(at.Add(10 * time.Millisecond)); got != ticks+1 {
			t.Errorf("Ticks after tick %d is %d", ticks, got)
		}
	}
	if got := r.Ticks(r.StartTime(0).Add(-time.Hour)); got != 0 {
		t.Errorf("before boot: %d", got)
	}
}

func TestVPID(t *testing.T) {
	testkit.NeedRoot(t)
	testkit.VerifyNoLeaks(t)
	r := newReader()
	inside := start(t, "inside", &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}, "1000")
	if vpid, err := r.VPID(inside.Process.Pid); err != nil || vpid != 1 {
		t.Errorf("first process of a pid namespace: %d, %v", vpid, err)
	}
	outside := start(t, "outside", nil, "1000")
	if vpid, err := r.VPID(outside.Process.Pid); err != nil || vpid != outside.Process.Pid {
		t.Errorf("process %d of this pid namespace: %d, %v", outside.Process.Pid, vpid, err)
	}
}

func TestPids(t *testing.T) {
	group := testkit.Cgroup(t, "procstream")
	procs := filepath.Join(group.Dir("pids"), "cgroup.procs")
	r := newReader()
	got, err := r.Pids(procs, nil)
	require.NoError(t, err)
	require.Empty(t, got)

	var want []int
	for range 3 {
		cmd := start(t, "member", nil, "1000")
		group.AddPID(cmd.Process.Pid)
		want = append(want, cmd.Process.Pid)
	}
	got, err = r.Pids(procs, got)
	require.NoError(t, err)
	slices.Sort(got) // cgroup v2 does not
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	removed := testkit.Cgroup(t, "procstream-removed")
	procs = filepath.Join(removed.Dir("pids"), "cgroup.procs")
	removed.Remove()
	kept := []int{1, 2}
	if got, err := r.Pids(procs, kept); !errors.Is(err, hostfs.ErrGone) || !slices.Equal(got, kept) {
		t.Errorf("removed cgroup: %v, %v", got, err)
	}
}

func TestReaderStaysBelowItsRoot(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "proc", "12")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	write := func(name, text string) {
		t.Helper()
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	r := procstream.NewReader(hostfs.NewRoots(root))
	if r.Root(12) != dir+"/root" || r.Mountinfo(12) != dir+"/mountinfo" {
		t.Errorf("paths %s and %s", r.Root(12), r.Mountinfo(12))
	}
	if _, err := r.Stat(os.Getpid()); !errors.Is(err, hostfs.ErrGone) {
		t.Errorf("a process of another root: %v", err)
	}

	write("stat", "12 (a b) R 3 0 0 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 77 0 5 0\n")
	s, err := r.Stat(12)
	require.NoError(t, err)
	want := procstream.Stat{PID: 12, PPID: 3, Start: 77, Comm: "a b", RSS: 5 * uint64(os.Getpagesize())}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	write("stat", "12 (a b) R 3\n")
	write("status", "NSpid:\tx\n")
	if s, err := r.Stat(12); !errors.Is(err, procstream.ErrMalformed) || s != (procstream.Stat{}) {
		t.Errorf("malformed: %+v, %v", s, err)
	}
	if vpid, err := r.VPID(12); !errors.Is(err, procstream.ErrMalformed) || vpid != 0 {
		t.Errorf("malformed: %d, %v", vpid, err)
	}
}

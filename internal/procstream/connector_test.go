package procstream_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/procstream"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// below returns how to find a cgroup's directory in the hierarchy that is
// mounted with a type and option; nil if there is none.
func below(t testing.TB, kind, option string) func(string) string {
	t.Helper()
	mounts, err := os.Open("/proc/self/mounts")
	require.NoError(t, err)
	defer mounts.Close()
	for lines := bufio.NewScanner(mounts); lines.Scan(); {
		f := strings.Fields(lines.Text()) // source, directory, type, options
		if f[2] == kind && slices.Contains(strings.Split(f[3], ","), option) {
			return func(path string) string { return filepath.Join(f[1], path) }
		}
	}
	return nil
}

func connectorOptions(t testing.TB) procstream.ConnectorOptions {
	t.Helper()
	return procstream.ConnectorOptions{
		Roots: hostfs.NewRoots("/"), MaxMessages: 1 << 20,
		UnifiedDir: below(t, "cgroup2", "rw"), MemoryDir: below(t, "cgroup", "memory"),
	}
}

// connect makes the receive buffer of a size; 0 is the usual one.
func connect(t testing.TB, buffer int) (*tape, *procstream.Connector) {
	t.Helper()
	testkit.NeedRoot(t)
	tp, o := &tape{}, connectorOptions(t)
	o.BufferBytes, o.Handle, o.Lost = buffer, tp.handle, tp.loss
	c, err := procstream.OpenConnector(o)
	if errors.Is(err, hostfs.ErrNotSupported) {
		testkit.Lack(t, testkit.Feature{Name: "proc connector"}, err)
	}
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return tp, c
}

// ids are those of a cgroup in the two hierarchies; 0 where there is none.
func ids(t testing.TB, g *testkit.Group) (unified, memory uint64) {
	t.Helper()
	o := connectorOptions(t)
	f := func(dir func(string) string) uint64 {
		if dir == nil {
			return 0
		}
		var st syscall.Stat_t
		require.NoError(t, syscall.Stat(dir(g.Path()), &st))
		return st.Ino
	}
	return f(o.UnifiedDir), f(o.MemoryDir)
}

// happened waits until a process has had so many events of a kind.
func (t *tape) happened(tb testing.TB, pid int, kind procstream.EventKind, times int) {
	tb.Helper()
	testkit.Eventually(tb, patience, func() error {
		n := 0
		for _, k := range kinds(t.of(pid)) {
			if k == kind {
				n++
			}
		}
		return atLeast(uint64(n), uint64(times))
	})
}

// children returns the processes that had this parent, in order.
func (t *tape) children(ppid int) []int {
	t.mu.Lock()
	defer t.mu.Unlock()
	var pids []int
	for _, e := range t.events {
		if e.Kind == procstream.Forked && e.Process.PPID == ppid {
			pids = append(pids, e.Process.PID)
		}
	}
	return pids
}

// settled waits until all is told that has happened by now, and returns the
// events about a process.
func (t *tape) settled(tb testing.TB, pid int) []seen {
	tb.Helper()
	later := exec.Command("true")
	require.NoError(tb, later.Run())
	t.ended(tb, later.Process.Pid)
	return t.of(pid)
}

// patient starts a program that has a standard input, and waits until it has
// been told.
func patient(t *testing.T, tp *tape, cmd *exec.Cmd) io.WriteCloser {
	t.Helper()
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	tp.happened(t, cmd.Process.Pid, procstream.Executed, 1)
	return in
}

// Every child of a shell in a cgroup is told once, with how it ended and the
// cgroup it was in, also if it had gone before anybody could look.
func TestConnectorChildren(t *testing.T) {
	testkit.NeedCgroup(t)
	tp, c := connect(t, 0)
	g := testkit.Cgroup(t, "connector")
	unified, memory := ids(t, g)
	start := filepath.Join(t.TempDir(), "start")
	require.NoError(t, syscall.Mkfifo(start, 0o600))
	shell := testkit.Run(t, g, "sh", "-c", `read x <"$0"
		for code in 0 1 7 42 255; do sh -c "exit $code"; done
		sh -c 'kill -TERM $$' 2>&-
		exit 3`, start)
	tp.happened(t, shell.Process.Pid, procstream.Executed, 2) // the wrapper, then this
	require.NoError(t, os.WriteFile(start, []byte("\n"), 0))
	_ = shell.Wait()
	last := tp.ended(t, shell.Process.Pid)
	require.Equal(t, 3, last[len(last)-1].Process.Exit.Status.ExitStatus())

	want := []syscall.WaitStatus{0, 1 << 8, 7 << 8, 42 << 8, 255 << 8, syscall.WaitStatus(syscall.SIGTERM)}
	children := tp.children(shell.Process.Pid)
	require.Len(t, children, len(want))
	for i, pid := range children {
		own := tp.of(pid)
		require.Equal(t, []procstream.EventKind{procstream.Forked, procstream.Executed, procstream.Exited}, kinds(own))
		require.Equal(t, want[i], own[2].Process.Exit.Status)
		for _, e := range own {
			require.Equal(t, unified, e.Process.Unified, "%+v", e)
			require.Equal(t, memory, e.Process.Memory, "%+v", e)
			require.Equal(t, filepath.Base(g.Path()), e.leaf)
			require.Equal(t, shell.Process.Pid, e.Process.PPID)
			require.Equal(t, own[0].Process.Start, e.Process.Start)
			require.GreaterOrEqual(t, e.SinceBoot, own[0].SinceBoot)
		}
	}
	require.Empty(t, nonZero(c.Stats().Dropped))
	require.Zero(t, c.Stats().Malformed)
	require.GreaterOrEqual(t, c.Stats().Records, uint64(3*len(want)))
}

func TestConnectorDetails(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	tp, _ := connect(t, 0)
	cmd := exec.Command("cat")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	in := patient(t, tp, cmd)
	stat, err := procstream.NewReader(hostfs.NewRoots("/")).Stat(cmd.Process.Pid)
	require.NoError(t, err)
	require.NoError(t, in.Close())
	own := tp.ended(t, cmd.Process.Pid)
	for _, e := range own {
		require.Equal(t, 1, e.Process.VPID, "the first of its own pid namespace")
		require.NotZero(t, e.Process.Level)
		require.Equal(t, os.Getpid(), e.Process.PPID)
		require.Equal(t, stat.Start, e.Process.Start)
	}
	require.Equal(t, "cat", own[1].comm)
	program, err := filepath.EvalSymlinks(cmd.Path)
	require.NoError(t, err)
	require.Equal(t, program, own[1].program)
	require.False(t, own[2].Process.Exit.OOM)
}

// Processes that are older than the connector are known to it.
func TestConnectorOlderProcess(t *testing.T) {
	testkit.NeedCgroup(t)
	g := testkit.Cgroup(t, "connector-old")
	unified, memory := ids(t, g)
	cmd := testkit.Run(t, g, "sleep", "600")
	asleep(t, cmd.Process.Pid)
	tp, _ := connect(t, 0)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	own := tp.ended(t, cmd.Process.Pid)
	require.Len(t, own, 1)
	require.Equal(t, unified, own[0].Process.Unified)
	require.Equal(t, memory, own[0].Process.Memory)
	require.Equal(t, syscall.SIGKILL, own[0].Process.Exit.Status.Signal())
	require.Equal(t, "sleep", own[0].comm)
}

// A process that is moved has its new cgroup from its next program on.
func TestConnectorMoveAndExec(t *testing.T) {
	testkit.NeedCgroup(t)
	tp, _ := connect(t, 0)
	g := testkit.Cgroup(t, "connector-move")
	unified, memory := ids(t, g)
	cmd := exec.Command("sh", "-c", "read x; exec cat")
	in := patient(t, tp, cmd)
	before := tp.of(cmd.Process.Pid)[1].Process
	g.AddPID(cmd.Process.Pid)
	_, err := in.Write([]byte("\n"))
	require.NoError(t, err)
	tp.happened(t, cmd.Process.Pid, procstream.Executed, 2)
	require.NoError(t, in.Close())
	own := tp.ended(t, cmd.Process.Pid)
	require.Len(t, own, 4)
	for _, e := range own[2:] {
		require.Equal(t, unified, e.Process.Unified)
		require.Equal(t, memory, e.Process.Memory)
	}
	require.NotEqual(t, [2]uint64{unified, memory}, [2]uint64{before.Unified, before.Memory})
}

// Of one that is moved and ends, nobody waiting for it, the unified hierarchy
// is known. The other is not, and not guessed.
func TestConnectorMoveAndEnd(t *testing.T) {
	testkit.NeedUnified(t)
	tp, _ := connect(t, 0)
	g := testkit.Cgroup(t, "connector-end")
	unified, _ := ids(t, g)
	cmd := exec.Command("cat")
	in := patient(t, tp, cmd)
	g.AddPID(cmd.Process.Pid)
	require.NoError(t, in.Close())
	own := tp.ended(t, cmd.Process.Pid)
	require.Equal(t, unified, own[2].Process.Unified)
	require.Zero(t, own[2].Process.Memory)
}

const threadEnv = "TALLYMAN_TEST_THREAD"

// again runs the named test of this binary again, in another role.
func again(name, role string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+name+"$")
	cmd.Env = append(os.Environ(), threadEnv+"="+role)
	return cmd
}

// A process that outlives its first thread has not ended, and ends once, with
// the status of all.
func TestConnectorFirstThreadEnds(t *testing.T) {
	if os.Getenv(threadEnv) != "" {
		onThread(true, func() {
			go func() { // not before, or it may wait on the first thread
				_, _ = io.Copy(io.Discard, os.Stdin)
				os.Exit(outliveCode)
			}()
			_, _, _ = syscall.Syscall(syscall.SYS_EXIT, 0, 0, 0)
		})
	}
	tp, _ := connect(t, 0)
	cmd := again("TestConnectorFirstThreadEnds", "child")
	in := patient(t, tp, cmd)
	reader := procstream.NewReader(hostfs.NewRoots("/"))
	testkit.Eventually(t, patience, func() error {
		stat, err := reader.Stat(cmd.Process.Pid)
		if err != nil || !stat.Ended {
			return fmt.Errorf("first thread still there: %w", err)
		}
		return nil
	})
	require.NotContains(t, kinds(tp.settled(t, cmd.Process.Pid)), procstream.Exited)
	require.NoError(t, in.Close())
	tp.ended(t, cmd.Process.Pid)
	own := tp.settled(t, cmd.Process.Pid)
	require.Equal(t, []procstream.EventKind{procstream.Forked, procstream.Executed, procstream.Exited}, kinds(own))
	require.Equal(t, outliveCode, own[2].Process.Exit.Status.ExitStatus())
}

// Threads that come and go are not told, nor do they end their process.
func TestConnectorThreads(t *testing.T) {
	if os.Getenv(threadEnv) != "" {
		for range 20 {
			gone := make(chan struct{})
			go func() {
				runtime.LockOSThread() // never unlocked: Go ends the thread
				close(gone)
			}()
			<-gone
		}
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(outliveCode)
	}
	tp, _ := connect(t, 0)
	cmd := again("TestConnectorThreads", "child")
	in := patient(t, tp, cmd)
	require.NoError(t, in.Close())
	tp.ended(t, cmd.Process.Pid)
	own := tp.settled(t, cmd.Process.Pid)
	require.Equal(t, []procstream.EventKind{procstream.Forked, procstream.Executed, procstream.Exited}, kinds(own))
	require.Equal(t, outliveCode, own[2].Process.Exit.Status.ExitStatus())
}

// A thread that replaces the program ends the first one, not the process.
func TestConnectorExecByAThread(t *testing.T) {
	if os.Getenv(threadEnv) != "" {
		onThread(false, func() { _ = syscall.Exec("/bin/sh", []string{"sh", "-c", "read x; exit 6"}, nil) })
	}
	tp, _ := connect(t, 0)
	cmd := again("TestConnectorExecByAThread", "child")
	in := patient(t, tp, cmd)
	tp.happened(t, cmd.Process.Pid, procstream.Executed, 2)
	require.NoError(t, in.Close())
	tp.ended(t, cmd.Process.Pid)
	own := tp.settled(t, cmd.Process.Pid)
	require.Equal(t, []procstream.EventKind{procstream.Forked, procstream.Executed, procstream.Executed, procstream.Exited}, kinds(own))
	require.Equal(t, 6, own[3].Process.Exit.Status.ExitStatus())
}

// onThread runs f on the first thread of this process, or on another one, by
// starting threads until one is.
func onThread(first bool, f func()) {
	for {
		turn := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			if (syscall.Gettid() == os.Getpid()) == first {
				f()
			}
			close(turn)
			select {} // keeps the thread from the next
		}()
		<-turn
	}
}

// A handler that stalls loses events, which is counted and told once; after it
// the stream is whole again.
func TestConnectorOverflow(t *testing.T) {
	tp, c := connect(t, 64<<10)
	tp.mu.Lock()
	tp.hold = make(chan struct{})
	tp.mu.Unlock()
	require.NoError(t, exec.Command("sh", "-c", "i=0; while [ $i -lt 200 ]; do /bin/true; i=$((i+1)); done").Run())
	tp.mu.Lock()
	close(tp.hold)
	tp.hold = nil
	tp.mu.Unlock()
	testkit.Eventually(t, patience, func() error {
		tp.mu.Lock()
		defer tp.mu.Unlock()
		return atLeast(uint64(tp.lost), 1)
	})
	untilWhole(t, tp, c, "connector_overflow")
	tp.mu.Lock()
	defer tp.mu.Unlock()
	require.EqualValues(t, tp.lost, c.Stats().Dropped["connector_overflow"])
}

// untilWhole waits until all is told of a process again. While what was before it is
// still read, it may be dropped as well.
func untilWhole(t *testing.T, tp *tape, c *procstream.Connector, reason string) {
	t.Helper()
	testkit.Eventually(t, patience, func() error {
		dropped := c.Stats().Dropped[reason]
		cmd := exec.Command("true")
		require.NoError(t, cmd.Run())
		told := func() error { return atLeast(uint64(len(tp.of(cmd.Process.Pid))), 3) }
		testkit.Eventually(t, patience, func() error {
			if c.Stats().Dropped[reason] > dropped {
				return nil
			}
			return told()
		})
		if err := told(); err != nil {
			return err
		}
		require.Len(t, tp.of(cmd.Process.Pid), 3)
		return nil
	})
}

// Too many messages in one second are not looked at. That is counted and told,
// and the next second is whole again.
func TestConnectorBudget(t *testing.T) {
	tp, o := &tape{}, connectorOptions(t)
	o.MaxMessages, o.Handle, o.Lost = 50, tp.handle, tp.loss
	c, err := procstream.OpenConnector(o)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	require.NoError(t, exec.Command("sh", "-c", "i=0; while [ $i -lt 100 ]; do /bin/true; i=$((i+1)); done").Run())
	testkit.Eventually(t, patience, func() error {
		tp.mu.Lock()
		defer tp.mu.Unlock()
		return atLeast(uint64(tp.lost), 1)
	})
	require.NotZero(t, c.Stats().Dropped["connector_budget"])
	require.Zero(t, c.Stats().Dropped["connector_overflow"])
	untilWhole(t, tp, c, "connector_budget")
}

func TestConnectorClose(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	tp, c := connect(t, 0)
	cmd := exec.Command("true")
	require.NoError(t, cmd.Run())
	tp.ended(t, cmd.Process.Pid)
	c.Close()
	c.Close()
	told := c.Stats().Records
	next, other := connect(t, 0) // hears what the closed one does not
	cmd = exec.Command("true")
	require.NoError(t, cmd.Run())
	next.ended(t, cmd.Process.Pid)
	require.Empty(t, tp.of(cmd.Process.Pid))
	require.Equal(t, told, c.Stats().Records)
	other.Close()
}

const refusedEnv = "TALLYMAN_TEST_REFUSED"

// runRefused runs TestConnectorRefused again as another kind of process, from
// a place that everybody may read.
func runRefused(t *testing.T, role string, attr *syscall.SysProcAttr) {
	t.Helper()
	testkit.NeedRoot(t)
	binary, err := os.ReadFile("/proc/self/exe")
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "tallyman-connector-") // t.TempDir is not for others
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, os.WriteFile(dir+"/test", binary, 0o755))
	cmd := exec.Command(dir+"/test", "-test.run=^TestConnectorRefused$", "-test.v")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), refusedEnv+"="+role)
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: TestConnectorRefused")
}

// What who may not is told, by this test run again as one.
func TestConnectorRefused(t *testing.T) {
	if role := os.Getenv(refusedEnv); role != "" {
		refused(t, role)
		return
	}
	// The kernel must have it at all.
	_, c := connect(t, 0)
	c.Close()
	root := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}
	for role, attr := range map[string]*syscall.SysProcAttr{
		"plain": {Credential: &syscall.Credential{Uid: 65534, Gid: 65534}},
		"user":  {Cloneflags: syscall.CLONE_NEWUSER, UidMappings: root, GidMappings: root},
		"pid":   {Cloneflags: syscall.CLONE_NEWPID},
	} {
		t.Run(role, func(t *testing.T) { runRefused(t, role, attr) })
	}
}

func refused(t *testing.T, role string) {
	testkit.VerifyNoLeaks(t)
	c, err := procstream.OpenConnector(procstream.ConnectorOptions{Roots: hostfs.NewRoots("/"), Handle: func(*procstream.Event) {}})
	if role == "plain" && err == nil {
		c.Close() // since Linux 6.6 everybody may listen
		return
	}
	var missing *hostfs.NotSupportedError
	require.ErrorAs(t, err, &missing)
	require.Equal(t, "proc connector", missing.Feature)
	switch {
	case errors.Is(err, syscall.EPERM) && role != "pid": // before Linux 6.6 nobody else may even join
		require.Contains(t, missing.Remedy, "CAP_NET_ADMIN")
	default:
		require.Contains(t, missing.Remedy, role+" namespace")
	}
}

func TestConnectorInAnotherNetns(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	testkit.InNewNetns(t, func() error {
		_, err := procstream.OpenConnector(procstream.ConnectorOptions{Roots: hostfs.NewRoots("/"), Handle: func(*procstream.Event) {}})
		var missing *hostfs.NotSupportedError
		if !errors.As(err, &missing) || !strings.Contains(missing.Remedy, "network namespace") {
			return fmt.Errorf("another error than expected: %w", err)
		}
		return nil
	})
}

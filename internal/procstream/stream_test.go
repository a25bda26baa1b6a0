package procstream_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/procstream"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// seen is an event that outlives its handling.
type seen struct {
	procstream.Event
	comm, leaf, program, path string
}

// tape remembers all events of a stream.
type tape struct {
	mu     sync.Mutex
	events []seen
	lost   int
	// hold, if set, stops the stream before its next event until it is closed.
	hold chan struct{}
}

func (t *tape) handle(e *procstream.Event) {
	t.mu.Lock()
	hold := t.hold
	t.events = append(t.events, seen{
		Event: *e, comm: string(e.Process.Comm), leaf: string(e.Process.Leaf),
		program: string(e.Process.Program), path: string(e.Cgroup.Path),
	})
	t.mu.Unlock()
	if hold != nil {
		<-hold
	}
}

func (t *tape) loss() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lost++
}

// of returns the events about a process.
func (t *tape) of(pid int) []seen {
	t.mu.Lock()
	defer t.mu.Unlock()
	var own []seen
	for _, e := range t.events {
		if e.Process.PID == pid {
			own = append(own, e)
		}
	}
	return own
}

// about returns the events about a cgroup.
func (t *tape) about(path string) []seen {
	t.mu.Lock()
	defer t.mu.Unlock()
	var own []seen
	for _, e := range t.events {
		if e.path == path {
			own = append(own, e)
		}
	}
	return own
}

func kinds(events []seen) []procstream.EventKind {
	var all []procstream.EventKind
	for _, e := range events {
		all = append(all, e.Kind)
	}
	return all
}

func record(t testing.TB) (*tape, *procstream.Stream) {
	t.Helper()
	return recordWith(t, 0)
}

// recordWith makes the ring buffer of a size; 0 is the usual one.
func recordWith(t testing.TB, ring uint32) (*tape, *procstream.Stream) {
	t.Helper()
	testkit.NeedBPF(t)
	tp := &tape{}
	memory, err := procstream.HierarchyID(hostfs.NewRoots("/"), "memory")
	require.NoError(t, err)
	pids, err := procstream.HierarchyID(hostfs.NewRoots("/"), "pids")
	require.NoError(t, err)
	s, err := procstream.OpenStream(procstream.StreamOptions{
		Hierarchy: memory, PidsHierarchy: pids, RingBytes: ring, Handle: tp.handle, Lost: tp.loss,
	})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return tp, s
}

// ended waits for the exit of a process.
func (t *tape) ended(tb testing.TB, pid int) []seen {
	tb.Helper()
	testkit.Eventually(tb, patience, func() error {
		if own := t.of(pid); !slices.Contains(kinds(own), procstream.Exited) {
			return fmt.Errorf("process %d has not ended: %v", pid, kinds(own))
		}
		return nil
	})
	return t.of(pid)
}

func TestAllProgramsRun(t *testing.T) {
	_, s := record(t)
	programs := s.Programs()
	require.Len(t, programs, 7)
	for name, err := range programs {
		require.NoError(t, err, name)
	}
}

func TestLifeOfAProcess(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	tp, s := record(t)
	// Long enough for the scheduler to account for it.
	cmd := exec.Command("sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; exit 7")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	require.Error(t, cmd.Run())
	own := tp.ended(t, cmd.Process.Pid)
	require.Equal(t, []procstream.EventKind{procstream.Forked, procstream.Executed, procstream.Exited}, kinds(own))
	for _, e := range own {
		require.Equal(t, os.Getpid(), e.Process.PPID)
		require.Equal(t, 1, e.Process.VPID, "the first of its own pid namespace")
		require.NotZero(t, e.Process.Level)
		require.Equal(t, own[0].Process.Start, e.Process.Start)
	}
	require.True(t, strings.HasSuffix(own[1].program, "/sh"), own[1].program)
	require.Equal(t, "sh", own[1].comm)
	exit := own[2].Process.Exit
	require.Equal(t, 7, exit.Status.ExitStatus())
	require.False(t, exit.OOM)
	require.Positive(t, exit.CPUTime)
	require.LessOrEqual(t, exit.CPUTime, own[2].SinceBoot-own[0].SinceBoot, "one thread for as long as it lived")
	require.Equal(t, uint64(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)*1024, exit.MaxRSS)
	require.Empty(t, nonZero(s.Stats().Dropped))
	require.Zero(t, s.Stats().Malformed)
}

// Busybox runs its applets by executing itself: their names are what they are
// called by.
func TestReexecutedProgram(t *testing.T) {
	tp, _ := record(t)
	run := func(name string) string {
		cmd := exec.Command("/proc/self/exe", "-test.run=^$")
		cmd.Args[0] = name
		require.NoError(t, cmd.Run())
		events := tp.ended(t, cmd.Process.Pid)
		require.Equal(t, procstream.Executed, events[1].Kind)
		require.Equal(t, "/proc/self/exe", events[1].program)
		return events[1].comm
	}
	require.Equal(t, "worker", run("worker"))
	require.Equal(t, "a-name-that-is-", run("a-name-that-is-long"))
	require.Equal(t, "exe", run("/a/path/that/may/be/cut"))
}

func TestKilledBySignal(t *testing.T) {
	tp, _ := record(t)
	cmd := exec.Command("sleep", "600")
	require.NoError(t, cmd.Start())
	stat, err := procstream.NewReader(hostfs.NewRoots("/")).Stat(cmd.Process.Pid)
	require.NoError(t, err)
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	_ = cmd.Wait()
	own := tp.ended(t, cmd.Process.Pid)
	last := own[len(own)-1].Process
	require.True(t, last.Exit.Status.Signaled())
	require.Equal(t, syscall.SIGTERM, last.Exit.Status.Signal())
	require.Equal(t, stat.Start, last.Start, "the same as /proc says")
}

// A process with threads ends once, also if its first thread goes first.
func TestThreadsEndOnce(t *testing.T) {
	tp, _ := record(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), outliveEnv+"=1")
	require.Error(t, cmd.Run())
	require.Equal(t, outliveCode, cmd.ProcessState.ExitCode())
	own := tp.ended(t, cmd.Process.Pid)
	require.Equal(t, []procstream.EventKind{procstream.Forked, procstream.Executed, procstream.Exited}, kinds(own))
	require.Equal(t, outliveCode, own[2].Process.Exit.Status.ExitStatus())
}

const (
	outliveEnv  = "TALLYMAN_TEST_OUTLIVE"
	outliveCode = 5
)

// outlive ends the first thread of this process, and after it has gone the
// process by another one.
func outlive() {
	go func() {
		reader := procstream.NewReader(hostfs.NewRoots("/"))
		for {
			stat, err := reader.Stat(os.Getpid())
			if err != nil || stat.Ended {
				os.Exit(outliveCode)
			}
		}
	}()
	onThread(true, func() {
		_, _, _ = syscall.Syscall(syscall.SYS_EXIT, 0, 0, 0) // not the raw one, which keeps the processor from the others
	})
}

const crowdEnv = "TALLYMAN_TEST_CROWD"

// Threads that end at the same time each find that they are the last.
func TestCrowdEndsOnce(t *testing.T) {
	if os.Getenv(crowdEnv) != "" {
		for range 16 {
			go func() {
				runtime.LockOSThread()
				for {
					runtime.Gosched() // until the process ends
				}
			}()
		}
		runtime.Gosched()
		os.Exit(3)
	}
	tp, s := record(t)
	own, err := os.Executable()
	require.NoError(t, err)
	var pids []int
	for range 100 {
		cmd := exec.Command(own, "-test.run=^TestCrowdEndsOnce$")
		cmd.Env = append(os.Environ(), crowdEnv+"=1")
		require.Error(t, cmd.Run())
		pids = append(pids, cmd.Process.Pid)
	}
	tp.ended(t, pids[len(pids)-1])
	for _, pid := range pids {
		exits := 0
		for _, e := range tp.of(pid) {
			if e.Kind == procstream.Exited {
				exits++
				require.Equal(t, 3, e.Process.Exit.Status.ExitStatus())
			}
		}
		require.Equal(t, 1, exits, "%+v", tp.of(pid))
	}
	require.Empty(t, nonZero(s.Stats().Dropped))
}

func TestLifeOfACgroup(t *testing.T) {
	testkit.NeedCgroup(t, "memory", "pids")
	tp, _ := record(t)
	g := testkit.Cgroup(t, "stream")
	_, noPeak := os.Stat(filepath.Join(g.Dir("pids"), "pids.peak"))
	require.NoError(t, testkit.Run(t, g, "sh", "-c", "dd if=/dev/zero of=/dev/null bs=8000000 count=1 2>/dev/null; true").Wait())
	g.Remove()
	testkit.Eventually(t, patience, func() error {
		if !slices.Contains(kinds(tp.about(g.Path())), procstream.CgroupRemoved) {
			return errors.New("not removed yet")
		}
		return nil
	})
	var made, gone int
	var peak, pids uint64
	for _, e := range tp.about(g.Path()) {
		require.NotZero(t, e.Cgroup.ID)
		switch e.Kind {
		case procstream.CgroupMade:
			made++
		case procstream.CgroupRemoved:
			gone++
			peak, pids = max(peak, e.Cgroup.MemoryPeak), max(pids, e.Cgroup.PidsPeak)
		}
	}
	require.Equal(t, 1, made, "once, in however many hierarchies it was made")
	require.Greater(t, peak, uint64(8_000_000))
	if noPeak == nil {
		require.GreaterOrEqual(t, pids, uint64(2))
	} else {
		require.Zero(t, pids, "this kernel does not keep it")
	}
	require.NotZero(t, gone)
}

// A process is told with the cgroup it was moved to, and its leaf's name.
func TestMove(t *testing.T) {
	testkit.NeedCgroup(t, "memory")
	tp, _ := record(t)
	g := testkit.Cgroup(t, "stream-move")
	cmd := testkit.Run(t, g, "true")
	require.NoError(t, cmd.Wait())
	own := tp.ended(t, cmd.Process.Pid)
	require.Contains(t, kinds(own), procstream.Moved)
	var id uint64
	testkit.Eventually(t, patience, func() error {
		for _, e := range tp.about(g.Path()) {
			id = e.Cgroup.ID
			return nil
		}
		return errors.New("cgroup not told yet")
	})
	last := own[len(own)-1]
	require.Equal(t, id, last.Process.Memory)
	require.True(t, strings.HasSuffix(g.Path(), "/"+last.leaf), last.leaf)
}

// A reader that stalls loses records, which is counted and told; after it the
// stream is whole again.
func TestOverflow(t *testing.T) {
	tp, s := recordWith(t, 64<<10) // about 250 records
	tp.mu.Lock()
	tp.hold = make(chan struct{})
	tp.mu.Unlock()
	require.NoError(t, exec.Command("sh", "-c", "i=0; while [ $i -lt 200 ]; do /bin/true; i=$((i+1)); done").Run())
	require.NotEmpty(t, nonZero(s.KernelDrops()))
	tp.mu.Lock()
	close(tp.hold)
	tp.hold = nil
	tp.mu.Unlock()
	testkit.Eventually(t, patience, func() error {
		tp.mu.Lock()
		defer tp.mu.Unlock()
		if tp.lost == 0 {
			return errors.New("no loss told")
		}
		return nil
	})
	require.NotEmpty(t, nonZero(s.Stats().Dropped))
	cmd := exec.Command("true")
	require.NoError(t, cmd.Run())
	require.Len(t, tp.ended(t, cmd.Process.Pid), 3)
}

func nonZero(counts map[string]uint64) map[string]uint64 {
	some := map[string]uint64{}
	for name, n := range counts {
		if n > 0 {
			some[name] = n
		}
	}
	return some
}

func atLeast(got, want uint64) error {
	if got < want {
		return fmt.Errorf("%d events, want %d: %w", got, want, errTooFew)
	}
	return nil
}

var errTooFew = errors.New("not enough yet")

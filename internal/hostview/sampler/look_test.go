package sampler

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/procstream"
)

// host gives the story a host, where the container's cgroup is empty.
func (y *story) host(t *testing.T) {
	t.Helper()
	y.root = t.TempDir()
	y.s.host, y.s.proc = unified(t, y.root), procstream.NewReader(hostfs.NewRoots(y.root))
	y.s.now = func() time.Time { return y.at }
	write(t, y.procs(), "")
}

// procs is the list of the container's processes.
func (y *story) procs() string {
	return filepath.Join(y.root, "sys/fs/cgroup", y.t.Path, "cgroup.procs")
}

// look looks for processes a second from now, so that what is told next was
// before it.
func (y *story) look() {
	before := y.at
	y.at = y.at.Add(time.Second)
	y.t.processes.doubtful = true
	y.s.lookAgain(y.t, y.at)
	y.at = before
}

// live lets the look find one process.
func (y *story) live(t *testing.T, pid, ppid, vpid int) {
	t.Helper()
	write(t, y.procs(), fmt.Sprintln(pid))
	dir := filepath.Join(y.root, "proc", strconv.Itoa(pid))
	// The start is the 22nd field (proc_pid_stat(5)).
	write(t, filepath.Join(dir, "stat"),
		fmt.Sprintf("%d (seen) S %d%s %d 0 0 0\n", pid, ppid, strings.Repeat(" 0", 17), pid))
	write(t, filepath.Join(dir, "status"), fmt.Sprintf("NSpid:\t%d\t%d\n", pid, vpid))
}

// The stream is up to 100 ms behind, so a look for processes may find nobody
// of whom it tells afterwards. How the first one ended is known all the same.
func TestFirstProcessEndedBeforeTheLook(t *testing.T) {
	f := func(name string, vpid int, forkTold, cgroupGone bool) {
		t.Run(name, func(t *testing.T) {
			y := newStory()
			y.host(t)
			if forkTold {
				y.tell(procstream.Forked, 11, 5, vpid)
				require.True(t, y.t.processes.doubtful, "nobody has told of its parent")
			}
			if cgroupGone {
				require.NoError(t, os.Remove(y.procs()))
			}
			y.look()
			require.Empty(t, y.t.InitPID)
			if !forkTold {
				y.tell(procstream.Forked, 11, 5, vpid)
			}
			y.tell(procstream.Executed, 11, 5, vpid)
			require.Equal(t, 11, y.t.InitPID)
			y.tell(procstream.Forked, 12, 11, vpid+1)
			require.True(t, y.t.processes.known[12].child)
			y.end(12, 0)
			y.end(11, code1)
			require.True(t, y.t.HasExit)
			require.Equal(t, code1, y.t.Exit.Status)
			require.Equal(t, 11, y.t.InitPID)
			require.Empty(t, y.t.processes.known)
			require.Empty(t, y.t.processes.missed)
			require.Equal(t, cgroupGone, y.t.processes.doubtful, "only a look settles it, and that is asked for once")
		})
	}
	f("fork told", 1, true, false)
	f("fork told late", 1, false, false)
	f("the host's numbers", 11, true, false)
	f("cgroup gone", 1, true, true)
	f("cgroup gone, fork told late", 1, false, true)
}

// A first process that was known stays the first one if the look finds nobody,
// whatever its number.
func TestKnownFirstProcessEndedBeforeTheLook(t *testing.T) {
	f := func(name string, cgroupGone bool) {
		t.Run(name, func(t *testing.T) {
			y := newStory()
			y.host(t)
			y.tell(procstream.Moved, 11, 5, 11)
			y.tell(procstream.Executed, 11, 5, 11)
			if cgroupGone {
				require.NoError(t, os.Remove(y.procs()))
			}
			y.look()
			require.Equal(t, !cgroupGone, y.t.processes.initGone)
			y.end(11, code1)
			require.True(t, y.t.HasExit)
			require.Equal(t, code1, y.t.Exit.Status)
		})
	}
	f("cgroup empty", false)
	f("cgroup gone", true)
}

// A child of which the stream tells late is not taken for the first process, which
// ended before the look as well: all of them have the host's numbers here.
func TestChildIsToldAfterTheLook(t *testing.T) {
	y := newStory()
	y.host(t)
	y.tell(procstream.Forked, 11, 5, 11)
	y.tell(procstream.Executed, 11, 5, 11)
	y.look()
	require.True(t, y.t.processes.initGone)
	y.tell(procstream.Forked, 12, 11, 12)
	y.tell(procstream.Executed, 12, 11, 12)
	y.end(12, 0)
	y.end(11, code1)
	require.Equal(t, 11, y.t.InitPID)
	require.True(t, y.t.HasExit)
	require.Equal(t, code1, y.t.Exit.Status)
}

// What runs on for a moment after pid 1 of its namespace is not the first
// process.
func TestChildOutlivesTheFirstProcess(t *testing.T) {
	y := newStory()
	y.host(t)
	y.live(t, 12, 11, 2)
	y.tell(procstream.Forked, 11, 5, 1)
	y.look()
	require.Equal(t, 12, y.t.InitPID, "nothing speaks against it yet")
	y.tell(procstream.Executed, 11, 5, 1)
	y.tell(procstream.Forked, 12, 11, 2)
	y.end(11, code1)
	y.end(12, kill)
	require.Equal(t, 11, y.t.InitPID)
	require.True(t, y.t.HasExit)
	require.Equal(t, code1, y.t.Exit.Status)
}

// The first process that a look has found stays the first one, whoever else is
// told of late: a helper of the runtime, or pid 1 of a namespace made inside.
func TestFirstProcessFoundByTheLook(t *testing.T) {
	f := func(name string, first, pid, vpid int) {
		t.Run(name, func(t *testing.T) {
			y := newStory()
			y.host(t)
			y.live(t, 11, 5, first)
			y.look()
			y.tell(procstream.Forked, pid, 5, vpid)
			y.tell(procstream.Executed, pid, 5, vpid)
			y.end(pid, code1)
			require.Equal(t, 11, y.t.InitPID)
			require.False(t, y.t.HasExit)
			require.False(t, y.t.processes.initGone)
		})
	}
	f("helper", 11, 10, 10)
	f("namespace inside", 11, 12, 1)
	f("namespace before it", 1, 10, 1)
}

// What a look has seen it knows better than what is told of the time before:
// also who has a number now that was another's.
func TestSeenByTheLook(t *testing.T) {
	y := newStory()
	y.host(t)
	y.live(t, 11, 5, 1)
	y.look()
	seen := y.t.processes.known[11]
	y.tell(procstream.Executed, 11, 5, 1)
	require.Equal(t, "seen", seen.Comm)
	y.s.apply(y.t, &Observation{Kind: procstream.Executed, At: y.at, PID: 11, PPID: 5, VPID: 1, Start: 3})
	require.Same(t, seen, y.t.processes.known[11])
	require.Same(t, seen, y.t.processes.init)
	y.end(11, code1)
	require.True(t, y.t.HasExit, "but not how it ended")
	require.Equal(t, code1, y.t.Exit.Status)
}

// runc starts the first process as a child of somebody outside (CLONE_PARENT),
// but from inside: who has told of the helper has told of all.
func TestHelperNeedsNoLook(t *testing.T) {
	y := newStory()
	y.tell(procstream.Moved, 10, 5, 10)
	y.tell(procstream.Forked, 11, 5, 10)
	y.tell(procstream.Forked, 12, 5, 1)
	y.end(10, 0)
	y.end(11, 0)
	require.False(t, y.t.processes.doubtful)
	y.tell(procstream.Executed, 12, 5, 1)
	require.Equal(t, 12, y.t.InitPID)
	y.end(12, code1)
	require.Equal(t, code1, y.t.Exit.Status)

	restored := newStory() // by CRIU, and then an exec session
	restored.tell(procstream.Moved, 9, 4, 1)
	restored.tell(procstream.Moved, 10, 5, 10)
	require.False(t, restored.t.processes.doubtful)
	restored.tell(procstream.Forked, 11, 5, 2)
	require.True(t, restored.t.processes.doubtful, "who comes from outside need not be the first")
}

// The look for processes after a loss comes between the end of a victim and the
// word of it. The victim is known all the same, and known once.
func TestVictimEndedBeforeTheLook(t *testing.T) {
	f := func(name string, executedLate bool) {
		t.Run(name, func(t *testing.T) {
			l := newLife()
			l.host(t)
			victim := l.fork(supervisor, "sh")
			l.look()
			require.Empty(t, l.t.processes.known)
			if executedLate {
				l.happen(procstream.Executed, victim, supervisor, "worker")
			}
			late := &Observation{
				Kind: procstream.Exited, At: l.at, PID: victim, PPID: supervisor, Start: uint64(victim),
				Exit: procstream.Exit{OOM: true},
			}
			for range 2 {
				l.s.apply(l.t, late)
			}
			pending := l.t.verdict.pending
			require.NotNil(t, pending)
			require.Equal(t, uint64(1), pending.kills)
			require.True(t, pending.lost[0].child)
			require.Equal(t, executedLate, pending.lost[0].executed)
		})
	}
	f("all but its end told", false)
	f("its program told late", true)
}

// Who was moved to another container before the look is no longer waited for.
func TestLeftBeforeTheLook(t *testing.T) {
	l := newLife()
	l.host(t)
	pid := l.start(supervisor, "worker")
	l.look()
	require.Len(t, l.t.processes.missed, 2)
	l.s.apply(l.t, &Observation{Kind: procstream.Moved, Left: true, At: l.at, PID: pid, Start: uint64(pid)})
	require.Len(t, l.t.processes.missed, 1)
	require.Empty(t, l.t.processes.known)
}

// However many are told of late, no more are remembered than there may be.
func TestToldLateAreBounded(t *testing.T) {
	l := newLife()
	l.host(t)
	for i := range processMax - 1 {
		l.happen(procstream.Forked, 1000+i, supervisor, "worker")
	}
	l.look()
	require.Equal(t, processMax, len(l.t.processes.missed))
	for i := range processMax {
		l.happen(procstream.Forked, 100_000+i, supervisor, "worker")
	}
	for i := range processMax - 1 {
		l.happen(procstream.Executed, 1000+i, supervisor, strconv.Itoa(i))
	}
	require.Equal(t, processMax, len(l.t.processes.known))
	require.True(t, l.t.processes.overflowed)
	l.at = l.at.Add(time.Minute)
	l.end(supervisor, code1)
	require.Equal(t, code1, l.t.Exit.Status)
}

package sampler

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/procstream"
)

// story is one container of which the stream tells.
type story struct {
	s  *Sampler
	t  *Target
	at time.Time
	// root is where its host's files are, if it has one.
	root string
}

func newStory() *story {
	at := time.Unix(1_700_000_000, 0)
	target := &Target{Cgroup: container.Cgroup{
		Identity: container.Identity{Class: container.ClassContainer}, Path: "/docker/a", Inode: 7, FirstSeen: at,
	}, Start: at}
	return &story{
		s:  &Sampler{proc: procstream.NewReader(hostfs.NewRoots("/")), settings: Settings{Stream: true, VictimsTold: true}},
		t:  target,
		at: at,
	}
}

func (y *story) tell(kind procstream.EventKind, pid, ppid, vpid int) *Observation {
	y.at = y.at.Add(10 * time.Millisecond)
	o := &Observation{Kind: kind, At: y.at, Root: y.t.Path, RootID: y.t.Inode, PID: pid, PPID: ppid, VPID: vpid, Start: uint64(pid)}
	y.s.apply(y.t, o)
	return o
}

func (y *story) end(pid int, status syscall.WaitStatus) {
	y.s.apply(y.t, &Observation{
		Kind: procstream.Exited, At: y.at, PID: pid, Start: uint64(pid), Exit: procstream.Exit{Status: status},
	})
}

// runc's helper replaces itself inside the container's cgroup, starts what
// will be the first process, and leaves.
func TestHelperIsNotTheFirstProcess(t *testing.T) {
	f := func(vpid int) {
		t.Helper()
		y := newStory()
		y.tell(procstream.Moved, 10, 1, 10)
		y.tell(procstream.Executed, 10, 1, 10)
		require.Equal(t, 10, y.t.InitPID, "nothing speaks against it yet")
		y.tell(procstream.Forked, 11, 10, vpid)
		y.tell(procstream.Exited, 10, 1, 10)
		require.True(t, y.t.HasExit)
		y.tell(procstream.Executed, 11, 1, vpid)
		require.Equal(t, 11, y.t.InitPID)
		require.False(t, y.t.HasExit, "that was the helper's")
		y.tell(procstream.Forked, 12, 11, vpid+1)
		require.True(t, y.t.processes.known[12].child)
		y.tell(procstream.Executed, 12, 11, vpid+1)
		require.Equal(t, 11, y.t.InitPID)
		y.tell(procstream.Exited, 11, 1, vpid)
		require.True(t, y.t.HasExit)
	}
	f(1)
	f(11) // the host's pid namespace
	f(7)  // one that it shares with other containers
}

// Who runs a program after the first process has gone is not the first one.
func TestFirstProcessStaysTheFirst(t *testing.T) {
	y := newStory()
	y.tell(procstream.Moved, 11, 10, 1)
	y.tell(procstream.Executed, 11, 10, 1)
	y.tell(procstream.Exited, 11, 10, 1)
	y.tell(procstream.Moved, 12, 10, 2)
	y.tell(procstream.Executed, 12, 10, 2)
	require.Equal(t, 11, y.t.InitPID)

	host := newStory() // the host's numbers, and no longer young
	host.tell(procstream.Moved, 11, 10, 11)
	host.tell(procstream.Executed, 11, 10, 11)
	host.tell(procstream.Exited, 11, 10, 11)
	host.at = host.at.Add(helperMax)
	host.tell(procstream.Moved, 12, 10, 12)
	host.tell(procstream.Executed, 12, 10, 12)
	require.Equal(t, 11, host.t.InitPID)

	visited := newStory() // by one that is older, and pid 1 of a namespace
	visited.tell(procstream.Moved, 11, 10, 11)
	visited.tell(procstream.Executed, 11, 10, 11)
	visited.tell(procstream.Moved, 9, 10, 1)
	visited.tell(procstream.Executed, 9, 10, 1)
	require.Equal(t, 11, visited.t.InitPID)
}

// An exec session comes from outside; its children are none of the first
// process'. A victim is told apart.
func TestVictims(t *testing.T) {
	y := newStory()
	y.tell(procstream.Moved, 11, 10, 1)
	y.tell(procstream.Executed, 11, 10, 1)
	y.tell(procstream.Moved, 20, 10, 2)
	y.tell(procstream.Forked, 21, 20, 3)
	require.False(t, y.t.processes.known[21].child)
	y.tell(procstream.Forked, 12, 11, 4)
	o := &Observation{Kind: procstream.Exited, At: y.at, PID: 12, Start: 12, Exit: procstream.Exit{OOM: true, MaxRSS: 4096}}
	y.s.apply(y.t, o)
	p := y.t.verdict.pending
	require.True(t, p.exact)
	require.Equal(t, uint64(1), p.kills)
	require.Equal(t, 12, p.lost[0].PID)
	require.True(t, p.lost[0].child)
	require.Equal(t, uint64(4096), p.lost[0].RSS)
}

// Where the stream does not name the victims, who ended by SIGKILL when the
// counter rose is one; the others ended like any other process.
func TestSuspects(t *testing.T) {
	f := func(name string, kills uint64, ends []int, want Kills) {
		t.Helper()
		l := newLife()
		l.s.settings.VictimsTold = false
		for _, pid := range []int{l.start(supervisor, "a"), l.start(supervisor, "b")} {
			require.Contains(t, l.t.processes.known, pid)
		}
		l.wait(time.Minute)
		for _, pid := range ends {
			l.end(pid, kill)
		}
		l.t.Events.OOMKill += kills
		l.t.At = l.at.Add(time.Millisecond)
		l.wait(2 * time.Second)
		require.Equal(t, want, l.t.Kills, name)
		require.Empty(t, l.t.verdict.suspects, name)
	}
	f("killed by hand", 0, []int{201}, Kills{})
	f("victim", 1, []int{201}, Kills{Other: 1})
	f("one of two", 1, []int{201, 202}, Kills{Other: 1})
	f("the first process takes all with it", 1, []int{201, 202, supervisor}, Kills{Init: 1})
	f("told late", 2, []int{201}, Kills{Other: 1})
}

// What goes into a container inside this one is none of its processes any more,
// and has not ended.
func TestMovedToANestedContainer(t *testing.T) {
	l := newLife()
	pid := l.start(supervisor, "worker")
	l.s.apply(l.t, &Observation{Kind: procstream.Moved, Left: true, At: l.at, PID: pid, Start: uint64(pid)})
	require.NotContains(t, l.t.processes.known, pid)
	l.wait(time.Minute)
	require.Empty(t, l.told())
	require.False(t, l.t.processes.initGone)
}

// A number whose process was not told to end is taken over.
func TestNumberOfALostProcess(t *testing.T) {
	l := newLife()
	l.happen(procstream.Forked, 300, supervisor, "old")
	l.s.apply(l.t, &Observation{Kind: procstream.Forked, At: l.at, PID: 300, PPID: supervisor, Start: 301, Comm: "new"})
	require.Equal(t, "new", l.t.processes.known[300].Comm)
}

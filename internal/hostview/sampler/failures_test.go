package sampler

import (
	"maps"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/cgroup"
	"github.com/tallymanhq/tallyman/internal/procstream"
)

// Wait statuses, as wait(2) gives them.
const (
	code1   = syscall.WaitStatus(1 << 8)
	code143 = syscall.WaitStatus(143 << 8)
	segv    = syscall.WaitStatus(syscall.SIGSEGV)
	kill    = syscall.WaitStatus(syscall.SIGKILL)
	abrt    = syscall.WaitStatus(syscall.SIGABRT)
	term    = syscall.WaitStatus(syscall.SIGTERM)
)

// life is a story with a first process that supervises.
type life struct {
	*story
	consumer *Consumer
	nextPID  int
}

const supervisor = 100

func newLife() *life {
	y := newStory()
	y.s.consumers = map[*Consumer]struct{}{}
	y.s.settings.Stream, y.s.settings.VictimsTold = true, true
	l := &life{story: y, consumer: y.s.Subscribe(), nextPID: 200}
	l.happen(procstream.Moved, supervisor, 10, "init")
	l.happen(procstream.Executed, supervisor, 10, "init")
	return l
}

func (l *life) happen(kind procstream.EventKind, pid, ppid int, comm string) {
	l.s.apply(l.t, &Observation{
		Kind: kind, At: l.at, Root: l.t.Path, RootID: l.t.Inode, PID: pid, PPID: ppid, VPID: pid, Start: uint64(pid),
		Comm: comm,
	})
}

// fork starts a worker that is a copy of its parent.
func (l *life) fork(parent int, comm string) int {
	l.nextPID++
	l.happen(procstream.Forked, l.nextPID, parent, comm)
	return l.nextPID
}

// start starts a program.
func (l *life) start(parent int, comm string) int {
	pid := l.fork(parent, "sh")
	l.happen(procstream.Executed, pid, parent, comm)
	return pid
}

// wait lets time pass, judged every second.
func (l *life) wait(d time.Duration) {
	until := l.at.Add(d)
	for l.at.Before(until) {
		l.at = l.at.Add(min(time.Second, until.Sub(l.at)))
		l.s.judge(l.t, l.at)
	}
}

// fail runs a program n times that fails after a while; then a pause.
func (l *life) fail(n int, after, pause time.Duration, status syscall.WaitStatus) {
	for range n {
		pid := l.start(supervisor, "worker")
		l.wait(after)
		l.end(pid, status)
		l.wait(pause)
	}
}

// told returns the events since the last call.
func (l *life) told() []Event {
	out := append([]Event(nil), l.consumer.queue.events...)
	l.consumer.queue.clear()
	return out
}

func (l *life) reasons() map[Reason]bool { return maps.Collect(l.t.Degradations()) }

func TestSupervisorGivesUp(t *testing.T) {
	for name, status := range map[string]syscall.WaitStatus{"exit code": code1, "signal": segv} {
		t.Run(name, func(t *testing.T) {
			l := newLife()
			l.fail(5, 200*time.Millisecond, time.Second, status)
			require.Empty(t, l.told(), "it may yet try again")
			last := l.at.Add(-time.Second)
			l.wait(30 * time.Second)
			events := l.told()
			require.Len(t, events, 1)
			require.Equal(t, BecameDegraded, events[0].Kind)
			require.Equal(t, ReasonGaveUp, events[0].Reason)
			require.Equal(t, 5, events[0].Count)
			require.Equal(t, "worker", events[0].Victim.Executable)
			require.NotZero(t, events[0].Victim.PID)
			require.Equal(t, last, events[0].At)
			require.Equal(t, map[Reason]bool{ReasonOOM: false, ReasonGaveUp: true}, l.reasons())

			l.start(supervisor, "other") // is none of it
			l.wait(time.Minute)
			require.Empty(t, l.told())
			l.start(supervisor, "worker")
			l.wait(lastingFor / 2)
			require.Empty(t, l.told(), "it has failed so soon before")
			l.wait(lastingFor)
			events = l.told()
			require.Len(t, events, 1)
			require.Equal(t, Recovered, events[0].Kind)
			require.Equal(t, ReasonGaveUp, events[0].Reason)
			require.Equal(t, "worker", events[0].Victim.Executable)
			require.Greater(t, events[0].Duration, time.Minute)
			require.Equal(t, map[Reason]bool{ReasonOOM: false, ReasonGaveUp: false}, l.reasons())
		})
	}
}

// A supervisor that waits longer each time is given that time.
func TestPatientSupervisorIsWaitedFor(t *testing.T) {
	l := newLife()
	for _, pause := range []time.Duration{1, 2, 4, 8, 16, 32} {
		l.fail(1, 100*time.Millisecond, pause*time.Second, code1)
	}
	require.Empty(t, l.told())
	l.start(supervisor, "worker")
	l.wait(time.Hour)
	require.Empty(t, l.told(), "it succeeded at last")
	require.Empty(t, l.t.failures.series)
}

func TestWorkerThatKeepsCrashing(t *testing.T) {
	l := newLife()
	l.fail(8, time.Second, time.Second, segv)
	events := l.told()
	require.Len(t, events, 1)
	require.Equal(t, ReasonCrash, events[0].Reason)
	require.True(t, l.reasons()[ReasonCrash])

	// And then it is given up: the same trouble under a better name.
	l.wait(time.Minute)
	events = l.told()
	require.Len(t, events, 1)
	require.Equal(t, ReasonGaveUp, events[0].Reason)
	require.Equal(t, 8, events[0].Count)
	require.Equal(t, map[Reason]bool{ReasonOOM: false, ReasonCrash: false, ReasonGaveUp: true}, l.reasons())

	l.end(l.start(supervisor, "worker"), 0)
	events = l.told()
	require.Len(t, events, 1, "it has done what it was to do")
	require.Equal(t, Recovered, events[0].Kind)
}

// A worker that ran for long and fell over is missed once its place stays empty.
func TestWorkerThatCrashedOnce(t *testing.T) {
	f := func(name string, want Reason, run func(l *life)) {
		t.Helper()
		l := newLife()
		run(l)
		l.wait(time.Minute)
		events := l.told()
		if want == "" {
			require.Empty(t, events, name)
			return
		}
		require.Len(t, events, 1, name)
		require.Equal(t, want, events[0].Reason, name)
		require.Equal(t, 1, events[0].Count)
	}
	f("worker", ReasonCrash, func(l *life) {
		pid := l.start(supervisor, "worker")
		l.wait(time.Minute)
		l.end(pid, segv)
	})
	f("forked worker", ReasonCrash, func(l *life) {
		pid := l.fork(supervisor, "init")
		l.wait(time.Minute)
		l.end(pid, segv)
	})
	f("replaced", "", func(l *life) {
		pid := l.start(supervisor, "worker")
		l.wait(time.Minute)
		l.end(pid, segv)
		l.wait(time.Second)
		l.start(supervisor, "worker")
	})
	f("command", "", func(l *life) {
		pid := l.start(supervisor, "worker")
		l.wait(time.Second)
		l.end(pid, segv)
	})
	f("stopped", "", func(l *life) {
		pid := l.start(supervisor, "worker")
		l.wait(time.Minute)
		l.end(pid, kill)
	})
}

func TestNoAlarm(t *testing.T) {
	f := func(name string, run func(l *life)) {
		t.Helper()
		l := newLife()
		run(l)
		l.wait(5 * time.Minute)
		require.Empty(t, l.told(), name)
	}
	f("a script's commands that say no", func(l *life) {
		l.fail(50, 2*time.Millisecond, time.Millisecond, code1)
	})
	f("a check in a loop", func(l *life) {
		for range 100 {
			l.fail(1, 100*time.Millisecond, time.Second, code1)
		}
		l.end(l.start(supervisor, "worker"), 0)
	})
	f("a check every two minutes", func(l *life) {
		l.fail(20, 100*time.Millisecond, 2*time.Minute, code1)
	})
	f("stopped by its supervisor", func(l *life) {
		l.fail(10, time.Second, time.Second, term)
		l.fail(10, time.Second, time.Second, code143)
	})
	f("commands that took too long", func(l *life) {
		l.fail(10, 3*time.Second, time.Second, kill)
	})
	f("subshells that say no", func(l *life) {
		for range 10 {
			pid := l.fork(supervisor, "sh")
			l.wait(100 * time.Millisecond)
			l.end(pid, code1)
		}
	})
	f("an exec session", func(l *life) {
		l.happen(procstream.Moved, 50, 10, "sh")
		l.happen(procstream.Executed, 50, 10, "sh")
		for range 10 {
			pid := l.start(50, "worker")
			l.wait(time.Second)
			l.end(pid, segv)
		}
	})
	f("a build that ends", func(l *life) {
		build := l.start(supervisor, "make")
		for range 10 {
			pid := l.start(build, "cc")
			l.wait(time.Second)
			l.end(pid, code1)
		}
		l.end(build, code1)
	})
	f("an entrypoint that becomes the server", func(l *life) {
		l.fail(10, 100*time.Millisecond, time.Second, code1)
		l.happen(procstream.Executed, supervisor, 10, "server")
	})
	f("the end of the container", func(l *life) {
		l.fail(10, 100*time.Millisecond, 0, segv)
		l.end(supervisor, code1)
	})
}

// Servers that fork their workers in advance replace them, whatever they died
// of and however often.
func TestPreforkingServer(t *testing.T) {
	l := newLife()
	workers := make([]int, 4)
	for i := range workers {
		workers[i] = l.fork(supervisor, "init")
	}
	for i := range 100 {
		l.wait(700 * time.Millisecond)
		l.end(workers[i%4], []syscall.WaitStatus{segv, abrt, code1}[i%3])
		workers[i%4] = l.fork(supervisor, "init")
		if i%20 == 0 { // all at once
			for j := range workers {
				l.end(workers[j], kill)
				workers[j] = l.fork(supervisor, "init")
			}
			l.wait(lastingFor)
		}
	}
	l.wait(time.Minute)
	require.Empty(t, l.told())
}

// Two programs of one interpreter do not stand in for each other.
func TestNeighbourIsNoReplacement(t *testing.T) {
	l := newLife()
	l.start(supervisor, "worker")
	l.fail(5, 200*time.Millisecond, time.Second, code1)
	l.wait(time.Minute)
	events := l.told()
	require.Len(t, events, 1)
	require.Equal(t, ReasonGaveUp, events[0].Reason)
}

func TestSeriesAreBounded(t *testing.T) {
	l := newLife()
	l.fail(5, 200*time.Millisecond, time.Second, code1)
	l.wait(10 * time.Second)
	require.Len(t, l.told(), 1)
	for i := range 10 * seriesMax {
		l.end(l.start(supervisor, string(rune('a'+i%26))+string(rune('a'+i/26))), code1)
		l.at = l.at.Add(time.Millisecond)
	}
	require.Len(t, l.t.failures.series, seriesMax)
	require.Equal(t, uint64(9*seriesMax+1), l.s.stats.DroppedProcesses)
	require.True(t, l.reasons()[ReasonGaveUp], "what was reported stays")
}

// With memory.oom.group one event tells of all.
func TestGroupKillIsOneEvent(t *testing.T) {
	f := func(name string, mark func(l *life), want int) {
		t.Helper()
		l := newLife()
		l.t.Sample.Have |= cgroup.PartEventGroup // a kernel with that counter
		var pids []int
		for range 3 {
			pids = append(pids, l.start(supervisor, "worker"))
		}
		mark(l)
		for _, pid := range append(pids, supervisor) {
			l.s.apply(l.t, &Observation{
				Kind: procstream.Exited, At: l.at, PID: pid, Start: uint64(pid),
				Exit: procstream.Exit{Status: kill, OOM: true},
			})
		}
		l.t.End = l.at
		l.s.settleOnEnd(l.t)
		events := l.told()
		require.Len(t, events, want, name)
		if want > 1 {
			return
		}
		require.True(t, events[0].Group)
		require.Equal(t, 4, events[0].Count)
		require.True(t, events[0].Victim.Init)
		require.Equal(t, supervisor, events[0].Victim.PID)
		require.False(t, events[0].Survived)
		require.Equal(t, Kills{Init: 1, Other: 3}, l.t.Kills)
		l.t.Events.OOMKill = 5 // the first one is counted twice
		l.s.countUnexplained(l.t, l.at)
		l.s.countUnexplained(l.t, l.at.Add(time.Minute))
		require.Empty(t, l.told())
	}
	f("by the flag", func(l *life) { l.t.hear(&Observation{Kind: procstream.CgroupRemoved, RootID: 7, OOMGroup: true}) }, 1)
	f("by the counter", func(l *life) { l.t.Events.OOMGroupKill++ }, 1)
	f("none", func(*life) {}, 4)
}

// Who put itself into the background is watched as well.
func TestDaemonThatCrashed(t *testing.T) {
	l := newLife()
	starter := l.start(supervisor, "service")
	daemon := l.start(starter, "daemon")
	l.end(starter, 0)
	l.wait(time.Hour)
	l.s.apply(l.t, &Observation{
		Kind: procstream.Exited, At: l.at, PID: daemon, PPID: supervisor, Start: uint64(daemon), Exit: procstream.Exit{Status: segv},
	})
	l.wait(time.Minute)
	events := l.told()
	require.Len(t, events, 1)
	require.Equal(t, ReasonCrash, events[0].Reason)
	require.Equal(t, "daemon", events[0].Victim.Executable)
}

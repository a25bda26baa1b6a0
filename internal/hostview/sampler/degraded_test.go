package sampler

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/procstream"
)

// oom ends a process as the OOM killer does.
func (l *life) oom(pid int) {
	l.s.apply(l.t, &Observation{
		Kind: procstream.Exited, At: l.at, PID: pid, Start: uint64(pid), Exit: procstream.Exit{Status: kill, OOM: true},
	})
}

// kinds are those of the events since the last call.
func (l *life) kinds() (all []EventKind) {
	for _, e := range l.told() {
		all = append(all, e.Kind)
	}
	return all
}

// Supervisors need a moment, and pools need not be full.
func TestReplacedAfterAMoment(t *testing.T) {
	l := newLife()
	l.oom(l.start(supervisor, "worker"))
	l.wait(2 * time.Second)
	require.Equal(t, []EventKind{OOMKilled}, l.kinds(), "at once, and nothing more yet")
	l.s.apply(l.t, &Observation{
		Kind: procstream.Forked, At: l.at, PID: 900, PPID: supervisor, Comm: "worker", Start: 900,
	})
	l.wait(time.Minute)
	require.Empty(t, l.kinds())

	l = newLife()
	victim := l.fork(supervisor, "init")
	l.fork(supervisor, "init")
	l.oom(victim)
	l.wait(time.Minute)
	require.Equal(t, []EventKind{OOMKilled}, l.kinds(), "one of a pool")

	l = newLife()
	l.oom(l.fork(supervisor, "init"))
	l.wait(time.Minute)
	require.Equal(t, []EventKind{OOMKilled, BecameDegraded}, l.kinds(), "the only one")
}

// A script goes by the name of its interpreter's file, and so does what it has
// just forked, until that runs a program of its own. It replaces nobody.
func TestForkOfTheShellReplacesNobody(t *testing.T) {
	pass := func(l *life, forked bool) []EventKind {
		l.at = l.at.Add(time.Second)
		if !forked {
			l.s.judge(l.t, l.at)
			return l.kinds()
		}
		pid := l.fork(supervisor, "busybox")
		l.at = l.at.Add(takesShape / 2)
		l.s.judge(l.t, l.at)
		l.happen(procstream.Executed, pid, supervisor, "usleep")
		l.end(pid, 0)
		return l.kinds()
	}
	bereave := func() *life {
		l := newLife()
		worker := l.start(supervisor, "tail")
		l.t.processes.known[worker].alias = "busybox"
		l.oom(worker)
		require.Equal(t, []EventKind{OOMKilled}, pass(l, true))
		require.Empty(t, pass(l, true), "it may yet be replaced")
		require.Empty(t, pass(l, true), "nobody knows")
		return l
	}

	l := bereave()
	require.Equal(t, []EventKind{BecameDegraded}, pass(l, false))
	require.Empty(t, pass(l, true), "that is not the worker")
	l.fork(supervisor, "busybox")
	require.Equal(t, []EventKind{Recovered}, pass(l, false), "it may be renamed later, as tail was")

	l = bereave()
	for range 2 {
		require.Empty(t, pass(l, true))
	}
	require.Equal(t, []EventKind{BecameDegraded}, pass(l, true), "it is not waited for for ever")
}

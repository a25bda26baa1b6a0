package sampler

import (
	"iter"
	"syscall"
	"time"
)

// A container's first process is often a supervisor, a shell or a server that
// starts workers. It may look alive while its worker dies again and again, or
// has been given up. What is told of here comes from the process stream alone:
// it takes exit codes, which /proc has not.

const (
	// keepsDyingFrom so many deaths in a row a process keeps dying: it was
	// started, and retried as often as supervisord does by default
	// (startretries=3).
	keepsDyingFrom = 4
	// paceMin is the least time between two deaths of what a supervisor
	// retries. A shell script that runs commands which say no by their exit code
	// needs 1 to 5 ms for each (busybox sh, grep -q in a loop); systemd, the
	// least patient of the supervisors, waits 100 ms.
	paceMin = 50 * time.Millisecond
	// lastingFor is how long a process must run to count as running again:
	// ten times the startsecs of supervisord, which is 1 s.
	lastingFor = 10 * time.Second
	// replacedWithin is how long the place of a process may stay empty. Servers
	// that fork their workers replace them at once, supervisors wait 1 s or less
	// before their first retry. Whoever looks is to know within 5 s.
	replacedWithin = 3 * time.Second
	// retryWithin: what is started later than this after a death is not a
	// retry of the same thing.
	retryWithin = time.Minute
	// seriesMax bounds the series of one container; the longest quiet goes
	// first.
	seriesMax = 64
)

// seriesKey is who starts what.
type seriesKey struct {
	parent     *process
	executable string
}

// series is a number of deaths in a row.
type series struct {
	// forked: the processes never ran a program of their own, as workers of
	// servers that fork them in advance.
	forked bool
	// count deaths, signals of them by a signal, between first and last.
	count, signals int
	first, last    time.Time
	pid            int // of the last one
	alias          string
	// fell: the last one had run for long and was ended by a fault of its own.
	fell bool
	// pause is the longest time from a death to the next start.
	pause time.Duration
	// told is the reason that was reported at since, "" before.
	told  Reason
	since time.Time
}

// failures are the series of one container.
type failures struct {
	series map[seriesKey]*series
	// degraded counts the series reported by reason; a reason stays in it.
	degraded map[Reason]int
}

// Degradations are the reasons that a container was looked at for, and
// whether it is degraded for them: OOM kills always, the others once they have
// been there.
func (t *Target) Degradations() iter.Seq2[Reason, bool] {
	return func(yield func(Reason, bool) bool) {
		if !yield(ReasonOOM, t.Degraded != nil) {
			return
		}
		for _, r := range []Reason{ReasonCrash, ReasonGaveUp} {
			if n, ok := t.failures.degraded[r]; ok && !yield(r, n > 0) {
				return
			}
		}
	}
}

// verdictOf a process' end.
type verdictOf uint8

const (
	endedWell verdictOf = iota
	endedOnRequest
	failed
)

func judgeEnd(status syscall.WaitStatus, forked bool) verdictOf {
	signal := status.Signal()
	if code := status.ExitStatus(); status.Exited() {
		if code == 0 {
			return endedWell
		}
		// Shells and Java say it so.
		signal = syscall.Signal(code - 128)
	}
	switch {
	case signal == syscall.SIGTERM, signal == syscall.SIGINT, signal == syscall.SIGHUP,
		signal == syscall.SIGQUIT, signal == syscall.SIGPIPE, signal == syscall.SIGKILL:
		// Victims of the OOM killer are told apart before: what else sends
		// SIGKILL has decided to, such as a program whose command took too long.
		return endedOnRequest
	case forked && status.Exited():
		return endedOnRequest // a subshell that says no, most likely
	}
	return failed
}

// faulted: signals that a process brings upon itself.
func faulted(status syscall.WaitStatus) bool {
	if !status.Signaled() {
		return false
	}
	switch status.Signal() {
	case syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGABRT, syscall.SIGILL,
		syscall.SIGFPE, syscall.SIGSYS, syscall.SIGTRAP:
		return true
	}
	return false
}

// childStarted notes a start of something that has died before.
func (t *Target) childStarted(p *process, at time.Time) {
	key := seriesKey{t.processes.known[p.PPID], p.Comm}
	f := t.failures.series[key]
	if f == nil {
		return
	}
	pause := at.Sub(f.last)
	if pause > retryWithin && f.told == "" {
		delete(t.failures.series, key)
		return
	}
	f.pause = max(f.pause, pause)
}

// childEnded notes the end of a process that descends from the first one and
// whose parent lives. Victims of the OOM killer are not for here.
func (s *Sampler) childEnded(t *Target, dead *process, o *Observation) {
	key := seriesKey{t.processes.known[dead.PPID], dead.Comm}
	if key.parent == nil && faulted(o.Exit.Status) {
		// A daemon: who started it has gone, and left it to somebody else.
		key.parent = t.processes.known[o.PPID]
	}
	if !dead.child || key.parent == nil {
		return
	}
	f := t.failures.series[key]
	lasted := o.At.Sub(dead.began) >= lastingFor
	how := judgeEnd(o.Exit.Status, !dead.executed)
	if f != nil && (how == endedWell || lasted) {
		s.seriesEnded(t, key, o.At)
		f = nil
	}
	if how != failed {
		return
	}
	if f == nil {
		if f = s.newSeries(t, key); f == nil {
			return
		}
		f.forked, f.first = !dead.executed, o.At
	}
	f.count++
	if o.Exit.Status.Signaled() {
		f.signals++
	}
	f.last, f.pid, f.alias = o.At, dead.PID, dead.alias
	f.fell = lasted && faulted(o.Exit.Status)
}

// newSeries makes room for one, or returns nil.
func (s *Sampler) newSeries(t *Target, key seriesKey) *series {
	all := t.failures.series
	if all == nil {
		all = map[seriesKey]*series{}
		t.failures.series = all
	}
	if len(all) >= seriesMax {
		var oldest seriesKey
		for k, f := range all {
			if f.told == "" && (oldest.parent == nil || f.last.Before(all[oldest].last)) {
				oldest = k
			}
		}
		s.stats.DroppedProcesses++
		if oldest.parent == nil {
			return nil
		}
		delete(all, oldest)
	}
	f := &series{}
	all[key] = f
	return f
}

// parentReplaced: what the program before it had started is no longer its
// business.
func (t *Target) parentReplaced(parent *process) {
	for key, f := range t.failures.series {
		if key.parent == parent && f.told == "" {
			delete(t.failures.series, key)
		}
	}
}

// checkFailures reports series whose time has come.
func (s *Sampler) checkFailures(t *Target, now time.Time) {
	if t.processes.init == nil || t.processes.initGone || !t.End.IsZero() {
		return
	}
	for key, f := range t.failures.series {
		next := t.successor(key, f)
		if next != nil && now.Sub(next.began) >= lastingFor {
			s.seriesEnded(t, key, now)
			continue
		}
		if t.processes.known[key.parent.PID] != key.parent {
			// Whoever waited for it has gone as well, and speaks for itself.
			if f.told == "" {
				delete(t.failures.series, key)
			}
			continue
		}
		if reason := f.reason(now, next != nil); reason != "" {
			s.report(t, key, reason)
		} else if f.told == "" && now.Sub(f.last) > retryWithin && !f.keepsDying() && next == nil {
			delete(t.failures.series, key)
		}
	}
}

// successor is a process of the same name that took the dead one's place: it
// began later, or is a sibling if the workers were forked in advance. At last it
// may be the first process itself, with a script's last command.
func (t *Target) successor(key seriesKey, f *series) *process {
	var oldest *process
	for _, p := range t.processes.known {
		if !p.isNamed(key.executable, f.alias) || !p.child && p != t.processes.init {
			continue
		}
		if f.forked && p == key.parent || !f.forked && !p.began.After(f.last) {
			continue
		}
		if oldest == nil || p.began.Before(oldest.began) {
			oldest = p
		}
	}
	return oldest
}

// keepsDying tells the retries of a supervisor from a script's commands that
// say no.
func (f *series) keepsDying() bool {
	if f.count < keepsDyingFrom {
		return false
	}
	return f.signals == f.count || f.last.Sub(f.first) >= time.Duration(f.count-1)*paceMin
}

// reason is what there is to report, "" if nothing. A loop of commands that
// say no goes on for ever and is none: only signals make one that goes on.
// Nor is a server that replaces the workers it forks.
func (f *series) reason(now time.Time, replaced bool) Reason {
	quiet := now.Sub(f.last)
	switch {
	case f.keepsDying() && !replaced && quiet >= replacedWithin+3*f.pause:
		return ReasonGaveUp
	case f.keepsDying() && !f.forked && f.signals == f.count && f.last.Sub(f.first) >= lastingFor:
		return ReasonCrash
	case f.fell && !replaced && quiet >= replacedWithin:
		return ReasonCrash
	}
	return ""
}

// report tells of a series, once for each reason.
func (s *Sampler) report(t *Target, key seriesKey, reason Reason) {
	f := t.failures.series[key]
	if f.told == reason || f.told == ReasonGaveUp {
		return
	}
	if t.failures.degraded == nil {
		t.failures.degraded = map[Reason]int{}
	}
	if f.told != "" {
		t.failures.degraded[f.told]--
	} else {
		f.since = f.last
	}
	f.told = reason
	t.failures.degraded[reason]++
	s.emit(Event{
		Kind: BecameDegraded, At: f.last, Target: t, Reason: reason,
		Victim: Victim{PID: f.pid, Executable: key.executable}, Count: f.count,
	})
}

// seriesEnded: it runs again, or has done what it was to do.
func (s *Sampler) seriesEnded(t *Target, key seriesKey, at time.Time) {
	f := t.failures.series[key]
	delete(t.failures.series, key)
	if f.told == "" {
		return
	}
	t.failures.degraded[f.told]--
	s.emit(Event{
		Kind: Recovered, At: at, Target: t, Reason: f.told,
		Victim: Victim{Executable: key.executable}, Duration: at.Sub(f.since),
	})
}

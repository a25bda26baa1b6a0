package sampler

import (
	"bytes"
	"path"
	"slices"
	"syscall"
	"time"

	"github.com/tallymanhq/tallyman/internal/cgroup"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/procstream"
)

// The ledger keeps a container's processes by what the process stream tells:
// who descends from the first process, who was killed, how the first one
// ended. Nothing is looked up in /proc but for containers that were there
// before the stream, and after the stream has lost events.

// Observe tells of a process in a container. It never waits for a pass, but
// brings the ledgers up to date by itself if many have been told since the last.
func (s *Sampler) Observe(o Observation) {
	if s.inbox.add(o) && s.mu.TryLock() {
		defer s.mu.Unlock()
		s.applyInbox(s.now())
	}
}

// ObserveLoss tells that events before this moment were lost.
func (s *Sampler) ObserveLoss() {
	s.inbox.mu.Lock()
	defer s.inbox.mu.Unlock()
	s.inbox.lost = true
}

// applyInbox brings the ledgers up to date.
func (s *Sampler) applyInbox(now time.Time) {
	if !s.settings.Stream {
		return
	}
	list, lost := s.inbox.take()
	if lost {
		s.lostAt = now
	}
	var homeless []Observation
	for i := range list {
		o := &list[i]
		t := s.targets[o.Root]
		switch {
		case t != nil && o.Kind == procstream.CgroupRemoved:
			t.hear(o)
		case t != nil && t.Inode == o.RootID:
			s.apply(t, o)
		case s.unwanted[o.Root] == o.RootID:
		case now.Sub(o.At) < homelessMax:
			homeless = append(homeless, *o)
		}
	}
	s.inbox.putBack(homeless)
	if !lost {
		return
	}
	for _, t := range s.order {
		t.processes.doubtful = true
	}
}

// hear takes the counters that a cgroup had at its end. With cgroup v1 each
// hierarchy tells its own; that of the pids controller is known by its path
// alone.
func (t *Target) hear(o *Observation) {
	if o.RootID != t.Inode && o.MemoryPeak > 0 {
		return // an earlier container of the same name
	}
	if o.MemoryPeak > 0 {
		t.Sample.Memory.Peak = max(t.Sample.Memory.Peak, o.MemoryPeak)
		t.Sample.Known |= cgroup.PartMemoryPeak
	}
	if t.retired == (retired{}) && len(t.satellites) == 0 { // on v2 it has those of nested containers
		t.Events.OOMKill = max(t.Events.OOMKill, o.OOMKills)
	}
	t.oomGroup = t.oomGroup || o.OOMGroup
	t.PidsPeak = max(t.PidsPeak, o.PidsPeak)
}

func (s *Sampler) apply(t *Target, o *Observation) {
	if !t.IsContainer() {
		return
	}
	p := &t.processes
	if p.isLate(o) && o.Kind != procstream.Exited {
		if p.seen(o.PID) {
			return // the look knows it; but not how one ended
		}
		p.recall(o)
	}
	switch o.Kind {
	case procstream.Forked:
		s.forked(t, o)
	case procstream.Moved:
		if o.Left {
			t.left(o)
			return
		}
		// From outside: the runtime's helpers, or an exec session.
		s.enter(p, o, false)
	case procstream.Executed:
		s.executed(t, o)
	case procstream.Exited:
		s.exited(t, o)
	}
}

// isLate reports whether what is told was before the last look.
func (p *processes) isLate(o *Observation) bool { return o.At.Before(p.trustedFrom) }

// seen reports whether the last look has found somebody with this number.
func (p *processes) seen(pid int) bool {
	known := p.known[pid]
	return known != nil && known.look.Equal(p.lookedAt)
}

// recall makes a process known again that the last look has missed. It had ended
// by then, or left, of which the stream tells next. If there is no room, its end
// is still waited for among the missed.
func (p *processes) recall(o *Observation) {
	if len(p.known) >= processMax {
		return
	}
	if known := p.takeMissed(o); known != nil {
		p.known[o.PID] = known
	}
}

// forked adds a process.
func (s *Sampler) forked(t *Target, o *Observation) {
	p := &t.processes
	parent := p.known[o.PPID]
	if parent == nil && p.init == nil && !p.isLate(o) && !p.areSiblings(o.PPID) {
		p.doubtful = true // somebody nobody has told of starts processes here
	}
	s.enter(p, o, parent != nil && (parent == p.init || parent.child))
	if known := p.known[o.PID]; known != nil {
		t.childStarted(known, o.At)
	}
}

// areSiblings reports whether the processes that are known, if any, all have this
// parent. runc's helpers do: each starts the next as a child of its own parent
// (CLONE_PARENT), which is outside.
func (p *processes) areSiblings(ppid int) bool {
	for _, known := range p.known {
		if known.PPID != ppid {
			return false
		}
	}
	return len(p.known) > 0
}

// enter makes a process known. One that is known already has only moved
// between cgroups of the container.
func (s *Sampler) enter(p *processes, o *Observation, child bool) {
	if known := p.known[o.PID]; known != nil {
		if known.Start == o.Start {
			return
		}
		delete(p.known, o.PID) // its end was not told
	}
	if len(p.known) >= processMax {
		if !p.overflowed {
			p.overflowed = true
			s.stats.DroppedProcesses++
		}
		return
	}
	if p.known == nil {
		p.known = map[int]*process{}
	}
	p.known[o.PID] = &process{
		Stat: procstream.Stat{PID: o.PID, PPID: o.PPID, Start: o.Start, Comm: o.Comm},
		vpid: o.VPID, child: child, placed: true, look: o.At, began: o.At,
	}
}

// left takes a process out that was moved to a cgroup of something else: a
// container inside this one. It has not ended.
func (t *Target) left(o *Observation) {
	p := &t.processes
	if known := p.known[o.PID]; known != nil && known.Start == o.Start && known != p.init {
		delete(p.known, o.PID)
	}
}

// executed renames a process. The first program that is executed inside a
// container is that of its first process, unless one of the runtime's helpers
// was moved in before it replaced itself: runc does so with a copy of itself.
func (s *Sampler) executed(t *Target, o *Observation) {
	p := &t.processes
	known := p.known[o.PID]
	if known == nil || known.Start != o.Start {
		s.enter(p, o, false)
		known = p.known[o.PID]
	}
	if known == nil {
		return
	}
	known.Comm, known.executed, known.began = o.Comm, true, o.At
	t.childStarted(known, o.At)
	t.parentReplaced(known)
	if p.init != nil && !p.isFirstAfterAll(known, o, o.At.Sub(t.FirstSeen)) {
		return
	}
	p.init, p.initGone = known, false
	t.Exit, t.HasExit = procstream.Exit{}, false
	t.InitPID = known.PID
	if started := s.proc.StartTime(known.Start); started.Before(t.Start) {
		t.Start = started
	}
}

// helperMax is how old a container may be when its helpers have left. It took
// 12 s on an emulated machine.
const helperMax = 30 * time.Second

// isFirstAfterAll reports whether somebody who runs a program is the first process in
// place of the one that was taken for it. What is told late was before the look that
// found the first one gone: a child of it is then just a child.
func (p *processes) isFirstAfterAll(known *process, o *Observation, age time.Duration) bool {
	if p.isLate(o) {
		return known.PPID != p.init.PID && p.followsHelper(known, age) || p.tookChildOf(known)
	}
	return p.followsHelper(known, age)
}

// followsHelper reports whether what was taken for the first process was a
// helper of the runtime. It has ended by the time the first process runs its
// own program: as pid 1 of its namespace, in the namespace that it shares with
// others while the helper was still in the host's, or with the host's numbers in
// a container that is still young.
func (p *processes) followsHelper(known *process, age time.Duration) bool {
	switch {
	case !p.initGone || p.init.vpid == 1:
		return false
	case known.vpid == 1:
		return true
	case known.vpid != known.PID:
		return p.init.vpid == p.init.PID
	}
	return age < helperMax
}

// tookChildOf reports whether the last look has taken a child for the first
// process, which had ended. Pid 1 of a namespace that was made inside the container
// is younger than the first process.
func (p *processes) tookChildOf(known *process) bool {
	return known.vpid == 1 && p.init.vpid != 1 && known.isOlder(p.init)
}

// exited takes a process out, and notes an OOM kill.
func (s *Sampler) exited(t *Target, o *Observation) {
	p := &t.processes
	known := p.ended(o)
	if known == nil {
		return
	}
	if known == p.init {
		p.initGone = true
		t.Exit, t.HasExit = o.Exit, true
	}
	if !s.settings.VictimsTold && o.Exit.Status.Signaled() && o.Exit.Status.Signal() == syscall.SIGKILL {
		s.suspect(t, known, o)
		return
	}
	if o.Exit.OOM {
		known.RSS, known.victim = o.Exit.MaxRSS, true
		s.noteVictim(t, known, o.At)
		return
	}
	s.childEnded(t, known, o)
}

// ended takes out the process whose end is told, or returns nil if it was not
// known. It may be known only as one that the last look missed.
func (p *processes) ended(o *Observation) *process {
	if known := p.known[o.PID]; known != nil && known.Start == o.Start {
		delete(p.known, o.PID)
		return known
	}
	return p.takeMissed(o)
}

// takeMissed takes a process out of those that the last look missed, or returns
// nil.
func (p *processes) takeMissed(o *Observation) *process {
	for i, missed := range p.missed {
		if missed.PID == o.PID && missed.Start == o.Start {
			p.missed = slices.Delete(p.missed, i, i+1)
			return missed
		}
	}
	return nil
}

// noteVictim adds a kill to those that are to be settled.
func (s *Sampler) noteVictim(t *Target, victim *process, at time.Time) {
	v := &t.verdict
	if v.pending == nil || !v.pending.exact {
		// Times of starts are cut to 10 ms; nothing replaces a victim before
		// its parent has been told.
		v.pending = &pending{since: at.Add(-20 * time.Millisecond), at: at, exact: true}
	}
	v.pending.kills++
	v.pending.last = at
	v.pending.lost = append(v.pending.lost, victim)
	v.exact++
}

// checkLedger looks at the processes of a container that was there before the
// stream, and of every one after events were lost.
func (s *Sampler) checkLedger(t *Target, now time.Time, slow bool) {
	p := &t.processes
	old := p.init == nil && t.FirstSeen.Before(s.settings.StreamFrom)
	if p.doubtful || old && (slow || t.Sample.Pids != p.tasks) {
		s.lookAgain(t, now)
	}
	t.ProcessesKnown = p.init != nil
}

// lookAgain asks /proc for what the stream has not told.
func (s *Sampler) lookAgain(t *Target, now time.Time) {
	p, from := &t.processes, s.now()
	before := p.init
	if p.doubtful && !p.initGone && p.init != nil && p.init.vpid != 1 {
		p.init = nil // it may be a child of one that was not told
	}
	if !s.look(t, now, p.doubtful) {
		p.init = before
		return // still in doubt, but nothing that is told is known already
	}
	if p.init == nil {
		p.init = before // all have gone
	}
	p.doubtful, p.trustedFrom = false, from
	for _, known := range p.known {
		known.child = known.child || p.descends(known)
		known.fresh, known.placed = false, true
		parent := p.known[known.PPID]
		known.executed = known.executed || parent == nil || parent.Comm != known.Comm
	}
	p.missed, p.gone, p.goneBefore = p.gone, nil, nil
	// An end that was lost is one all the same.
	p.initGone = p.initGone || p.init != nil && p.known[p.init.PID] != p.init
}

// judgeExactly settles the kills that the stream has told of.
func (s *Sampler) judgeExactly(t *Target, now time.Time) {
	v := &t.verdict
	if !s.settings.VictimsTold {
		s.judgeSuspects(t)
	}
	if p := v.pending; p != nil && (now.Sub(p.last) >= confirmAfter || now.Sub(p.at) >= confirmAtLast) {
		s.settleExactly(t)
	}
	s.countUnexplained(t, now)
	s.mourn(t, now, func() bool { return t.processes.init != nil && !t.processes.initGone && t.End.IsZero() })
	s.checkFailures(t, now)
	if t.Degraded != nil && v.pending == nil {
		s.checkRecovery(t, now)
	}
}

// settleExactly decides on the kills that are pending: whoever was to end with
// the victims has done so by now.
func (s *Sampler) settleExactly(t *Target) {
	p, init := t.verdict.pending, t.processes.init
	t.verdict.pending = nil
	for _, l := range p.lost {
		if l == init {
			t.Kills.Init++
		} else {
			t.Kills.Other++
		}
	}
	if p.group = s.killedAsGroup(t, p); p.group {
		t.verdict.groups++
	}
	survived := init != nil && !t.processes.initGone && t.End.IsZero()
	s.emitKills(t, p, Event{Survived: survived, SurvivedKnown: init != nil})
	if survived {
		s.degrade(t, p)
	}
}

// killedAsGroup reports whether memory.oom.group made the kills one: by the
// kernel's counter, or before 5.17, which has none, by the setting.
func (s *Sampler) killedAsGroup(t *Target, p *pending) bool {
	if t.oomGroup || t.Events.OOMGroupKill > t.verdict.seenGroups {
		t.verdict.seenGroups = t.Events.OOMGroupKill
		return true
	}
	if p.kills < 2 || t.Sample.Has(cgroup.PartEventGroup) {
		return false
	}
	procs := s.host.ProcsFile(t.Path)
	if procs == "" {
		return false
	}
	setting, err := hostfs.ReadFile(path.Join(path.Dir(procs), "memory.oom.group"), nil)
	return err == nil && string(bytes.TrimSpace(setting)) == "1"
}

// countUnexplained is for kills that the kernel has counted and the stream
// has not told of: it cannot here, or has lost them.
func (s *Sampler) countUnexplained(t *Target, now time.Time) {
	v := &t.verdict
	explained := v.explained()
	if t.Events.OOMKill <= explained {
		v.missingSince = time.Time{}
		return
	}
	if v.missingSince.IsZero() {
		v.missingSince = now
	}
	if now.Sub(v.missingSince) < confirmAtLast {
		return
	}
	missing := t.Events.OOMKill - explained
	v.unexplained += missing
	t.Kills.Unknown += missing
	s.emitKills(t, &pending{at: v.missingSince, kills: missing}, Event{})
}

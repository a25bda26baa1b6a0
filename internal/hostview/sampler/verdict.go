package sampler

import (
	"cmp"
	"slices"
	"time"
)

// A kill is judged in two steps. When the kernel's counter rises, what has
// just left is noted (pending). One pass later the first process is looked at
// again: one that was itself the victim may still have been on its way out at
// first, freeing its memory. If it lives, the container survived; if nothing
// took the victim's place, it is degraded.
type verdict struct {
	// seenKills of Events.OOMKill have been dealt with.
	seenKills uint64
	// seenGroups of Events.OOMGroupKill likewise.
	seenGroups uint64
	started    bool
	pending    *pending
	// groups were killed as one since we look.
	groups uint64
	// bereaved are kills of which it is not known yet whether the victims are
	// replaced.
	bereaved []bereaved
	// exact kills were told by the process stream; unexplained ones by the
	// counter alone, which rose beyond the others at missingSince.
	exact, unexplained uint64
	missingSince       time.Time
	// suspects ended by SIGKILL: of whom, the counter must tell.
	suspects []suspect
}

// explained is how many of Events.OOMKill are accounted for. Of a group the kernel
// counts the one that it chose first twice (mm/oom_kill.c, oom_kill_process).
func (v *verdict) explained() uint64 { return v.seenKills + v.exact + v.unexplained + v.groups }

type pending struct {
	// The first kill was counted at at and happened after since; the last one
	// was counted at last. Who started after counted is no victim of theirs.
	since, at, last time.Time
	counted         time.Time
	kills           uint64
	// left are the processes that went about that time: before the kill was
	// counted (early), or after.
	early, left []*process
	// lost are those of them that were the victims, once that is settled.
	lost []*process
	// young: the container was made so short a time before that its
	// processes had not been looked at in peace.
	young bool
	// exact: the process stream has named the victims.
	exact bool
	// group: memory.oom.group made the OOM killer take them all as one.
	group bool
}

// confirmAfter is how long the first process must outlive a kill. From the
// signal to the moment /proc shows the victim as ending took 6.5 ms at most on
// a quiet machine, 32 ms with twice as many busy threads as processors, and
// 166 ms under a CPU quota of 1 % (2 GiB victims on Linux 6.18, five runs
// each). Freeing its memory takes longer, but it counts as ended by then.
const confirmAfter = 500 * time.Millisecond

// confirmAtLast bounds the wait where kills do not stop.
const confirmAtLast = 3 * time.Second

// giveUpAfter is how long the end of a container whose first process has gone
// is waited for: an engine removes its cgroup within seconds.
const giveUpAfter = 30 * time.Second

// killEventsMax bounds the events of one judgement; the rest is counted as
// dropped.
const killEventsMax = 64

// judge looks at what the pass has read.
func (s *Sampler) judge(t *Target, now time.Time) {
	v := &t.verdict
	if !v.started {
		v.started = true
		if t.Initial || !t.IsContainer() {
			before := t.Events.OOMKill - min(v.exact, t.Events.OOMKill)
			t.Kills.Unknown, v.seenKills = before, before
			v.seenGroups = t.Events.OOMGroupKill
		}
	}
	if s.settings.Stream && t.IsContainer() {
		s.judgeExactly(t, now)
		return
	}
	grown := t.Events.OOMKill - v.seenKills
	v.seenKills = t.Events.OOMKill
	if !t.ProcessesKnown {
		s.reportUnknown(t, now, grown)
		return
	}
	if v.pending != nil || grown > 0 {
		s.weigh(t, now, grown)
	}
	s.mourn(t, now, func() bool { return s.initLives(t) })
	if t.Degraded != nil && v.pending == nil {
		s.checkRecovery(t, now)
	}
}

// reportUnknown is for containers whose processes are not looked at.
func (s *Sampler) reportUnknown(t *Target, now time.Time, kills uint64) {
	t.Kills.Unknown += kills
	if kills > 0 && t.IsContainer() {
		s.emitKills(t, &pending{at: now, kills: kills}, Event{})
	}
}

// weigh settles what is due and notes what is new. Who has left since the last
// pass may be a victim of either: whom the old kill does not take is left to
// the new one.
func (s *Sampler) weigh(t *Target, now time.Time, kills uint64) {
	v, gone := &t.verdict, t.processes.takeGone()
	if p := v.pending; p != nil {
		if kills > 0 {
			p.counted = s.now()
		}
		s.addLeft(p, gone)
		if s.due(t, now) {
			s.settle(t, now)
			gone = slices.DeleteFunc(gone, func(g *process) bool { return g.victim })
		}
	}
	if kills == 0 {
		return
	}
	if v.pending == nil {
		v.pending = &pending{
			since:   t.processes.before,
			at:      now,
			counted: s.now(),
			early:   bounded(t.processes.goneBefore),
			left:    bounded(gone),
			young:   t.Start.Add(s.settings.Interval).After(t.processes.before),
		}
		t.processes.goneBefore = nil
	}
	v.pending.kills += kills
	v.pending.last = now
}

// due reports whether the pending kill can be settled: its time has come, and
// no victim is known to be still on its way out.
func (s *Sampler) due(t *Target, now time.Time) bool {
	p := t.verdict.pending
	if now.Sub(p.at) >= confirmAtLast {
		return true
	}
	return now.Sub(p.last) >= confirmAfter && (uint64(len(p.left)) >= p.kills || len(s.dying(t)) == 0)
}

// dying are the processes that were killed and have not got to it yet, on a
// machine that has no processor to spare.
func (s *Sampler) dying(t *Target) []*process {
	var out []*process
	for pid, known := range t.processes.known {
		if pending, err := s.proc.KillPending(pid); err == nil && pending && !known.victim {
			out = append(out, known)
		}
	}
	return out
}

func (s *Sampler) addLeft(p *pending, gone []*process) {
	counted := s.proc.Ticks(p.counted)
	for _, g := range gone {
		if !g.victim && g.Start <= counted { // neither of an earlier kill, nor too young
			p.left = append(p.left, g)
		}
	}
	p.left = bounded(p.left)
}

// bounded keeps the largest, who are the likely victims.
func bounded(list []*process) []*process {
	if len(list) <= processMax {
		return list
	}
	return largest(list, processMax/2)
}

// identify picks the victims: of those that left after the kill was counted
// the largest, as the OOM killer does, and if they are too few of those that
// left just before.
func (p *pending) identify() {
	p.lost = largest(p.left, p.kills)
	if missing := p.kills - uint64(len(p.lost)); missing > 0 {
		p.lost = append(p.lost, largest(p.early, missing)...)
	}
	for _, l := range p.lost {
		l.victim = true
	}
}

func largest(list []*process, n uint64) []*process {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b *process) int {
		return cmp.Or(cmp.Compare(b.RSS, a.RSS), cmp.Compare(a.PID, b.PID))
	})
	return list[:min(uint64(len(list)), n)]
}

// settle decides on a pending kill whose confirmation is due.
func (s *Sampler) settle(t *Target, now time.Time) {
	p := t.verdict.pending
	if !s.initLives(t) {
		// The container is ending, and its end settles the rest; unless its
		// cgroup outlives its first process.
		if now.Sub(p.at) >= giveUpAfter {
			s.settleOnEnd(t)
		}
		return
	}
	t.verdict.pending = nil
	if uint64(len(p.left)) < p.kills {
		s.addLeft(p, s.dying(t))
	}
	p.identify()
	t.Kills.Other += p.kills
	s.emitKills(t, p, Event{Survived: true, SurvivedKnown: true, Victim: Victim{InitKnown: true}})
	s.degrade(t, p)
}

// settleOnEnd decides on a kill that nobody survived. The end of the first
// process takes all others with it, and one whose child was killed may end by
// itself; so it is the victim only if it was the largest of all, which is whom
// the OOM killer takes.
func (s *Sampler) settleOnEnd(t *Target) {
	p := t.verdict.pending
	if p == nil {
		return
	}
	if p.exact {
		s.settleExactly(t)
		return
	}
	t.verdict.pending = nil
	s.addLeft(p, t.processes.takeGone())
	for _, known := range t.processes.known {
		p.left = append(p.left, known)
	}
	p.identify()
	all := largest(slices.Concat(p.left, p.early), 1)
	certain := len(all) == 1 && all[0] == t.processes.init
	if certain {
		t.Kills.Init += p.kills
	} else {
		t.Kills.Unknown += p.kills
	}
	s.emitKills(t, p, Event{SurvivedKnown: true, Victim: Victim{Init: certain, InitKnown: certain}})
}

// emitGroup sends one event for all that were killed together: of the first
// process if that was among them.
func (s *Sampler) emitGroup(t *Target, p *pending, like Event) {
	like.Group, like.Count = true, int(p.kills)
	like.Kind, like.At, like.Target = OOMKilled, p.at, t
	if len(p.lost) > 0 {
		victim := p.lost[0]
		for _, l := range p.lost {
			if l == t.processes.init {
				victim = l
			}
		}
		like.Victim = t.victim(victim, p)
	}
	s.emit(like)
}

func (t *Target) victim(l *process, p *pending) Victim {
	v := Victim{PID: l.PID, VPID: l.vpid, Executable: l.Comm, RSS: l.RSS}
	if p.exact {
		v.Init, v.InitKnown = l == t.processes.init, true
	}
	return v
}

// emitKills sends one event per kill. like has what they have in common.
func (s *Sampler) emitKills(t *Target, p *pending, like Event) {
	if p.group && p.kills > 1 {
		s.emitGroup(t, p, like)
		return
	}
	for i := range min(p.kills, killEventsMax) {
		e := like
		e.Kind, e.At, e.Target = OOMKilled, p.at, t
		if i < uint64(len(p.lost)) {
			init, known := e.Victim.Init, e.Victim.InitKnown
			if e.Victim = t.victim(p.lost[i], p); !p.exact {
				e.Victim.Init, e.Victim.InitKnown = init, known
			}
		}
		s.emit(e)
	}
	if p.kills > killEventsMax {
		s.stats.DroppedEvents += p.kills - killEventsMax
	}
}

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
	started   bool
	pending   *pending
}

type pending struct {
	// The kills happened between since and at.
	since, at time.Time
	kills     uint64
	// left are the processes that went about that time: before the kill was
	// counted (early), or after.
	early, left []*process
	// lost are those of them that were the victims, once that is settled.
	lost []*process
	// young: the container was made so short a time before that its
	// processes had not been looked at in peace.
	young bool
}

// confirmAfter is how long the first process must outlive a kill. From the
// signal to the moment /proc shows the victim as ending took 6.5 ms at most on
// a quiet machine, 32 ms with twice as many busy threads as processors, and
// 166 ms under a CPU quota of 1 % (2 GiB victims on Linux 6.18, five runs
// each). Freeing its memory takes longer, but it counts as ended by then.
const confirmAfter = 500 * time.Millisecond

// killEventsMax bounds the events of one judgement; Count in the degraded
// event holds the whole number.
const killEventsMax = 64

// judge looks at what the pass has read.
func (s *Sampler) judge(t *Target, now time.Time) {
	v := &t.verdict
	if !v.started {
		v.started = true
		if t.Initial || !t.IsContainer() {
			t.Kills.Unknown, v.seenKills = t.Events.OOMKill, t.Events.OOMKill
		}
	}
	grown := t.Events.OOMKill - v.seenKills
	v.seenKills = t.Events.OOMKill
	if !t.ProcessesKnown {
		t.Kills.Unknown += grown
		return
	}
	if grown > 0 {
		s.note(t, now, grown)
		return
	}
	if v.pending != nil {
		v.pending.left = append(v.pending.left, t.processes.gone...)
		if now.Sub(v.pending.at) >= confirmAfter {
			s.settle(t)
		}
	}
	if t.Degraded != nil && v.pending == nil {
		s.checkRecovery(t, now)
	}
}

// note remembers a kill and who left at that time.
func (s *Sampler) note(t *Target, now time.Time, kills uint64) {
	v, p := &t.verdict, &t.processes
	if v.pending == nil {
		v.pending = &pending{since: p.before, young: t.Start.Add(s.settings.Interval).After(p.before)}
	}
	v.pending.at = now
	v.pending.kills += kills
	v.pending.early = append(v.pending.early, p.goneBefore...)
	v.pending.left = append(v.pending.left, p.gone...)
}

// identify picks the victims: of those that left after the kill was counted
// the largest, as the OOM killer does, and if they are too few of those that
// left just before.
func (p *pending) identify() {
	p.lost = largest(p.left, p.kills)
	if missing := p.kills - uint64(len(p.lost)); missing > 0 {
		p.lost = append(p.lost, largest(p.early, missing)...)
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
func (s *Sampler) settle(t *Target) {
	p := t.verdict.pending
	if !s.initLives(t) {
		return // the container is ending; settleOnEnd says the rest
	}
	t.verdict.pending = nil
	p.identify()
	t.Kills.Other += p.kills
	s.emitKills(t, p, func(v *Victim) { v.InitKnown = true }, true)
	if s.tookPlace(t, p) || !p.matters() {
		return
	}
	d := &Degradation{Reason: "oom", Since: p.at, Count: int(p.kills)}
	for _, lost := range p.lost {
		if lost.child {
			d.Executable, d.PID = lost.Comm, lost.PID
			break
		}
	}
	if t.Degraded != nil {
		d.Since = t.Degraded.Since
		d.Count += t.Degraded.Count
	}
	t.Degraded = d
	s.emit(Event{Kind: BecameDegraded, At: p.at, Target: t, Victim: Victim{PID: d.PID, Executable: d.Executable}, Count: d.Count})
}

// matters: a victim descended from the first process, or may have. Exec
// sessions that were seen do not matter.
func (p *pending) matters() bool {
	if p.kills > uint64(len(p.lost)) {
		return true
	}
	return slices.ContainsFunc(p.lost, func(l *process) bool { return l.child })
}

// startUp is how long a first process is given to start its children. One of a
// container that was never looked at in peace that starts later is taken for a
// replacement: a missed alarm is better than one that nothing ends.
const startUp = 100 * time.Millisecond

// tookPlace reports whether a new process stands in for what was lost: one
// with the victim's name or, for an unknown victim, any.
func (s *Sampler) tookPlace(t *Target, p *pending) bool {
	since := p.since
	if init := t.processes.init; p.young && init != nil {
		since = s.proc.StartTime(init.Start).Add(startUp)
	}
	if len(p.lost) == 0 {
		return s.startedSince(t, since, "")
	}
	for _, lost := range p.lost {
		if lost.child && !s.startedSince(t, p.since, lost.Comm) {
			return false
		}
	}
	return true
}

// startedSince reports whether a descendant of the first process with this
// name ("" is any) started after a moment and still runs.
func (s *Sampler) startedSince(t *Target, since time.Time, name string) bool {
	ticks := s.proc.Ticks(since)
	for _, p := range t.processes.known {
		if p.child && p.Start > ticks && (name == "" || p.Comm == name) {
			return true
		}
	}
	return false
}

func (s *Sampler) checkRecovery(t *Target, now time.Time) {
	d := t.Degraded
	if !s.startedSince(t, d.Since, d.Executable) {
		return
	}
	t.Degraded = nil
	s.emit(Event{
		Kind: Recovered, At: now, Target: t,
		Victim:   Victim{Executable: d.Executable},
		Duration: now.Sub(d.Since),
	})
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
	t.verdict.pending = nil
	p.left = append(p.left, t.processes.gone...)
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
	s.emitKills(t, p, func(v *Victim) { v.Init, v.InitKnown = certain, certain }, false)
}

func (s *Sampler) emitKills(t *Target, p *pending, mark func(*Victim), survived bool) {
	for i := range min(p.kills, killEventsMax) {
		var v Victim
		if i < uint64(len(p.lost)) {
			l := p.lost[i]
			v = Victim{PID: l.PID, VPID: l.vpid, Executable: l.Comm, RSS: l.RSS}
		}
		mark(&v)
		s.emit(Event{Kind: OOMKilled, At: p.at, Target: t, Victim: v, Survived: survived})
	}
}

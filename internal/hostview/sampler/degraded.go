package sampler

import (
	"slices"
	"time"
)

// lossesMax bounds the losses remembered of one degraded container: they are
// by executable, and a container with more of them is lost anyway.
const lossesMax = 32

// loss is what a container runs on without.
type loss struct {
	executable string // "" if unknown
	alias      string // see process
	pid        int    // of one of the victims; 0 if unknown
	since      time.Time
	count      int
}

// startUp is how long a first process is given to start its children. One of a
// container that was never looked at in peace that starts later is taken for a
// replacement: a missed alarm is better than one that nothing ends.
const startUp = 100 * time.Millisecond

// takesShape is how long a new process is given to become what it is to be.
// Between its fork and its program it goes by its parent's name, and where that
// is an interpreter or busybox, by the file of others.
const takesShape = 100 * time.Millisecond

// bereaved is a container that has lost something, until it is known whether
// that is replaced.
type bereaved struct {
	kill  *pending
	since time.Time
}

// degrade looks whether something descended from the first process was killed.
// Supervisors replace what is gone, but not at once.
func (s *Sampler) degrade(t *Target, p *pending) {
	since := p.since
	if init := t.processes.init; p.young && init != nil {
		since = s.proc.StartTime(init.Start).Add(startUp)
	}
	if v := &t.verdict; len(v.bereaved) < lossesMax {
		v.bereaved = append(v.bereaved, bereaved{p, since})
		return
	}
	s.stats.DroppedProcesses += p.kills
}

// mourn marks the container as degraded where nothing took the place of what
// was killed. lives is asked whether the first process does.
func (s *Sampler) mourn(t *Target, now time.Time, lives func() bool) {
	v := &t.verdict
	for len(v.bereaved) > 0 && now.Sub(v.bereaved[0].kill.last) >= s.settings.replacedWithin() {
		first := v.bereaved[0]
		lost, unclear := s.unreplaced(t, first, now)
		if unclear && now.Sub(first.kill.last) < s.settings.replacedWithin()+confirmAtLast {
			return // the next pass knows more
		}
		v.bereaved = v.bereaved[1:]
		if lives() {
			s.markLost(t, first.kill, lost)
		}
	}
}

// unreplaced lists what nothing took the place of. It is unclear if something
// may be about to.
func (s *Sampler) unreplaced(t *Target, b bereaved, now time.Time) (lost []loss, unclear bool) {
	for _, l := range t.losses(b.kill) {
		running, young := s.running(t, l, b.since, now)
		missing := l.count - running
		if missing <= 0 {
			continue
		}
		unclear = unclear || young > 0
		l.count = missing
		lost = append(lost, l)
	}
	return lost, unclear
}

func (s *Sampler) markLost(t *Target, p *pending, lost []loss) {
	if len(lost) == 0 {
		return
	}
	if t.Degraded == nil {
		t.Degraded = &Degradation{Since: p.at}
	}
	t.Degraded.add(lost)
	first := lost[0]
	s.emit(Event{
		Kind: BecameDegraded, At: p.at, Target: t, Reason: ReasonOOM,
		Victim: Victim{PID: first.pid, Executable: first.executable},
		Count:  t.Degraded.Count,
	})
}

// oneOfMany reports whether a process was a worker that a server forked, and
// others like it are there: servers with such pools make them smaller and larger
// as they like.
func (t *Target) oneOfMany(l *process) bool {
	p := &t.processes
	parent := p.known[l.PPID]
	if l.executed || parent == nil || parent.Comm != l.Comm {
		return false
	}
	for _, other := range p.known {
		if other != l && other != parent && other.PPID == l.PPID && other.Comm == l.Comm && !other.executed {
			return true
		}
	}
	return false
}

// losses counts the victims by name. Exec sessions that were seen are none of
// the container's; an unknown victim may be.
func (t *Target) losses(p *pending) []loss {
	var out []loss
	for _, l := range p.lost {
		if !l.child || t.oneOfMany(l) {
			continue
		}
		i := slices.IndexFunc(out, func(o loss) bool { return o.executable == l.Comm })
		if i < 0 {
			out = append(out, loss{executable: l.Comm, alias: l.alias, pid: l.PID, since: p.at})
			i = len(out) - 1
		}
		out[i].count++
	}
	if unknown := int(p.kills) - len(p.lost); unknown > 0 {
		out = append(out, loss{since: p.at, count: unknown})
	}
	return out
}

// add merges losses of the same executable.
func (d *Degradation) add(lost []loss) {
	for _, l := range lost {
		d.Count += l.count
		i := slices.IndexFunc(d.losses, func(o loss) bool { return o.executable == l.executable })
		switch {
		case i >= 0:
			d.losses[i].count += l.count
		case len(d.losses) < lossesMax:
			d.losses = append(d.losses, l)
		}
	}
	d.Executable, d.PID = d.losses[0].executable, d.losses[0].pid
}

// running counts the descendants of the first process with the name of a loss
// ("" is any) that started after a moment; young are those that may yet become
// something else.
func (s *Sampler) running(t *Target, l loss, since, now time.Time) (running, young int) {
	ticks := s.proc.Ticks(since)
	for _, p := range t.processes.known {
		switch {
		case !p.child || p.Start <= ticks:
		case l.executable != "" && !p.isNamed(l.executable, l.alias):
		case p.fresh || !p.executed && now.Sub(p.began) < takesShape:
			young++
		default:
			running++
		}
	}
	return running, young
}

// checkRecovery ends the degradation when everything lost runs again.
func (s *Sampler) checkRecovery(t *Target, now time.Time) {
	d := t.Degraded
	for _, l := range d.losses {
		if running, _ := s.running(t, l, l.since, now); running < l.count {
			return
		}
	}
	t.Degraded = nil
	s.emit(Event{
		Kind: Recovered, At: now, Target: t, Reason: ReasonOOM,
		Victim:   Victim{Executable: d.Executable},
		Duration: now.Sub(d.Since),
	})
}

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
	pid        int    // of one of the victims; 0 if unknown
	since      time.Time
	count      int
}

// startUp is how long a first process is given to start its children. One of a
// container that was never looked at in peace that starts later is taken for a
// replacement: a missed alarm is better than one that nothing ends.
const startUp = 100 * time.Millisecond

// degrade marks the container if something descended from its first process
// was killed and nothing took its place.
func (s *Sampler) degrade(t *Target, p *pending) {
	since := p.since
	if init := t.processes.init; p.young && init != nil {
		since = s.proc.StartTime(init.Start).Add(startUp)
	}
	var lost []loss
	for _, l := range p.losses() {
		if missing := l.count - s.running(t, l.executable, since); missing > 0 {
			l.count = missing
			lost = append(lost, l)
		}
	}
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

// losses counts the victims by name. Exec sessions that were seen are none of
// the container's; an unknown victim may be.
func (p *pending) losses() []loss {
	var out []loss
	for _, l := range p.lost {
		if !l.child {
			continue
		}
		i := slices.IndexFunc(out, func(o loss) bool { return o.executable == l.Comm })
		if i < 0 {
			out = append(out, loss{executable: l.Comm, pid: l.PID, since: p.at})
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

// running counts the descendants of the first process with this name ("" is
// any) that started after a moment.
func (s *Sampler) running(t *Target, name string, since time.Time) int {
	ticks, n := s.proc.Ticks(since), 0
	for _, p := range t.processes.known {
		if p.child && p.Start > ticks && (name == "" || p.Comm == name) {
			n++
		}
	}
	return n
}

// checkRecovery ends the degradation when everything lost runs again.
func (s *Sampler) checkRecovery(t *Target, now time.Time) {
	d := t.Degraded
	for _, l := range d.losses {
		if s.running(t, l.executable, l.since) < l.count {
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

package sampler

import (
	"cmp"
	"slices"
	"time"

	"github.com/tallymanhq/tallyman/internal/procstream"
)

// processes is what is known of a container's processes, from cgroup.procs
// and /proc.
type processes struct {
	known map[int]*process
	// init is the first process; it stays set after it has gone.
	init *process
	// gone left before the last look, goneBefore before the one before it.
	gone, goneBefore []*process
	// missed are those that the last look of the ledger did not find any more,
	// and whose end the stream has not told yet.
	missed []*process
	// settled: the last look found nothing that the one before had not. A
	// new process is about to exec, and on v1 enters one hierarchy after the
	// other, so a change is looked at again.
	settled bool
	// overflowed: more processes than are remembered were there once.
	overflowed bool
	// initGone: the first process has ended. Only the ledger knows.
	initGone bool
	// doubtful: events were lost; the processes must be looked at.
	doubtful bool
	// trustedFrom is when they were last looked at: of whom was found then, what
	// the stream tells of the time before is known.
	trustedFrom time.Time
	// tasks is Sample.Pids at the last look: while it stays the same, the
	// processes are most likely the same too.
	tasks uint64
	// lookedAt is the last look, before the one before it.
	lookedAt, before time.Time
}

// process is one process of a container.
type process struct {
	procstream.Stat
	vpid int
	// child: it descends from the container's first process. An exec session
	// does not: its parent is outside.
	child bool
	// fresh: it was new at the last look and is read once more at the next.
	fresh bool
	// placed: whether it is a child is decided and stays so.
	placed bool
	// victim: an OOM kill is put down to it.
	victim bool
	// alias is the name of its file, of a process that was found in /proc: its
	// command name may have changed since it was executed.
	alias string
	// executed: it runs a program of its own, not just a copy of its parent.
	executed bool
	// began is when it was started, or executed its program.
	began time.Time
	look  time.Time // the last look that saw it
}

// isNamed reports whether a process goes by the name of another one, or by its
// alias. Equal aliases say nothing: interpreters and busybox are the file of many.
func (p *process) isNamed(name, alias string) bool {
	return p.Comm == name || p.alias == name && name != "" || p.Comm == alias && alias != ""
}

// watchProcesses looks at the container's processes when there is a reason
// to: their number changed, an OOM kill was counted, something is being
// judged, or the slow interval has passed.
func (s *Sampler) watchProcesses(t *Target, now time.Time, slow bool) {
	if !t.IsContainer() {
		return
	}
	p := &t.processes
	if s.settings.Stream {
		s.checkLedger(t, now, slow)
		return
	}
	if !s.settings.Processes {
		// The start of a container that was there before us, or was found
		// late, needs one look.
		if p.init == nil {
			s.look(t, now, false)
		}
		return
	}
	killed := t.Events.OOMKill != t.verdict.seenKills || t.verdict.pending != nil || len(t.verdict.bereaved) > 0
	if slow || killed || t.Degraded != nil || !p.settled || t.Sample.Pids != p.tasks {
		s.look(t, now, slow || killed)
		t.ProcessesKnown = p.init != nil
	}
}

// look reads the container's processes. Those already known are read again
// only if renew is set. It reports whether there was anything to read.
func (s *Sampler) look(t *Target, now time.Time, renew bool) bool {
	p := &t.processes
	pids, err := s.pids(t)
	if err != nil {
		return false // gone, or not to be read: not the same as empty
	}
	if p.known == nil {
		p.known = map[int]*process{}
	}
	p.settled = p.tasks == t.Sample.Pids && (len(p.known) > 0 || p.tasks == 0)
	p.before, p.lookedAt, p.tasks = p.lookedAt, now, t.Sample.Pids
	p.gone, p.goneBefore = nil, p.gone
	for _, pid := range pids {
		if !s.see(p, pid, renew) {
			continue
		}
		p.known[pid].look = now
	}
	for pid, known := range p.known {
		if known.look != now {
			p.gone = append(p.gone, known)
			delete(p.known, pid)
		}
	}
	s.findInit(t, now)
	for _, known := range p.known {
		// Later its parent may have gone and left it to the first process.
		if known.fresh || !known.placed {
			known.child, known.placed = p.descends(known), !known.fresh
		}
	}
	p.gone = slices.DeleteFunc(p.gone, p.isHelper)
	p.goneBefore = slices.DeleteFunc(p.goneBefore, p.isHelper)
	for _, known := range p.known {
		p.settled = p.settled && !known.fresh
	}
	p.settled = p.settled && len(p.gone) == 0
	return true
}

// pids lists the processes of the container's cgroup and those inside it.
func (s *Sampler) pids(t *Target) ([]int, error) {
	pids, err := s.proc.Pids(s.host.ProcsFile(t.Path), nil)
	if err != nil {
		return nil, err
	}
	for inner := range t.inner {
		if more, err := s.proc.Pids(s.host.ProcsFile(inner), pids); err == nil {
			pids = more
		}
	}
	return pids, nil
}

// takeGone hands over who has left, once.
func (p *processes) takeGone() []*process {
	gone := p.gone
	p.gone = nil
	return gone
}

// see reads a process that is new, or again if renew is set. It reports
// whether the process is known afterwards.
func (s *Sampler) see(p *processes, pid int, renew bool) bool {
	known := p.known[pid]
	if known != nil && !renew && !known.fresh {
		return true
	}
	if known == nil && len(p.known) >= processMax {
		if !p.overflowed {
			p.overflowed = true
			s.stats.DroppedProcesses++
		}
		return false
	}
	stat, err := s.proc.Stat(pid)
	if err != nil {
		return false
	}
	if known != nil && known.Start == stat.Start {
		if stat.Ended { // it has given its memory back already
			stat.RSS = max(stat.RSS, known.RSS)
		}
		known.Stat, known.fresh = stat, false
		return !stat.Ended
	}
	if stat.Ended {
		return false
	}
	vpid, err := s.proc.VPID(pid)
	if err != nil {
		return false
	}
	p.known[pid] = &process{
		Stat: stat, vpid: vpid, fresh: true, began: s.proc.StartTime(stat.Start), alias: s.proc.Executable(pid),
	}
	return true
}

// findInit finds the container's first process: pid 1 of its namespace, or
// with the host's pid namespace the oldest one.
func (s *Sampler) findInit(t *Target, now time.Time) {
	p := &t.processes
	if p.init != nil && !s.wasHelper(t, now) {
		return
	}
	p.init = nil
	for _, known := range p.known {
		known.child, known.placed = false, false
	}
	for _, known := range p.known {
		if known.vpid == 1 {
			p.init = known
			break
		}
		if p.init == nil || known.isOlder(p.init) {
			p.init = known
		}
	}
	if p.init == nil {
		return
	}
	t.InitPID = p.init.PID
	if started := s.proc.StartTime(p.init.Start); started.Before(t.Start) {
		t.Start = started
	}
}

// wasHelper reports whether what was taken for the first process was one of
// the runtime's helpers: runc starts the container from inside its cgroups by
// up to three processes, and only the last of them stays. It is pid 1 of its
// namespace, however late it comes on a busy host; with the host's pid
// namespace only the container's age tells.
func (s *Sampler) wasHelper(t *Target, now time.Time) bool {
	init := t.processes.init
	if init.look == now || init.vpid == 1 {
		return false
	}
	for _, known := range t.processes.known {
		if known.vpid == 1 {
			return true
		}
	}
	return init.look.Sub(t.FirstSeen) < 2*s.settings.Interval && len(t.processes.known) > 0
}

// isHelper reports whether a process is older than the first one: it set the
// container up and left, and cannot be a victim.
func (p *processes) isHelper(o *process) bool {
	return p.init != nil && o.isOlder(p.init)
}

// isOlder compares starts, and numbers where those are equal: a start is exact to
// 10 ms.
func (p *process) isOlder(than *process) bool {
	return cmp.Or(cmp.Compare(p.Start, than.Start), cmp.Compare(p.PID, than.PID)) < 0
}

// descends climbs from a process to the container's first one.
func (p *processes) descends(from *process) bool {
	const deepest = 64 // ends a loop that a reused pid could make
	for range deepest {
		if p.init == nil || from.PID == p.init.PID {
			return false
		}
		if from.PPID == p.init.PID {
			return true
		}
		parent := p.known[from.PPID]
		if parent == nil {
			return false
		}
		if parent.child {
			return true
		}
		from = parent
	}
	return false
}

// initLives reports whether the first process is there and not on its way
// out.
func (s *Sampler) initLives(t *Target) bool {
	init := t.processes.init
	if init == nil {
		return false
	}
	stat, err := s.proc.Stat(init.PID)
	if err != nil || stat.Start != init.Start || stat.Ended {
		return false
	}
	killed, err := s.proc.KillPending(init.PID)
	return err == nil && !killed
}

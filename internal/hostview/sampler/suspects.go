package sampler

import (
	"slices"
)

// suspect is a process that ended by SIGKILL, where the stream does not say
// who sent it.
type suspect struct {
	process *process
	end     Observation
}

// suspect notes one. The kernel counts a kill before its victim ends, so the
// next reading of the counter decides.
func (s *Sampler) suspect(t *Target, p *process, o *Observation) {
	v := &t.verdict
	if len(v.suspects) >= processMax {
		s.stats.DroppedProcesses++
		return
	}
	v.suspects = append(v.suspects, suspect{p, *o})
}

// judgeSuspects puts the kills that the counter has down to those that ended
// by SIGKILL. If there are more of them than kills, the first process comes
// first: its end has killed the others. Then they come as they ended.
func (s *Sampler) judgeSuspects(t *Target) {
	v := &t.verdict
	explained := v.explained()
	if t.Events.OOMKill > explained && len(v.suspects) > 0 {
		if i := slices.IndexFunc(v.suspects, func(x suspect) bool { return x.process == t.processes.init }); i > 0 {
			v.suspects[0], v.suspects[i] = v.suspects[i], v.suspects[0]
		}
		kills := min(t.Events.OOMKill-explained, uint64(len(v.suspects)))
		for _, x := range v.suspects[:kills] {
			x.process.victim = true
			s.noteVictim(t, x.process, x.end.At)
		}
		v.suspects = v.suspects[kills:]
	}
	v.suspects = slices.DeleteFunc(v.suspects, func(x suspect) bool {
		if !t.At.After(x.end.At) {
			return false // the counter has not been read since
		}
		s.childEnded(t, x.process, &x.end)
		return true
	})
}

package entity

import (
	"strings"
	"time"
)

// source is who tells of a start or an end. Each tells of every run once.
type source uint8

const (
	elsewhere source = iota
	kernel           // the receiver cgroup
	engine           // the receiver container_status
	sources
)

func sourceOf(scope string) source {
	switch {
	case strings.HasSuffix(scope, "/receiver/cgroupreceiver"):
		return kernel
	case strings.HasSuffix(scope, "/receiver/containerstatusreceiver"):
		return engine
	}
	return elsewhere
}

const (
	// pairWithin is how far apart two sources, or two ways to find it out, may be
	// about one start or end. An engine tells of a start when the first process
	// runs, the kernel when the cgroup is made: 50 ms to 1 s apart on an idle host.
	pairWithin = 5 * time.Second
	// lookedAt is how many of the last runs of an id may be meant: a container
	// that crashes at once is started ten times a second at most.
	lookedAt = 32
)

// recent are the runs of an id that news may be about, the oldest first.
func (t *Table) recent(id string) []*run {
	runs := t.byID[id]
	return runs[max(0, len(runs)-lookedAt):]
}

// runStarted is the run whose start a source tells of.
func (t *Table) runStarted(id string, at time.Time, from source) *run {
	var best *run
	var distance time.Duration
	for _, r := range t.recent(id) {
		if r.starts[from] == at.UnixNano() {
			return r // told twice
		}
		d, ok := startDistance(r, at)
		if ok && r.starts[from] == 0 && (best == nil || d < distance) {
			best, distance = r, d
		}
	}
	if best == nil {
		best = t.begin(id, at)
	}
	best.starts[from] = at.UnixNano()
	if best.Start.IsZero() || from == kernel {
		t.startAt(best, at)
	}
	t.see(best, at)
	return best
}

// startDistance is how far a start is from that of a run, and whether it can be
// its. One that is not known was before the first data, or is still to come.
func startDistance(r *run, at time.Time) (time.Duration, bool) {
	if !r.Start.IsZero() {
		d := r.Start.Sub(at).Abs()
		return d, d <= pairWithin
	}
	if r.Status == statusCreated {
		return 0, true
	}
	d := r.FirstSeen.Sub(at)
	return d.Abs(), d >= -pairWithin
}

// runSince is the run that has a start by the kernel's word, given with each
// pass. The word is the same as that of the event, to a few microseconds.
func (t *Table) runSince(id string, start, at time.Time) *run {
	var best *run
	var distance time.Duration
	for _, r := range t.recent(id) {
		d, ok := startDistance(r, start)
		if ok && !r.endedBefore(start) && (best == nil || d <= distance) {
			best, distance = r, d
		}
	}
	if best == nil {
		best = t.runFrom(id, start)
	}
	if best.Start.IsZero() {
		t.startAt(best, start)
	}
	t.see(best, at)
	if best.StopGuessed && t.outlives(at, best) && t.isLast(best) {
		t.reopen(best)
	}
	return best
}

// runFrom is a new run that has a start by the kernel's word, or that one whose start
// cannot be since the clock was set back.
func (t *Table) runFrom(id string, start time.Time) *run {
	r := t.ahead(id, start)
	if r == nil {
		return t.begin(id, start)
	}
	t.settle(id, start)
	return r
}

// endedBefore tells whether a run was over at a time, for certain.
func (r *run) endedBefore(at time.Time) bool {
	return !r.Stop.IsZero() && !r.StopGuessed && !at.Before(r.Stop)
}

// startAt sets the start of a run, which can change its place among those of its
// id.
func (t *Table) startAt(r *run, at time.Time) {
	r.Start = at
	if r.Status == statusCreated {
		r.Status = ""
	}
	runs := t.byID[r.ID]
	for i := 1; i < len(runs); i++ {
		for j := i; j > 0 && runs[j].Began().Before(runs[j-1].Began()); j-- {
			runs[j], runs[j-1] = runs[j-1], runs[j]
		}
	}
	t.touch(r)
}

// ending is what is told of an end. start is zero if unknown.
type ending struct {
	id        string
	at, start time.Time
	from      source
}

// runStopped is the run whose end a source tells of.
func (t *Table) runStopped(e ending) *run {
	var best *run
	var distance time.Duration
	for _, r := range t.recent(e.id) {
		if r.stops[e.from] == e.at.UnixNano() {
			return r // told twice
		}
		d, ok := e.distance(r)
		if ok && r.stops[e.from] == 0 && (best == nil || d < distance) {
			best, distance = r, d
		}
	}
	if best == nil {
		best = t.ahead(e.id, e.at)
	}
	if best == nil {
		best = t.begin(e.id, earlier(e.at, e.began()))
	}
	best.stops[e.from] = e.at.UnixNano()
	if best.Start.IsZero() && !e.start.IsZero() {
		t.startAt(best, e.start)
	}
	if best.Stop.IsZero() || best.StopGuessed || e.from == kernel {
		t.end(best, e.at, false)
	}
	t.see(best, e.at)
	return best
}

func (e *ending) began() time.Time {
	if e.start.IsZero() {
		return e.at
	}
	return e.start
}

// distance is how far the end is from that of a run, and whether it can be its.
// Where the start is told as well, that decides.
func (e *ending) distance(r *run) (time.Duration, bool) {
	switch {
	case !e.start.IsZero() && !r.Start.IsZero():
		d := r.Start.Sub(e.start).Abs()
		return d, d <= pairWithin
	case !r.Stop.IsZero() && !r.StopGuessed:
		d := r.Stop.Sub(e.at).Abs()
		return d, d <= pairWithin
	}
	d := max(0, r.Began().Sub(e.at)) // 0: it had begun by then
	return d, d <= pairWithin
}

// runDuring is the run in which something happened: the last that had begun, or
// one that began just afterwards where that one was over.
func (t *Table) runDuring(id string, at time.Time) *run {
	r := t.runFor(id, at)
	runs := t.byID[id]
	if len(runs) == 0 || !r.endedBefore(at) {
		return r
	}
	for _, next := range t.recent(id) {
		if gap := next.Began().Sub(at); gap > 0 && gap <= time.Second {
			return next
		}
	}
	return r
}

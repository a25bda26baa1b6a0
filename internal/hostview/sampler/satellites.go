package sampler

import (
	"os"

	"github.com/tallymanhq/tallyman/internal/cgroup"
	"github.com/tallymanhq/tallyman/internal/container"
)

// satellite is a cgroup below a container whose memory events must be added
// to the container's own or taken off them.
//
// On v2 the kernel counts events up the tree, so a nested container's are
// taken off. On v1 each cgroup counts alone, so those of a container's inner
// cgroups (a systemd inside it makes them) are added.
type satellite struct {
	reader *cgroup.Reader
	sample cgroup.Sample
	nested bool
}

// retired keeps the last counts of satellites that are gone: the container's
// own counters still hold what they counted (v2), or never did (v1).
type retired struct {
	inner, nested cgroup.Events
}

// addInner is for a directory inside a container.
func (s *Sampler) addInner(c container.Cgroup) {
	t := s.targets[c.Root]
	if t == nil || !t.IsContainer() {
		return
	}
	if len(t.inner) >= satelliteMax {
		s.stats.DroppedSatellites++
		return
	}
	if t.inner == nil {
		t.inner = map[string]struct{}{}
	}
	t.inner[c.Path] = struct{}{}
	if s.host.LocalEvents() {
		s.addSatellite(t, c.Path, false)
	}
}

// addNested is for the directory of a container inside another.
func (s *Sampler) addNested(c container.Cgroup) {
	if c.Class != container.ClassContainer || s.host.LocalEvents() {
		return
	}
	if t := s.enclosing(c.Path); t != nil {
		s.addSatellite(t, c.Path, true)
	}
}

func (s *Sampler) addSatellite(t *Target, cgroupPath string, nested bool) {
	if t.satellites[cgroupPath] != nil {
		return
	}
	if len(t.satellites) >= satelliteMax {
		s.stats.DroppedSatellites++
		return
	}
	if t.satellites == nil {
		t.satellites = map[string]*satellite{}
	}
	t.satellites[cgroupPath] = &satellite{
		reader: s.host.NewReader(cgroupPath, s.budget, cgroup.PartsEvents),
		nested: nested,
	}
}

func (s *Sampler) retireSatellite(cgroupPath string) {
	t := s.enclosing(cgroupPath)
	if t == nil {
		return
	}
	delete(t.inner, cgroupPath)
	sat := t.satellites[cgroupPath]
	if sat == nil {
		return
	}
	if sat.nested {
		t.retired.nested = plus(t.retired.nested, sat.sample.Events)
		t.nestedGone = true
	} else {
		t.retired.inner = plus(t.retired.inner, sat.sample.Events)
	}
	sat.reader.Close()
	delete(t.satellites, cgroupPath)
}

// readEvents makes the container's own events of the kernel's. They never go
// back: a kill in a nested container between the two reads would do that.
func (s *Sampler) readEvents(t *Target) {
	own := plus(t.Sample.Events, t.retired.inner)
	for path, sat := range t.satellites {
		var err error
		s.scratch, err = sat.reader.Read(&sat.sample, s.scratch, true)
		if err == nil && !sat.nested {
			own = plus(own, sat.sample.Events)
		}
		if sat.nested {
			own = minus(own, sat.sample.Events)
			// Gone, perhaps before it was ever read, and perhaps since the
			// container's own file was: until its end is told, no difference
			// is this container's for sure. One that is there and has no such
			// file, for want of the memory controller, counts as part of this one.
			t.nestedGone = t.nestedGone || err != nil && !s.isThere(path)
		}
	}
	own = minus(own, t.retired.nested)
	if t.nestedGone {
		// The last counts of a nested container are not known: one that was
		// OOM-killed goes before they can be read. So what cannot be
		// explained in this pass is taken for its.
		t.retired.nested = plus(t.retired.nested, minus(own, t.Events))
		t.nestedGone = false
		return
	}
	t.Events = highest(t.Events, own)
}

func (s *Sampler) isThere(cgroupPath string) bool {
	_, err := os.Stat(s.host.ProcsFile(cgroupPath))
	return err == nil
}

// combine applies f to each pair of counters.
func combine(a, b cgroup.Events, f func(x, y uint64) uint64) cgroup.Events {
	return cgroup.Events{
		Low: f(a.Low, b.Low), High: f(a.High, b.High), Max: f(a.Max, b.Max), OOM: f(a.OOM, b.OOM),
		OOMKill: f(a.OOMKill, b.OOMKill), OOMGroupKill: f(a.OOMGroupKill, b.OOMGroupKill),
	}
}

func plus(a, b cgroup.Events) cgroup.Events {
	return combine(a, b, func(x, y uint64) uint64 { return x + y })
}

func minus(a, b cgroup.Events) cgroup.Events {
	return combine(a, b, func(x, y uint64) uint64 { return x - min(x, y) })
}

func highest(a, b cgroup.Events) cgroup.Events {
	return combine(a, b, func(x, y uint64) uint64 { return max(x, y) })
}

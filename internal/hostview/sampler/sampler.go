package sampler

import (
	"path"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/cgroup"
	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/procstream"
)

// Sampler reads the wanted cgroups of one host. Make it with [New], feed it
// with Appeared and Vanished, and Close it.
type Sampler struct {
	settings Settings
	roots    hostfs.Roots
	host     *cgroup.Host
	budget   *hostfs.Budget
	now      func() time.Time
	inbox    inbox

	mu        sync.Mutex // guards everything below
	targets   map[string]*Target
	order     []*Target // targets in the order they appeared; what passes walk
	consumers map[*Consumer]struct{}
	limits    *ancestors
	proc      *procstream.Reader
	pressure  hostPressure
	layers    layerWalker
	scratch   []byte
	passAt    time.Time
	// unwanted are containers that Want has refused, by path; lostAt is when
	// observations were last lost.
	unwanted map[string]uint64
	lostAt   time.Time
	stats    Stats
}

// Stats is what a sampler did so far.
type Stats struct {
	// Targets are read now.
	Targets int
	// Passes were made; Vanished cgroups went while they were read.
	Passes, Vanished uint64
	// Dropped for want of room, by reason.
	DroppedEvents, DroppedProcesses, DroppedSatellites uint64
	Budget                                             hostfs.BudgetStats
	Problems                                           cgroup.Problems
}

// Options are what a sampler needs from its host view.
type Options struct {
	Roots    hostfs.Roots
	Host     *cgroup.Host
	Settings Settings
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// New returns a sampler without targets.
func New(o Options) *Sampler {
	if o.Now == nil {
		o.Now = time.Now
	}
	budget := hostfs.NewBudget(affordable(o.Settings.MaxOpenFiles))
	return &Sampler{
		settings:  o.Settings,
		roots:     o.Roots,
		host:      o.Host,
		budget:    budget,
		now:       o.Now,
		targets:   map[string]*Target{},
		unwanted:  map[string]uint64{},
		consumers: map[*Consumer]struct{}{},
		limits:    newAncestors(o.Host),
		proc:      procstream.NewReader(o.Roots),
		pressure:  newHostPressure(o.Roots, budget),
		layers:    newLayerWalker(),
	}
}

// affordable leaves half of the process' descriptors to everybody else.
func affordable(wanted int) int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return wanted
	}
	return int(min(uint64(max(wanted, 0)), limit.Cur/2))
}

// Appeared tells of a new cgroup directory, in the order of discovery.
func (s *Sampler) Appeared(c container.Cgroup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.Path != c.Root {
		s.addInner(c)
		return
	}
	s.addNested(c)
	if old := s.targets[c.Path]; old != nil && !old.ending.IsZero() {
		s.applyInbox(s.now())
		s.end(old, old.ending)
	}
	if s.targets[c.Path] != nil {
		return
	}
	if s.settings.Want != nil && !s.settings.Want(c) {
		s.unwanted[c.Path] = c.Inode
		return
	}
	t := &Target{
		Cgroup:    c,
		Start:     c.FirstSeen,
		Effective: cgroup.NoLimits(),
		reader:    s.host.NewReader(c.Path, s.budget, cgroup.PartsAll),
		announced: c.Initial,
	}
	// What was lost may have been about this one.
	t.processes.doubtful = !s.lostAt.IsZero() && s.now().Sub(s.lostAt) < homelessMax
	s.targets[c.Path] = t
	s.order = append(s.order, t)
	// A container may live shorter than an interval: what is read now may be
	// all there will ever be.
	s.read(t, s.now())
}

// Vanished tells that a cgroup directory is gone.
func (s *Sampler) Vanished(c container.Cgroup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retireSatellite(c.Path)
	if s.unwanted[c.Path] == c.Inode {
		delete(s.unwanted, c.Path)
	}
	t := s.targets[c.Path]
	if t == nil || t.Inode != c.Inode {
		return
	}
	at := c.Gone
	if at.IsZero() {
		at = s.now()
	}
	if s.settings.Stream && t.IsContainer() {
		t.ending = at
		return
	}
	s.end(t, at)
}

// endDue ends the containers of which the stream has told everything by now:
// it is up to a tenth of a second behind.
func (s *Sampler) endDue(now time.Time) {
	for i := len(s.order) - 1; i >= 0; i-- { // end takes it out
		if t := s.order[i]; !t.ending.IsZero() && now.Sub(t.ending) >= streamLag {
			s.end(t, t.ending)
		}
	}
}

// end takes a target out and hands its last state to every consumer.
func (s *Sampler) end(t *Target, at time.Time) {
	delete(s.targets, t.Path)
	for i, o := range s.order {
		if o == t {
			s.order = append(s.order[:i], s.order[i+1:]...)
			break
		}
	}
	t.End = at
	s.settleOnEnd(t)
	s.closeTarget(t)
	s.announce(t, at)
	if t.IsContainer() {
		s.emit(Event{Kind: Stopped, At: at, Target: t})
	}
	for c := range s.consumers {
		c.queue.addEnded(t)
	}
}

func (s *Sampler) closeTarget(t *Target) {
	t.reader.Close()
	for _, sat := range t.satellites {
		sat.reader.Close()
	}
	t.satellites = nil
	t.processes = processes{}
}

// announce sends the start event of a container whose start was seen. It is
// sent with the pass after the creation, when the first process is there.
func (s *Sampler) announce(t *Target, now time.Time) {
	if t.announced || !t.IsContainer() || s.starting(t, now) {
		return
	}
	t.announced = true
	s.emit(Event{Kind: Started, At: t.Start, Target: t})
}

// starting reports whether the first process that is known may yet prove to be
// the runtime's helper. Pid 1 of a pid namespace is none.
func (s *Sampler) starting(t *Target, now time.Time) bool {
	init := t.processes.init
	return s.settings.Stream && t.End.IsZero() && now.Sub(t.FirstSeen) < announceWithin &&
		(init == nil || init.vpid != 1)
}

func (s *Sampler) emit(e Event) {
	for c := range s.consumers {
		c.queue.addEvent(e)
	}
}

// enclosing returns the target of the nearest container around a path.
func (s *Sampler) enclosing(p string) *Target {
	for p != "/" && p != "." {
		p = path.Dir(p)
		if t := s.targets[p]; t != nil && t.Class == container.ClassContainer {
			return t
		}
	}
	return nil
}

// Stats returns the figures so far.
func (s *Sampler) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Targets = len(s.order)
	for c := range s.consumers {
		st.DroppedEvents += c.queue.dropped
	}
	st.DroppedEvents += s.inbox.drops()
	st.Budget = s.budget.Stats()
	st.Problems = s.host.Problems()
	return st
}

// Close gives all descriptors back. The sampler must not be used afterwards.
func (s *Sampler) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.order {
		s.closeTarget(t)
	}
	s.limits.close()
	s.pressure.close()
	s.order, s.targets = nil, map[string]*Target{}
}

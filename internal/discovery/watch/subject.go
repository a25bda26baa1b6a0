package watch

import (
	"cmp"
	"time"

	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/docker"
)

// early are the looks soon after a start, each by its time since the one before:
// most servers listen within a second, a JVM within five.
var early = [...]time.Duration{250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second}

const (
	// Of maxHurries in hurryTime each costs four looks at most, so that a health check
	// that is a program, or a loop that starts programs, no more than doubles the usual.
	maxHurries = 5
	hurryTime  = time.Minute
	// patience is how many looks, of which the third is 750 ms after the first, are
	// made for a process before it is taken to be elsewhere.
	patience = 3
)

// subject is a container that is being watched.
type subject struct {
	id     string
	engine *docker.Container // nil if none knows it
	// joins is the container whose network it is in; nil if in none other's.
	joins *docker.Container
	// isJoined: others are in its network, as the engine says.
	isJoined bool
	// hasCompany: it is not alone in its network, as the engine says.
	hasCompany bool
	group      *group // nil without cgroups
	// identity is what others say of it; nil if nobody does. Whoever falls silent
	// has said it nevertheless: the kernel tells of ends.
	identity *target.Identity
	runtime  string // the engine's, or as the cgroup is called
	pid      int    // as the engine says

	due    time.Time // of the next look; zero is now
	looks  int       // since it was last in a hurry
	hasted time.Time // when that was
	// hurries were since counted.
	hurries int
	counted time.Time

	// used is the processor time that it had used before the last look, if isMetered;
	// skipped are the looks that were left out since one was made for the sake of it.
	used      time.Duration
	isMetered bool
	skipped   int

	// isSeen: it has had a process here. absent are the looks since then.
	isSeen bool
	absent int
	// isHidden: its cgroup says that it has processes elsewhere.
	isHidden bool
	found    found
	target   *target.Target // nil before the first look
}

// word is what the sources say of a container at one time.
type word struct {
	engine   *docker.Container
	joins    *docker.Container
	isJoined bool
	// hasCompany: it is not alone in its network, as the engine says.
	hasCompany bool
	group      *group
	identity   *target.Identity
	runtime    string // of the engine
}

// isPodSandbox: it holds the namespaces of a pod and nothing else.
func (w word) isPodSandbox() bool {
	return w.engine != nil && isPodSandbox(w.engine) || w.identity != nil && w.identity.IsSandbox
}

// update notes what the sources say, and has the container looked at if that is
// new.
func (s *subject) update(w word, now time.Time) {
	pid := 0
	if w.engine != nil && isRunning(w.engine) {
		pid = w.engine.State.Pid
	}
	isAnother := pid != s.pid || w.group != nil && (s.group == nil || s.group.inode != w.group.inode)
	isNews := isAnother || w.engine != s.engine || w.joins != s.joins || w.isJoined != s.isJoined || w.hasCompany != s.hasCompany || w.identity != nil && w.identity != s.identity
	s.engine, s.group, s.pid = w.engine, w.group, pid
	s.joins, s.isJoined, s.hasCompany = w.joins, w.isJoined, w.hasCompany
	s.identity = cmp.Or(w.identity, s.identity)
	if w.engine != nil {
		s.runtime = w.runtime
	} else {
		s.runtime = w.group.runtime
	}
	if isAnother {
		s.found = found{}
		s.isSeen, s.absent = false, 0
		s.looks, s.hasted = 0, now
	}
	if isNews {
		s.due = now
		s.isMetered = false
	}
}

// hurry: a program has started. It may do so again and again; what has just been
// hurried for is enough for those, and of those there are not too many.
func (s *subject) hurry(now time.Time) {
	if now.Sub(s.hasted) < early[0] {
		return
	}
	if now.Sub(s.counted) >= hurryTime {
		s.counted, s.hurries = now, 0
	}
	if s.hurries >= maxHurries {
		return
	}
	s.hurries++
	s.hasted, s.looks = now, 0
	if next := now.Add(early[0]); s.due.After(next) {
		s.due = next
	}
}

// looked plans the next look.
func (s *subject) looked(now time.Time, every time.Duration) {
	next := every
	if s.looks < len(early) {
		next = min(every, early[s.looks])
	}
	s.looks++
	s.due = now.Add(next)
}

// isAfar: it never had a process here, for so long that it has none.
func (s *subject) isAfar() bool { return !s.isSeen && s.absent >= patience }

// isUnseen: it runs, and its processes are elsewhere.
func (s *subject) isUnseen() bool {
	return s.isAfar() && (s.isHidden || s.engine != nil && isRunning(s.engine))
}

// isBlind: it is not known whose sockets there are.
func (s *subject) isBlind() bool { return len(s.found.processes) > 0 && !s.found.isPlaced }

// describe makes the target of what is known.
func (s *subject) describe() *target.Target {
	f := &s.found
	t := &target.Target{
		ID: s.id, Runtime: s.runtime, State: "running", PID: cmp.Or(s.pid, f.first()),
		HostNetwork: f.isHost, Listening: f.listening, Executables: f.executables(),
	}
	if c := s.engine; c != nil {
		t.Name, t.Labels = c.Name, c.Labels
		if isRunning(c) {
			t.State = c.State.Status
		}
		t.Image, t.ImageTag = imageOf(c)
		t.Addresses, t.Ports, t.Hostname = s.said(), portsOf(c), c.Hostname
		// An engine's host need not be ours (rootless, or in a container itself).
		t.HostNetwork = f.isHost || !f.isPlaced && s.mode() == modeHost
	}
	uid := ""
	if s.identity != nil {
		identify(t, s.identity, s.engine != nil)
		uid = s.identity.Pod.UID
	}
	switch {
	case t.HostNetwork:
		t.Addresses = nil
	case len(t.Addresses) == 0: // no engine, or another container's network
		t.Addresses = s.addresses()
	}
	t.SharedNetwork = !t.HostNetwork && (s.hasCompany || f.isShared)
	t.Resource = resource(t, uid)
	return t
}

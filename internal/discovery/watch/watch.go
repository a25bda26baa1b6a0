package watch

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/docker"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/internal/procstream"
)

// Options say where containers are found and who is told.
type Options struct {
	Roots hostfs.Roots
	// View is the look at the host's cgroups, with the board on which others say
	// what containers are called; nil: the engine alone. It is not released.
	View *hostview.View
	// Endpoint is the engine's, as in [docker.ClientOptions]; "": cgroups alone.
	Endpoint string
	// Changed is called with all containers that run, by id, when something
	// about them has changed. The list is the caller's, the targets are not to be
	// changed. It should return soon.
	Changed func([]*target.Target)
	// Engine is called when the engine answers (nil) and when it does not. May be
	// nil.
	Engine func(error)
	// Every is the time between two looks at a container; 0 is 5 s.
	Every time.Duration
}

// Stats are totals since New, but for Containers, Unseen and Blind, which are now.
type Stats struct {
	Containers int
	// Unseen are those that run while no process of theirs is in our /proc, as where the
	// agent is not in the host's pid namespace. What the engine says is all that is known of them, and
	// nothing where no engine does. Of cgroup v1 only those count that the engine knows.
	Unseen int
	// Blind are those whose processes may not be asked for their network namespace,
	// so that who listens there is not known: that needs CAP_SYS_PTRACE.
	Blind int
	// Looks were made; Vanished are those whose container went meanwhile. Skipped were
	// left out, as nothing had happened since the one before.
	Looks, Vanished, Skipped uint64
	// Unreadable counts files of a look that could not be read.
	Unreadable uint64
	// Beyond are those that were too many.
	Beyond Beyond
	// Engine is what the engine's watcher did.
	Engine docker.Stats
}

// Beyond is what there was beyond the bounds. A container counts once, all else in each
// look that finds it.
type Beyond struct {
	// Containers are those beyond 2000, Processes those beyond 64 of a container.
	Containers, Processes uint64
	// Ports are announced ones beyond 512 of a container, Sockets those beyond 512 of a
	// container or 8192 of a namespace and protocol.
	Ports, Sockets uint64
	// Descriptors counts searches for the owners of sockets that came to an end after
	// 16384 descriptors.
	Descriptors uint64
}

const (
	// gatherEvery is how often the list of cgroups is compared: what has no event of
	// its own (an end) is seen within it.
	gatherEvery = 500 * time.Millisecond
	// gap is the shortest time between two rounds, so that a host that starts
	// thousands of processes each second costs ten rounds.
	gap = 100 * time.Millisecond
	// every is the usual time between looks at one container.
	every = 5 * time.Second
	// maxContainers is ten times the pods that the kubelet allows a node.
	maxContainers = 2000
)

// Watch follows containers. Make it with New, run it with Run.
type Watch struct {
	o      Options
	engine *docker.Watcher // nil without an engine
	looker *looker
	meter  *hostview.Meter // nil without a view; of Run alone
	woken  chan struct{}

	told    map[string]*target.Target // what Changed was last told; of Run alone
	all     map[string]*subject       // of Run alone
	refused map[string]bool           // ids for which there was no room; of Run alone

	mu         sync.Mutex // guards all below
	runtime    string
	engined    map[string]*docker.Container
	identities map[string]*target.Identity
	beyond     uint64 // containers for which there was no room
	stats      Stats  // Beyond.Containers is in beyond
}

// New checks the options. Nothing is done before Run.
func New(o Options) (*Watch, error) {
	if o.View == nil && o.Endpoint == "" {
		return nil, errors.New("watch containers: neither cgroups nor an engine")
	}
	if o.Changed == nil {
		return nil, errors.New("watch containers: nobody to tell")
	}
	o.Every = cmp.Or(o.Every, every)
	w := &Watch{
		o: o, looker: newLooker(o.Roots), woken: make(chan struct{}, 1),
		told: map[string]*target.Target{}, all: map[string]*subject{}, refused: map[string]bool{},
		engined: map[string]*docker.Container{}, identities: map[string]*target.Identity{},
	}
	if o.View != nil {
		w.meter = o.View.NewMeter()
	}
	if o.Endpoint == "" {
		return w, nil
	}
	var err error
	w.engine, err = docker.NewWatcher(docker.WatcherOptions{
		Endpoint: o.Endpoint, Images: true, EventTypes: []string{"container", "network"},
	})
	return w, err
}

// Run follows containers until ctx ends. Nothing is left running when it returns.
func (w *Watch) Run(ctx context.Context) {
	var engine sync.WaitGroup
	defer engine.Wait()
	if w.engine != nil {
		engine.Go(func() { w.engine.Run(ctx, &handler{watch: w}) })
	}
	defer w.listen()()
	var events *hostview.Subscription
	var ready <-chan struct{}
	if w.o.View != nil {
		events = w.o.View.Subscribe(hostview.SubscriptionOptions{})
		defer events.Close()
		ready = events.Ready()
	}
	for ctx.Err() == nil {
		now := time.Now()
		w.gather(now)
		w.heed(events, now)
		w.round(now)
		w.tell()
		pause(ctx, gap)
		w.rest(ctx, ready)
	}
}

// Stats returns the totals by now.
func (w *Watch) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.stats
	s.Beyond.Containers = w.beyond
	if w.engine != nil {
		s.Engine = w.engine.Stats()
	}
	return s
}

// rest waits until there is something to do.
func (w *Watch) rest(ctx context.Context, ready <-chan struct{}) {
	next := time.Now().Add(gatherEvery)
	for _, s := range w.all {
		if s.due.Before(next) {
			next = s.due
		}
	}
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-w.woken:
	case <-ready:
	case <-timer.C:
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (w *Watch) wake() {
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

// heed brings the next look at a container forward when it starts a program.
func (w *Watch) heed(events *hostview.Subscription, now time.Time) {
	if events == nil {
		return
	}
	for _, e := range events.Take(nil) {
		if e.Kind != procstream.Executed || e.Container == nil {
			continue
		}
		if s := w.all[e.Container.ID]; s != nil {
			delete(s.found.commands, e.PID) // it may be the same file with other words
			s.hurry(now)
		}
	}
}

// gather brings the subjects in line with engine and kernel, and tells them what is
// said beside that.
func (w *Watch) gather(now time.Time) {
	cgroups := w.cgroups()
	w.mu.Lock()
	defer w.mu.Unlock()
	present := map[string]word{}
	joins, guests := joined(w.engined), map[string]int{}
	for id, c := range w.engined {
		if isRunning(c) && !w.isOver(id) {
			present[id] = w.word(id, cgroups[id])
			if other := joins[id]; other != nil {
				guests[other.ID]++
			}
		}
	}
	for id, g := range cgroups {
		// The engine says what it knows a moment later than the kernel: a
		// container that it has as ended may just have started.
		if said := w.word(id, g); !said.isPodSandbox() {
			present[id] = said
		}
	}
	isGone := func(id string) bool { _, ok := present[id]; return !ok }
	maps.DeleteFunc(w.all, func(id string, _ *subject) bool { return isGone(id) })
	maps.DeleteFunc(w.refused, func(id string, _ bool) bool { return isGone(id) })
	for id, said := range present {
		if s := w.subject(id); s != nil {
			said.joins, said.isJoined = joins[id], guests[id] > 0
			said.hasCompany = said.isJoined || said.isGuest() && hasOthers(joins[id], guests)
			s.update(said, now)
		}
	}
	w.stats.Containers = len(w.all)
}

// word is what is said of a container now. The caller holds mu. Whoever asks the same
// engine may be told less of a container than we are (docker_filter), an opt-out among
// what is missing: that one's word waits for our own engine's.
func (w *Watch) word(id string, g *group) word {
	said := word{engine: w.engined[id], group: g, identity: w.identities[id], runtime: w.runtime}
	if said.engine == nil && said.identity != nil && w.runtime != "" && said.identity.Runtime == w.runtime {
		said.identity = nil
	}
	return said
}

// subject is the container that is watched, a new one if there is room for it; those
// that are watched stay. The caller holds mu.
func (w *Watch) subject(id string) *subject {
	if s := w.all[id]; s != nil {
		return s
	}
	if len(w.all) >= maxContainers {
		if !w.refused[id] {
			w.refused[id] = true
			w.beyond++
		}
		return nil
	}
	delete(w.refused, id)
	w.all[id] = &subject{id: id, skipped: len(w.all) % (maxSkipped + 1)} // not all of them in the same round
	return w.all[id]
}

// isOver tells whether the kernel has seen the container's end.
func (w *Watch) isOver(id string) bool {
	if w.o.View == nil {
		return false
	}
	cg, ok := w.o.View.Index().ByID(id)
	return ok && !cg.Gone.IsZero()
}

// group is the cgroups of one container, its own first.
type group struct {
	runtime string
	inode   uint64
	paths   []string
}

// cgroups are the containers that the kernel has, by id.
func (w *Watch) cgroups() map[string]*group {
	all := map[string]*group{}
	if w.o.View == nil {
		return all
	}
	for cg := range w.o.View.Index().Live() {
		if cg.Class != container.ClassContainer || cg.ID == "" {
			continue
		}
		g := all[cg.ID]
		if g == nil {
			g = &group{runtime: cg.Runtime}
			all[cg.ID] = g
		}
		if cg.Inner == "" {
			g.inode = cg.Inode
		}
		g.paths = append(g.paths, cg.Path)
	}
	for _, g := range all {
		slices.Sort(g.paths)
	}
	return all
}

// round looks at those that are due. Whose namespace is shared is known only
// once all have been asked for theirs.
func (w *Watch) round(now time.Time) {
	w.looker.begin()
	due, quiet, shared := w.begin(now)
	skipped := uint64(0)
	for _, s := range quiet {
		if s.found.isShared == (shared[s.found.netns] > 1) {
			s.rest(now, w.o.Every)
			skipped++
			continue
		}
		w.meet(s, now) // somebody else has come, or gone
		due = append(due, s)
	}
	for _, s := range due {
		problems := w.looker.problems()
		w.looker.look(s, shared[s.found.netns] > 1)
		s.isMetered = s.isMetered && problems == w.looker.problems()
		s.looked(now, w.o.Every)
	}
	unseen, blind := 0, 0
	for _, s := range w.all {
		unseen += number(s.isUnseen())
		blind += number(s.isBlind())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stats.Unseen, w.stats.Blind = unseen, blind
	w.stats.Looks += uint64(len(due))
	w.stats.Skipped += skipped
	w.stats.Unreadable, w.stats.Vanished = w.looker.unreadable, w.looker.vanished
	w.stats.Beyond = w.looker.beyond
}

// begin reads the processes of those that are due, but for those of which nothing is
// new. It counts the containers in each network namespace.
func (w *Watch) begin(now time.Time) (due, quiet []*subject, shared map[uint64]int) {
	shared = map[uint64]int{}
	for _, s := range w.all {
		switch {
		case now.Before(s.due):
		case w.isQuiet(s):
			quiet = append(quiet, s)
		default:
			w.meet(s, now)
			due = append(due, s)
		}
		if s.found.netns != 0 {
			shared[s.found.netns]++
		}
	}
	return due, quiet, shared
}

// meet reads the processes of a container. Where that fails it is not quiet: the next
// look is to find more.
func (w *Watch) meet(s *subject, now time.Time) {
	problems := w.looker.problems()
	s.found = w.looker.processes(s, w.pids(s), now)
	s.isMetered = s.isMetered && problems == w.looker.problems()
}

func number(is bool) int {
	if is {
		return 1
	}
	return 0
}

// pids are the processes of a container, the first one first if it is known.
func (w *Watch) pids(s *subject) []int {
	if w.o.View == nil || s.group == nil {
		return w.looker.descendants(s)
	}
	var all []int
	for _, path := range s.group.paths {
		all, _ = w.looker.proc.Pids(w.o.View.ProcsFile(path), all)
	}
	s.isHidden = len(all) == 0 && w.looker.areElsewhere(w.o.View.ProcsFile(s.group.paths[0]))
	return all
}

// tell hands the list on if anything is different.
func (w *Watch) tell() {
	now := map[string]*target.Target{}
	for id, s := range w.all {
		if s.target != nil {
			now[id] = s.target
		}
	}
	if maps.EqualFunc(now, w.told, (*target.Target).Equal) {
		return
	}
	w.told = now
	w.o.Changed(slices.SortedFunc(maps.Values(now), func(a, b *target.Target) int { return strings.Compare(a.ID, b.ID) }))
}

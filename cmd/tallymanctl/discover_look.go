package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/discovery/watch"
	"github.com/tallymanhq/tallyman/internal/docker"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/hostview"
)

// lookOptions say where containers are looked for.
type lookOptions struct {
	root string
	// endpoint is the engine's; "": there is none to be asked.
	endpoint string
	// isAsked: somebody has named this engine, so that it must be there.
	isAsked bool
}

// settled is what was seen.
type settled struct {
	targets []*target.Target
	// unfinished are ids of containers, or what else has not been looked at.
	unfinished []string
	// engine and cgroups are why that source is missing, nil if it is not.
	engine, cgroups error
	unreadable      uint64
	// unseen is how many run without a process in our /proc, blind of how many it is
	// not known which network they are in.
	unseen, blind int
}

// lookAgain is how often it is asked whether all has been looked at: too short to
// be noticed, and a look at a hundred containers takes as long.
const lookAgain = 50 * time.Millisecond

// sight is a running look at this host. close ends it.
type sight struct {
	options lookOptions
	watch   *watch.Watch
	view    *hostview.View // nil without cgroups
	cgroups error
	client  *docker.Client // nil without an engine
	listed  []string       // the engine's containers, once it is connected
	idle    map[string]bool
	changed chan struct{}
	cancel  context.CancelFunc
	done    chan struct{}

	mu       sync.Mutex // guards all below
	targets  []*target.Target
	engine   error
	answered bool // whether engine says something
}

var (
	errNoEngine = errors.New("no engine is there")
	errNotAsked = errors.New("no engine is to be asked")
)

// startSight begins to look.
func startSight(ctx context.Context, o lookOptions) (*sight, error) {
	s := &sight{options: o, idle: map[string]bool{}, changed: make(chan struct{}, 1), done: make(chan struct{})}
	if o.endpoint == "" {
		s.answered, s.engine = true, errNotAsked
	} else if !o.isAsked && docker.SocketMissing(o.endpoint) {
		s.engine, s.answered = fmt.Errorf("%w (%s)", errNoEngine, o.endpoint), true
		s.options.endpoint = ""
	}
	roots := hostfs.NewRoots(o.root)
	if s.view, s.cgroups = hostview.Acquire(hostview.Options{Roots: roots}); s.cgroups != nil {
		s.view = nil
		if s.options.endpoint == "" {
			return nil, fmt.Errorf("look at containers: %w", errors.Join(s.cgroups, s.engine))
		}
	}
	err := s.connect(roots)
	if err != nil {
		s.release()
		return nil, err
	}
	running, cancel := context.WithCancel(ctx)
	s.cancel = cancel
	go func() {
		defer close(s.done)
		s.watch.Run(running)
	}()
	return s, nil
}

func (s *sight) connect(roots hostfs.Roots) (err error) {
	if s.options.endpoint != "" {
		if s.client, err = docker.NewClient(docker.ClientOptions{Endpoint: s.options.endpoint}); err != nil {
			return err
		}
	}
	s.watch, err = watch.New(watch.Options{
		Roots: roots, View: s.view, Endpoint: s.options.endpoint, Changed: s.put, Engine: s.putEngine,
	})
	return err
}

func (s *sight) close() {
	s.cancel()
	<-s.done
	s.release()
}

func (s *sight) release() {
	if s.client != nil {
		s.client.Close()
	}
	if s.view != nil {
		s.view.Release()
	}
}

func (s *sight) put(all []*target.Target) {
	s.mu.Lock()
	s.targets = all
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

func (s *sight) putEngine(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.engine, s.answered = err, true
}

// now is what has been seen by now.
func (s *sight) now() settled {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.watch.Stats()
	return settled{
		targets: s.targets, engine: s.engine, cgroups: s.cgroups,
		unreadable: stats.Unreadable, unseen: stats.Unseen, blind: stats.Blind,
	}
}

// next waits for the next change; false when ctx ends.
func (s *sight) next(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-s.changed:
		return true
	}
}

// settle waits until every container that runs has been looked at, with all that
// the engine knows of it, but no longer than timeout.
func (s *sight) settle(ctx context.Context, timeout time.Duration) settled {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ticker := time.NewTicker(lookAgain)
	defer ticker.Stop()
	for {
		left := s.unfinished(ctx)
		if len(left) == 0 || ctx.Err() != nil {
			seen := s.now()
			seen.unfinished = left
			return seen
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

// unfinished is what has not been looked at.
func (s *sight) unfinished(ctx context.Context) []string {
	if err := s.list(ctx); err != nil {
		return []string{err.Error()}
	}
	known := map[string]*target.Target{}
	for _, t := range s.now().targets {
		known[t.ID] = t
	}
	left := s.inCgroups(known)
	for _, id := range s.listed {
		switch t := known[id]; {
		case t != nil && t.Name != "", s.idle[id]: // names come from the engine
		case t != nil || s.isRunning(ctx, id):
			left = append(left, id)
		}
	}
	slices.Sort(left)
	return slices.Compact(left)
}

var errConnecting = errors.New("the engine has not told all of its containers")

// list asks for the engine's containers once it has told the watch of them, and
// is content if there is no engine.
func (s *sight) list(ctx context.Context) error {
	s.mu.Lock()
	answered, engine := s.answered, s.engine
	s.mu.Unlock()
	switch {
	case s.listed != nil, answered && engine != nil:
		return nil
	case !answered, !s.watch.Stats().Engine.Connected:
		return errConnecting
	}
	all, err := s.client.List(ctx)
	if err != nil {
		return err
	}
	s.listed = []string{}
	for _, c := range all {
		if c.Labels["io.kubernetes.container.name"] != "POD" { // a sandbox, which is no target
			s.listed = append(s.listed, c.ID)
		} else {
			s.idle[c.ID] = true
		}
	}
	return nil
}

// inCgroups are containers with processes that nobody has looked at.
func (s *sight) inCgroups(known map[string]*target.Target) []string {
	if s.view == nil {
		return nil
	}
	var left []string
	for cg := range s.view.Index().Live() {
		if cg.Class != container.ClassContainer || cg.ID == "" || known[cg.ID] != nil || s.idle[cg.ID] {
			continue
		}
		processes, err := os.ReadFile(s.view.ProcsFile(cg.Path))
		if err == nil && slices.ContainsFunc(strings.Fields(string(processes)), s.isVisible) {
			left = append(left, cg.ID)
		}
	}
	return left
}

// isRunning asks for a container that was listed and is not known. One that does not
// run is not asked for again. One whose processes are not to be seen from here is told of
// after some looks, by what the engine says.
func (s *sight) isRunning(ctx context.Context, id string) bool {
	c, err := s.client.Inspect(ctx, id)
	if errors.Is(err, docker.ErrNotFound) {
		s.idle[id] = true
		return false
	}
	if err != nil {
		return true // not known
	}
	s.idle[id] = c.State.Pid == 0
	return !s.idle[id]
}

// isVisible tells whether a process can be looked at; those outside of our pid
// namespace cannot.
func (s *sight) isVisible(pid string) bool {
	_, err := os.Stat(filepath.Join(hostfs.NewRoots(s.options.root).Proc, pid))
	return err == nil
}

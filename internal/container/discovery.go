package container

import (
	"errors"
	"fmt"
	"path"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of [DiscoveryOptions].
const (
	defaultReconcile = 10 * time.Second
	// defaultMaxWatches is half of the smallest fs.inotify.max_user_watches
	// in the field (8192): other programs of this user need some as well.
	defaultMaxWatches = 4096
)

// ErrStarted says that Start was called twice, or after Close.
var ErrStarted = errors.New("already started or closed")

// DiscoveryOptions say what is watched and who is told.
type DiscoveryOptions struct {
	// Dir is the absolute directory of the one hierarchy that is watched, for
	// example /sys/fs/cgroup/memory.
	Dir string
	// Prefix is the cgroup path of Dir; "" means "/".
	Prefix string
	// Reconcile is the time between two full walks; 0 means 10 s.
	Reconcile time.Duration
	// MaxWatches bounds the inotify watches; 0 means 4096.
	MaxWatches int
	// Index is kept equal to the hierarchy; it is updated before a callback.
	Index *Index
	// OnAppear and OnVanish, if not nil, are called for every directory, Dir
	// included: parents appear before and vanish after their children. Calls
	// never overlap: they come from Start, then from one goroutine. They must
	// not call Close.
	OnAppear, OnVanish func(Cgroup)
	// Now is the clock, time.Now if nil.
	Now func() time.Time
	// Tick replaces the timer of Reconcile in tests.
	Tick <-chan time.Time
}

// DiscoveryStats count since Start.
type DiscoveryStats struct {
	// Walks are complete walks: the first, reconciling ones, after overflows.
	Walks uint64
	// Watches is the number of inotify watches now.
	Watches uint64
	// WatchFailures counts directories that should have a watch and got none,
	// for want of watches or of inotify as a whole.
	WatchFailures uint64
	// Overflows counts how often the kernel dropped events.
	Overflows uint64
	// Reconciled counts directories that only a later walk found.
	Reconciled uint64
	// ReadFailures counts directories that exist and could not be listed.
	ReadFailures uint64
}

// Discovery follows the directories of one cgroup hierarchy. Start and Close
// may be called by any goroutine, each at most once to any effect; Stats is
// safe at any time.
type Discovery struct {
	opts DiscoveryOptions
	tree tree // owned by Start, then by the goroutine

	walks, overflows atomic.Uint64
	// looks are paths to look at, for the goroutine.
	looks chan look

	mu      sync.Mutex // guards the life cycle below
	started bool
	stop    chan struct{}
	done    chan struct{}
}

// NewDiscovery returns a discovery that has not begun. It touches nothing.
func NewDiscovery(opts DiscoveryOptions) *Discovery {
	if opts.Prefix == "" {
		opts.Prefix = "/"
	}
	opts.Prefix = cleanPath(opts.Prefix)
	opts.Dir = path.Clean(opts.Dir)
	if opts.Reconcile <= 0 {
		opts.Reconcile = defaultReconcile
	}
	if opts.MaxWatches <= 0 {
		opts.MaxWatches = defaultMaxWatches
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Index == nil {
		opts.Index = NewIndex(IndexOptions{Now: opts.Now})
	}
	return &Discovery{opts: opts, tree: newTree(opts), looks: make(chan look, looksMax)}
}

// Start walks the hierarchy, calling OnAppear with Initial set, and follows it
// from then on. The error wraps [ErrGone] if Dir does not exist.
func (d *Discovery) Start() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.started {
		return fmt.Errorf("start discovery of %s: %w", d.opts.Dir, ErrStarted)
	}
	if err := d.tree.open(); err != nil {
		return fmt.Errorf("start discovery: %w", err)
	}
	d.started = true
	d.stop, d.done = make(chan struct{}), make(chan struct{})
	d.walk()
	d.tree.found = foundByEvent
	go d.run()
	return nil
}

// looksMax bounds the paths that wait to be looked at; the next walk finds what
// finds no room.
const looksMax = 1024

// look is a question about a directory.
type look struct {
	path  string
	inode uint64
}

// Look says that a directory with this cgroup path and inode has been made. It
// matters where no watch tells of it: in a directory that had no children. It
// never waits, and may be called by any goroutine.
func (d *Discovery) Look(cgroupPath string, inode uint64) {
	select {
	case d.looks <- look{cgroupPath, inode}:
	default:
	}
}

// Close ends the goroutine and waits for it. It is safe to call twice and
// without Start. What is in the Index stays there.
func (d *Discovery) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.started {
		d.started = true
		return
	}
	if d.stop == nil {
		return
	}
	close(d.stop)
	<-d.done
	d.stop = nil
}

// Stats returns the counters.
func (d *Discovery) Stats() DiscoveryStats {
	return DiscoveryStats{
		Walks:         d.walks.Load(),
		Watches:       d.tree.watches.Load(),
		WatchFailures: d.tree.watchFailures.Load(),
		Overflows:     d.overflows.Load(),
		Reconciled:    d.tree.reconciled.Load(),
		ReadFailures:  d.tree.readFailures.Load(),
	}
}

func (d *Discovery) run() {
	defer close(d.done)
	defer d.tree.close()
	tick := d.opts.Tick
	if tick == nil {
		ticker := time.NewTicker(d.opts.Reconcile)
		defer ticker.Stop()
		tick = ticker.C
	}
	var ready <-chan struct{}
	if d.tree.notify != nil {
		d.tree.notify.start()
		ready = d.tree.notify.ready
	}
	buf := make([]byte, 64<<10)
	for {
		select {
		case <-d.stop:
			return
		case <-ready:
			d.drain(buf)
			d.tree.notify.rearm <- struct{}{}
		case l := <-d.looks:
			d.drain(buf) // the parent may be about to be told
			d.tree.look(l)
		case <-tick:
			// Events first: what they tell must not look as if only the walk
			// had found it, nor be told again after the walk.
			d.drain(buf)
			d.reconcile()
		}
	}
}

func (d *Discovery) reconcile() {
	d.tree.found = foundByWalk
	d.walk()
	d.tree.found = foundByEvent
	d.opts.Index.Stats() // lets the index forget who is long dead
}

func (d *Discovery) walk() {
	d.tree.walk()
	d.walks.Add(1)
}

// drain handles all events there are, unless Close is waiting.
func (d *Discovery) drain(buf []byte) {
	if d.tree.notify == nil {
		return
	}
	for {
		n := d.tree.notify.read(buf)
		if n == 0 {
			return
		}
		if d.dispatch(buf[:n]) {
			// The lost events are older than what is still queued; a walk
			// makes both superfluous, late ones find nothing to change.
			d.overflows.Add(1)
			d.reconcile()
		}
		select {
		case <-d.stop:
			return
		default:
		}
	}
}

// dispatch handles one buffer of events and reports an overflow among them.
func (d *Discovery) dispatch(buf []byte) (overflow bool) {
	for {
		e, rest, ok := parseEvent(buf)
		if !ok {
			return overflow
		}
		overflow = d.tree.handle(e) || overflow
		buf = rest
	}
}

package hostview

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tallymanhq/tallyman/internal/cgroup"
	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/discovery/findings"
	"github.com/tallymanhq/tallyman/internal/discovery/identities"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/hostview/sampler"
	"github.com/tallymanhq/tallyman/internal/procstream"
)

// ErrConflict says that two components want one view in two ways.
var ErrConflict = errors.New("conflict with another component")

// ProcessStream says how processes are watched.
type ProcessStream string

// The ways to watch processes. Auto takes the best this host has, Connector the
// best without BPF, Proc only looks at /proc when there is a reason to.
const (
	ProcessStreamAuto      ProcessStream = "auto"
	ProcessStreamConnector ProcessStream = "connector"
	ProcessStreamProc      ProcessStream = "proc"
	ProcessStreamOff       ProcessStream = "off"
)

// Options are what a component asks of a view.
type Options struct {
	Roots hostfs.Roots
	// ProcessStream is how processes are to be watched; "" leaves it to the
	// other holders.
	ProcessStream ProcessStream
	// RingBytes is the size of the kernel's buffer for the process stream, a
	// power of two; 0 means 4 MiB. The first holder that asks for a stream
	// decides.
	RingBytes uint32
}

// View is one look at one host. Get it with [Acquire].
type View struct {
	roots   hostfs.Roots
	host    *cgroup.Host
	index   *container.Index
	finder  *container.Discovery
	holders int // guarded by views.mu

	findings   *findings.Board
	identities *identities.Board
	// processes are those that the stream has told of.
	processes *container.Processes
	proc      *procstream.Reader
	// observers are the samplers, for the stream's goroutine.
	observers     atomic.Pointer[[]*sampler.Sampler]
	subscriptions atomic.Pointer[[]*Subscription] // likewise; changed with mu held
	// hierarchy is the one that containers are known by, unified if that is the
	// unified one.
	hierarchy uint32
	unified   bool

	said atomic.Bool // see First

	mu         sync.Mutex    // guards what follows
	wish       ProcessStream // "" while nobody has asked
	stream     stream        // nil without one
	tier       Tier
	streamFrom time.Time
	// victimsTold: the stream says who was chosen by the OOM killer.
	victimsTold bool
	// refused is why there is no stream, or not the one that was wished for.
	refused  error
	samplers map[string]*sharedSampler
}

type sharedSampler struct {
	*sampler.Sampler
	holders int
}

// views are the living views by root. It is the one exception from the rule
// against package-level state: the receivers of two pipelines are made apart
// and have nothing else in common.
var views = struct {
	mu     sync.Mutex
	byRoot map[string]*View
}{byRoot: map[string]*View{}}

// Acquire returns the view of a root, starting it if this is its first
// holder: the first walk over all cgroups is done when it returns. A host
// without cgroups gives an error that matches [hostfs.ErrNotSupported]; a
// different ProcessStream than the view has, [ErrConflict].
func Acquire(o Options) (*View, error) {
	views.mu.Lock()
	defer views.mu.Unlock()
	if v := views.byRoot[o.Roots.Root]; v != nil {
		if err := v.agree(o); err != nil {
			return nil, err
		}
		v.holders++
		return v, nil
	}
	v, err := open(o)
	if err != nil {
		return nil, err
	}
	v.holders = 1
	views.byRoot[o.Roots.Root] = v
	return v, nil
}

// agree takes over what the first holder with a wish asks for, and refuses
// another wish.
func (v *View) agree(o Options) error {
	wish := o.ProcessStream
	v.mu.Lock()
	defer v.mu.Unlock()
	if wish != "" && v.wish != "" && v.wish != wish {
		return fmt.Errorf("process_stream %q for root_path %q: %w, which asks for %q", wish, v.roots.Root, ErrConflict, v.wish)
	}
	if v.wish == "" && wish != "" {
		v.wish = wish
		v.openStream(o)
	}
	return nil
}

func open(o Options) (*View, error) {
	host, err := cgroup.Detect(o.Roots)
	if err != nil {
		return nil, err
	}
	v := &View{
		roots:      o.Roots,
		host:       host,
		index:      container.NewIndex(container.IndexOptions{}),
		processes:  container.NewProcesses(container.ProcessesOptions{}),
		proc:       procstream.NewReader(o.Roots),
		findings:   findings.New(),
		identities: identities.New(),
		samplers:   map[string]*sharedSampler{},
	}
	v.publish()
	v.subscriptions.Store(&[]*Subscription{})
	dir, prefix := host.Hierarchy()
	v.finder = container.NewDiscovery(container.DiscoveryOptions{
		Dir: dir, Prefix: prefix, Index: v.index,
		OnAppear: v.appeared, OnVanish: v.vanished,
	})
	if err := v.finder.Start(); err != nil {
		return nil, fmt.Errorf("walk %s: %w", dir, err)
	}
	if err := v.agree(o); err != nil {
		return nil, err // a new view has no wish to be in conflict with
	}
	return v, nil
}

// Release gives the view back. The last holder stops it and waits for that.
func (v *View) Release() {
	views.mu.Lock()
	defer views.mu.Unlock()
	v.holders--
	if v.holders > 0 {
		return
	}
	delete(views.byRoot, v.roots.Root)
	v.closeStream()
	v.finder.Close()
}

// First is true for the first caller: who says how this host is looked at.
func (v *View) First() bool { return v.said.CompareAndSwap(false, true) }

// Mode is how the host arranges its cgroups.
func (v *View) Mode() cgroup.Mode { return v.host.Mode() }

// BootTime is when the host booted: where its own counters start.
func (v *View) BootTime() time.Time { return procstream.NewReader(v.roots).StartTime(0) }

// Index answers which container a cgroup belongs to.
func (v *View) Index() *container.Index { return v.index }

// Findings is the board where holders of this view tell each other what containers
// were recognised as. The view writes nothing there.
func (v *View) Findings() *findings.Board { return v.findings }

// Identities is the board where holders of this view tell each other what containers
// are called and what is said about them. The view writes nothing there.
func (v *View) Identities() *identities.Board { return v.identities }

// ProcsFile is the file that lists the processes of a cgroup.
func (v *View) ProcsFile(cgroupPath string) string { return v.host.ProcsFile(cgroupPath) }

// Discovery returns what discovery has done so far.
func (v *View) Discovery() container.DiscoveryStats { return v.finder.Stats() }

// Sampler returns the sampler of that name, making it if this is its first
// holder; the settings of later holders are not looked at. Give it back with
// [View.ReleaseSampler].
func (v *View) Sampler(name string, settings sampler.Settings) *sampler.Sampler {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s := v.samplers[name]; s != nil {
		s.holders++
		return s.Sampler
	}
	settings.Processes = v.wish != ProcessStreamOff
	settings.Stream, settings.StreamFrom = v.stream != nil, v.streamFrom
	settings.VictimsTold = v.victimsTold
	s := &sharedSampler{
		Sampler: sampler.New(sampler.Options{Roots: v.roots, Host: v.host, Settings: settings}),
		holders: 1,
	}
	// Discovery's goroutine waits for v.mu while this runs, so that nothing
	// falls between the cgroups that are there and those to come.
	there := slices.Collect(v.index.Live())
	slices.SortFunc(there, func(a, b *container.Cgroup) int { return strings.Compare(a.Path, b.Path) })
	for _, c := range there {
		s.Appeared(*c)
	}
	v.samplers[name] = s
	v.publish()
	return s.Sampler
}

// ReleaseSampler gives a sampler back; the last holder closes it.
func (v *View) ReleaseSampler(name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.samplers[name]
	if s == nil {
		return
	}
	if s.holders--; s.holders > 0 {
		return
	}
	delete(v.samplers, name)
	v.publish()
	s.Close()
}

func (v *View) appeared(c container.Cgroup) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.samplers {
		s.Appeared(c)
	}
}

func (v *View) vanished(c container.Cgroup) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.samplers {
		s.Vanished(c)
	}
}

package containerstatusreceiver

import (
	"context"
	"maps"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/receiver"
	"go.uber.org/zap"

	"github.com/tallymanhq/tallyman/internal/docker"
	"github.com/tallymanhq/tallyman/receiver/containerstatusreceiver/internal/roster"
)

// watcher follows one engine until the context ends; it connects again by itself.
type watcher interface {
	Run(ctx context.Context, h docker.Handler)
	Stats() docker.Stats
}

// opener makes a watcher of the engine at an endpoint. It connects to nothing.
type opener func(endpoint string) (watcher, error)

func watchEngine(endpoint string) (watcher, error) {
	return docker.NewWatcher(docker.WatcherOptions{Endpoint: endpoint, EventTypes: eventTypes()})
}

// watches finds the watch of a configuration: the collector makes the metrics
// and the logs instance of one receiver from the same *Config.
type watches struct {
	open opener

	mu       sync.Mutex // guards byConfig and each watch's members
	byConfig map[*Config]*watch
}

func newWatches(open opener) *watches {
	return &watches{open: open, byConfig: map[*Config]*watch{}}
}

// join makes somebody a member of the configuration's watch. Nothing is
// started, but a queue attached from then on misses no event, whichever
// instance starts first.
func (w *watches) join(set receiver.Settings, cfg *Config) *member {
	w.mu.Lock()
	defer w.mu.Unlock()
	shared, ok := w.byConfig[cfg]
	if !ok {
		shared = newWatch(w.open, set.Logger, cfg)
		w.byConfig[cfg] = shared
	}
	shared.members++
	return &member{watch: shared, watches: w, set: set, cfg: cfg}
}

// member is one instance's share in a watch.
type member struct {
	watches *watches
	watch   *watch // nil after leave
	set     receiver.Settings
	cfg     *Config
}

// start starts the watch unless another member has.
func (m *member) start(_ context.Context, host component.Host) error {
	return m.watch.start(m, host)
}

// leave gives the share back; with the last one the watch ends. It is safe
// without start and twice.
func (m *member) leave() {
	w := m.watch
	if w == nil {
		return
	}
	m.watch = nil
	w.forget(m)
	if m.watches.last(w) {
		w.stop()
	}
}

func (w *watches) last(shared *watch) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	shared.members--
	if shared.members > 0 {
		return false
	}
	delete(w.byConfig, shared.cfg)
	return true
}

// watch is one engine being followed, for all instances of one configuration.
type watch struct {
	open    opener
	cfg     *Config
	log     *zap.Logger
	members int // guarded by watches.mu
	roster  *roster.Roster
	drops   *roster.Drops

	mu       sync.Mutex // guards all below
	endpoint string
	health   *health
	// end stops the watcher's goroutine and done tells that it has; nil before
	// the start.
	end  context.CancelFunc
	done chan struct{}
	// hosts are told of the engine's state; status is the last that was told,
	// nil before the first.
	hosts  map[*member]component.Host
	status *componentstatus.Event
	// back is what will be logged of the end of an outage, by timer.
	back  *roster.Arrival
	timer *time.Timer
}

// replayedWithin is when the events of an outage have been told: the watcher
// does that in one go, as soon as the containers are known, and none of them
// waits for anything.
const replayedWithin = time.Second

func newWatch(open opener, log *zap.Logger, cfg *Config) *watch {
	w := &watch{
		open: open, cfg: cfg, log: log,
		drops: &roster.Drops{}, hosts: map[*member]component.Host{},
	}
	w.roster = roster.New(roster.Options{Up: w.up, Down: w.down, Now: time.Now})
	return w
}

func (w *watch) start(m *member, host component.Host) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done == nil {
		if err := w.run(m.set, host); err != nil {
			return err
		}
	}
	w.hosts[m] = host
	if w.status != nil {
		componentstatus.ReportStatus(host, w.status)
	}
	return nil
}

// run starts the watcher. An engine that is not there is no error.
func (w *watch) run(set receiver.Settings, host component.Host) error {
	w.endpoint = w.locate(host)
	follower, err := w.open(w.endpoint)
	if err != nil {
		return err
	}
	if w.health, err = newHealth(set, w.roster, w.drops, follower.Stats); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.end, w.done = cancel, make(chan struct{})
	go func() {
		defer close(w.done)
		follower.Run(ctx, w.roster)
	}()
	return nil
}

// locate finds the engine's address.
func (w *watch) locate(host component.Host) string {
	place := docker.Find(w.cfg.Endpoint, maps.Values(host.GetExtensions()), docker.DefaultEndpoint)
	if place.Bare {
		w.log.Warn("asking the engine itself: this socket is not filtered, who may use it may do anything on this host; "+
			"configure the extension docker_filter, or set endpoint", zap.String("endpoint", place.Endpoint))
	}
	return place.Endpoint
}

func (w *watch) forget(m *member) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.hosts, m)
}

// stop waits for the watcher's goroutine. It takes the lock only afterwards:
// that goroutine may want it to tell of an outage.
func (w *watch) stop() {
	w.mu.Lock()
	end, done, h := w.end, w.done, w.health
	w.mu.Unlock()
	if done == nil {
		return
	}
	end()
	<-done
	h.stop()
	w.logReturn()
}

// up is told by the roster when the engine answers.
func (w *watch) up(a roster.Arrival) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case a.First && a.Outage == 0:
		w.log.Info("following the container engine", w.describe(a)...)
	case a.First:
		w.log.Info("the container engine answers now", append(w.describe(a), zap.Duration("after", a.Outage))...)
	default:
		w.back, w.timer = &a, time.AfterFunc(replayedWithin, w.logReturn)
	}
	w.report(componentstatus.NewEvent(componentstatus.StatusOK))
}

func (w *watch) describe(a roster.Arrival) []zap.Field {
	return []zap.Field{
		zap.String("endpoint", w.endpoint),
		zap.String("runtime", a.Engine.Runtime),
		zap.String("version", a.Engine.Version),
		zap.Int("containers", a.Containers),
	}
}

// logReturn says that an outage is over, unless that was said.
func (w *watch) logReturn() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.back == nil {
		return
	}
	w.timer.Stop()
	w.log.Info("the container engine answers again", append(w.describe(*w.back),
		zap.Duration("after", w.back.Outage), zap.Int("events_recovered", w.roster.Missed()))...)
	w.back, w.timer = nil, nil
}

// down is told by the roster when it does not. A host that has no engine is
// nothing to worry about; an engine that has gone is, and one that somebody has
// named.
func (w *watch) down(err error) {
	w.logReturn()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.met() && (w.cfg.Endpoint == "" || docker.SocketMissing(w.endpoint)) {
		w.log.Info("no container engine answers; its containers are seen as soon as one does",
			zap.String("endpoint", w.endpoint), zap.Error(err))
		return
	}
	w.log.Warn("the container engine does not answer; trying again",
		zap.String("endpoint", w.endpoint), zap.Error(err))
	w.report(componentstatus.NewRecoverableErrorEvent(err))
}

// met tells whether the engine has ever answered.
func (w *watch) met() bool { return w.status != nil && w.status.Status() == componentstatus.StatusOK }

func (w *watch) report(e *componentstatus.Event) {
	w.status = e
	for _, host := range w.hosts {
		componentstatus.ReportStatus(host, e)
	}
}

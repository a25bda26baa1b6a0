package discoveryreceiver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"
	"go.uber.org/zap"

	"github.com/tallymanhq/tallyman/internal/discovery/findings"
	"github.com/tallymanhq/tallyman/internal/discovery/plan"
	"github.com/tallymanhq/tallyman/internal/discovery/spec"
	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/discovery/watch"
	"github.com/tallymanhq/tallyman/internal/docker"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/receiver/discoveryreceiver/internal/runner"
)

// discoveryOptions are what a discovery needs of the Collector.
type discoveryOptions struct {
	Config   *Config
	Settings receiver.Settings
	Host     component.Host
	Metrics  consumer.Metrics // nil where no such pipeline has it
	Logs     consumer.Logs
}

// discovery is one watch and one runner, for the receivers of both signals.
type discovery struct {
	o    discoveryOptions
	log  *zap.Logger
	plan *plan.Plan
	dist *distribution
	view *hostview.View // nil without cgroups
	// findings says what containers are; nil without cgroups, and where nobody wants to
	// know.
	findings *findings.Writer
	watch    *watch.Watch
	runner   *runner.Runner
	journal  *journal
	health   *health
	events   *eventEmitter // nil without a pipeline of logs, or where nobody wants any
	engine   engineState

	cancel  context.CancelFunc // ends the watch
	quit    chan struct{}      // closed when no events come any more
	giveUp  context.CancelFunc // ends the handing on of events
	running sync.WaitGroup     // the watch
	handing sync.WaitGroup     // the events

	deciding sync.Mutex // guards all below, and is held until the runner was told
	targets  []*target.Target
	known    map[string]*known
	again    *time.Timer // decides anew; nil before the first time
	isOver   bool
	hidden   struct{ unseen, blind bool } // has been said
}

// startDiscovery begins to watch. An error leaves nothing behind.
func startDiscovery(o discoveryOptions) (*discovery, error) {
	d := &discovery{
		o: o, log: o.Settings.Logger, known: map[string]*known{},
		cancel: func() {}, giveUp: func() {}, quit: make(chan struct{}),
	}
	for _, step := range []func() error{d.openPlan, d.openView, d.openRunner, d.openWatch} {
		if err := step(); err != nil {
			return nil, errors.Join(err, d.stop(context.Background()))
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel = cancel
	d.running.Go(func() { d.watch.Run(ctx) })
	return d, nil
}

// openPlan checks the configuration against what this distribution can start.
func (d *discovery) openPlan() error {
	var pipelines spec.Signals
	if d.o.Metrics != nil {
		pipelines |= spec.Metrics
	}
	if d.o.Logs != nil {
		pipelines |= spec.Logs
	}
	var err error
	if d.plan, err = plan.New(d.o.Config.Config); err != nil {
		return err
	}
	if d.dist, err = newDistribution(d.o.Host, pipelines); err != nil {
		return err
	}
	return d.dist.check(d.o.Config.Rules)
}

// openView takes the shared view. Without cgroups there is the engine.
func (d *discovery) openView() error {
	view, err := hostview.Acquire(hostview.Options{Roots: hostfs.NewRoots(d.o.Config.RootPath)}) // how processes are watched is the others' to say
	switch {
	case err == nil:
		d.view = view
		if d.o.Config.Recognise {
			d.findings = view.Findings().Writer()
		}
		return nil
	case !errors.Is(err, hostfs.ErrNotSupported):
		return err
	case d.o.Config.Endpoint == noEngine:
		return fmt.Errorf("endpoint: %q leaves nobody to ask for containers: %w", noEngine, err)
	}
	d.log.Info("there are no cgroups here; containers are those that the engine tells of", zap.Error(err))
	return nil
}

func (d *discovery) openRunner() error {
	withEvents := d.o.Logs != nil && d.o.Config.Events
	d.journal = newJournal(d.log, withEvents)
	if withEvents {
		d.events = &eventEmitter{next: d.o.Logs, version: d.o.Settings.BuildInfo.Version}
		ctx, cancel := context.WithCancel(context.Background())
		d.giveUp = cancel
		d.handing.Go(func() { d.events.run(ctx, d.quit, d.journal.events) })
	}
	var err error
	d.runner, err = runner.New(runner.Options{
		Factories: d.dist, Host: d.o.Host, Settings: d.o.Settings, Metrics: d.o.Metrics, Logs: d.o.Logs,
		Allow: d.mayBeAsked, Tell: d.journal.ran, Limit: d.o.Config.Limits.Receivers,
	})
	return err
}

// mayBeAsked tells whether a label may start a type of receiver. Discovery itself it
// may not: each would find the container anew.
func (d *discovery) mayBeAsked(t component.Type) bool {
	return t != d.o.Settings.ID.Type() && d.plan.Allows(t.String())
}

func (d *discovery) openWatch() error {
	endpoint := d.locate()
	d.engine.isAsked.Store(endpoint != "")
	var err error
	d.watch, err = watch.New(watch.Options{
		Roots: hostfs.NewRoots(d.o.Config.RootPath), View: d.view, Endpoint: endpoint,
		Changed: d.looked, Engine: d.told, Every: d.o.Config.LookInterval,
	})
	if err != nil {
		return err
	}
	if d.health, err = newHealth(d); err != nil {
		return err
	}
	d.log.Info("watching containers", zap.Bool("cgroups", d.view != nil), zap.String("engine", endpoint),
		zap.Int("rules", len(d.o.Config.Rules)), zap.Bool("labels", d.o.Config.Labels))
	return nil
}

// locate finds the engine's address, "" if none is to be asked.
func (d *discovery) locate() string {
	if d.o.Config.Endpoint == noEngine {
		return ""
	}
	place := docker.Find(d.o.Config.Endpoint, maps.Values(d.o.Host.GetExtensions()), docker.DefaultEndpoint)
	if place.Bare {
		d.log.Warn("asking the engine itself: this socket is not filtered, who may use it may do anything on this host; "+
			"configure the extension docker_filter, or set endpoint", zap.String("endpoint", place.Endpoint))
	}
	d.engine.endpoint = place.Endpoint
	return place.Endpoint
}

// engineState is what is known of the engine. Its methods are called by any goroutine.
type engineState struct {
	endpoint string
	// isAsked: there may be one. isAway: it does not answer. hasAnswered: it once did.
	isAsked, isAway, hasAnswered atomic.Bool
}

// told is called when the engine answers and when it does not.
func (d *discovery) told(err error) {
	at := zap.String("endpoint", d.engine.endpoint)
	d.engine.isAway.Store(err != nil)
	if err == nil {
		d.engine.hasAnswered.Store(true)
		d.log.Info("the container engine answers", at)
		return
	}
	if !d.engine.hasAnswered.Load() {
		d.log.Info("no container engine answers; containers are known by their cgroups and processes until one does", at, zap.Error(err))
		return
	}
	d.log.Info("the container engine does not answer any more; what it said counts while its containers run", at, zap.Error(err))
}

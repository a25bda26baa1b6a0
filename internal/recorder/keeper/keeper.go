package keeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/tallymanhq/tallyman/internal/recorder/api"
	"github.com/tallymanhq/tallyman/internal/recorder/capture"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/report"
	"github.com/tallymanhq/tallyman/internal/recorder/entity"
	"github.com/tallymanhq/tallyman/internal/recorder/eventstore"
	"github.com/tallymanhq/tallyman/internal/recorder/evidence"
	"github.com/tallymanhq/tallyman/internal/recorder/live"
	"github.com/tallymanhq/tallyman/internal/recorder/metricstore"
)

// Keeper is an open recorder.
type Keeper struct {
	o    Options
	lock *os.File

	metrics  *metricstore.Store
	events   *eventstore.Store
	entities *entity.Table
	live     *live.Live
	engine   *capture.Engine
	server   *api.Server
	sources  []*evidence.Source // of captures: metrics, events

	started  time.Time
	recovery Recovery
	watch    watch

	ctx     context.Context // ends with Close
	stop    context.CancelFunc
	running sync.WaitGroup

	mu           sync.Mutex // guards what follows
	lastListener int
	listeners    map[int]func(plog.Logs)
	unheard      []plog.Logs // what was announced before anybody listened
	queues       map[int]watchedQueue
}

// Recovery tells how the last run ended, by part.
type Recovery struct {
	Metrics  metricstore.Recovery
	Events   eventstore.Recovery
	Entities entity.Recovery
	Captures capture.Recovery
}

// Texts says in a sentence each what was lost or repaired; empty after a clean end.
func (r Recovery) Texts() []string {
	var texts []string
	for _, text := range []string{r.Metrics.Text(), r.Events.Text()} {
		if text != "" {
			texts = append(texts, text)
		}
	}
	if r.Entities.Skipped > 0 {
		texts = append(texts, fmt.Sprintf("%d lines of the table of containers could not be read.", r.Entities.Skipped))
	}
	if r.Entities.Rewrite != nil {
		texts = append(texts, "The table of containers could not be written anew: "+r.Entities.Rewrite.Error()+".")
	}
	if n := len(r.Captures.Open); n > 0 {
		texts = append(texts, fmt.Sprintf("%d captures were open and are finished now.", n))
	}
	if n := len(r.Captures.Dropped); n > 0 {
		texts = append(texts, fmt.Sprintf("%d captures that were open could not be finished.", n))
	}
	return texts
}

// Open opens what is in the folder, or makes it. Nothing is served before Start.
func Open(o Options) (*Keeper, Recovery, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	file, err := lock(o.Dir)
	if err != nil {
		return nil, Recovery{}, err
	}
	k := &Keeper{
		o: o, lock: file, live: live.New(live.Options{}), started: time.Now(),
		listeners: map[int]func(plog.Logs){}, queues: map[int]watchedQueue{},
	}
	k.ctx, k.stop = context.WithCancel(context.Background())
	if err := k.open(); err != nil {
		return nil, Recovery{}, errors.Join(err, k.Close())
	}
	return k, k.recovery, nil
}

func (k *Keeper) open() (err error) {
	if k.metrics, k.recovery.Metrics, err = metricstore.Open(metricstore.Options{
		Dir: filepath.Join(k.o.Dir, "raw"), Retention: k.o.Retention, MaxBytes: share(k.o.MaxBytes, metricShare),
		SeriesPerContainer: k.o.SeriesPerContainer, Log: k.o.Log.With("store", "metrics"),
	}); errors.Is(err, metricstore.ErrBudget) {
		return fmt.Errorf("metrics have %d %% of the budget: %w", metricShare, err)
	} else if err != nil {
		return err
	}
	if k.events, k.recovery.Events, err = eventstore.Open(eventstore.Options{
		Dir: filepath.Join(k.o.Dir, "events"), MaxBytes: share(k.o.MaxBytes, eventShare), MaxAge: k.o.Retention,
		Log: k.o.Log.With("store", "events"),
	}); err != nil {
		return err
	}
	if k.entities, k.recovery.Entities, err = entity.Open(entity.Options{Dir: k.o.Dir, MaxAge: k.o.EntityRetention}); err != nil {
		return err
	}
	view, err := k.serve()
	if err != nil {
		return err
	}
	return k.openCaptures(view)
}

func (k *Keeper) openCaptures(assets report.Assets) (err error) {
	k.engine, k.recovery.Captures, err = capture.Open(k.captureOptions(assets))
	if err != nil {
		return err
	}
	k.o.API.Captures = serveCaptures(k.engine)
	k.server, err = api.New(k.o.API)
	return err
}

// Start serves, and begins to take triggers. The context bounds opening only. After an
// error the keeper must be closed.
func (k *Keeper) Start(ctx context.Context) error {
	if err := k.server.Start(ctx); err != nil {
		return err
	}
	k.engine.Start()
	k.running.Go(k.run)
	return nil
}

// Addresses returns what is listened on, as URLs.
func (k *Keeper) Addresses() []string { return k.server.Addresses() }

// Warnings returns sentences about what works and should not stay so.
func (k *Keeper) Warnings() []string { return k.server.Warnings() }

// Capture makes a capture of the last minutes of the whole host.
func (k *Keeper) Capture(ctx context.Context, reason string) (id string, err error) {
	return k.engine.Manual(ctx, capture.Request{Reason: reason, Host: true})
}

// shutdownWithin bounds how long running answers may take at the end.
const shutdownWithin = 3 * time.Second

// Close ends everything and writes what is in memory. It is safe to call twice.
func (k *Keeper) Close() error {
	var errs []error
	k.stop()
	k.running.Wait()
	if k.server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), shutdownWithin)
		_ = k.server.Shutdown(ctx) // who is cut off then has had its time
		cancel()
		k.server = nil
	}
	if k.engine != nil {
		k.engine.Close()
	}
	if k.entities != nil {
		errs = append(errs, k.entities.Close())
	}
	if k.events != nil {
		errs = append(errs, k.events.Close())
	}
	if k.metrics != nil {
		errs = append(errs, k.metrics.Close())
	}
	if k.lock != nil {
		errs = append(errs, k.lock.Close())
		k.lock = nil
	}
	return errors.Join(errs...)
}

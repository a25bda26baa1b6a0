package browser_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/recorder/api"
	"github.com/tallymanhq/tallyman/internal/recorder/capture"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/state"
	"github.com/tallymanhq/tallyman/internal/recorder/entity"
	"github.com/tallymanhq/tallyman/internal/recorder/eventstore"
	"github.com/tallymanhq/tallyman/internal/recorder/evidence"
	"github.com/tallymanhq/tallyman/internal/recorder/live"
	"github.com/tallymanhq/tallyman/internal/recorder/metricstore"
	"github.com/tallymanhq/tallyman/internal/recorder/serve"
	"github.com/tallymanhq/tallyman/internal/recorder/web"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// within is how long anything may take that takes milliseconds, or for captures and
// pages a second or two, on an idle machine.
const within = 30 * time.Second

// stack is a recorder: stores, captures, API, web view. The pipeline in front of it
// is feed.
type stack struct {
	world    *world
	view     *web.View
	metrics  *metricstore.Store
	events   *eventstore.Store
	table    *entity.Table
	live     *live.Live
	captures *capture.Engine
	server   *api.Server
	url      string
	began    time.Time
	second   atomic.Int64 // the next one that is fed
}

// newStack opens empty stores and starts the captures. Everything is closed at the
// end of the test.
func newStack(t *testing.T, w *world) *stack {
	t.Helper()
	dir := t.TempDir()
	s := &stack{world: w, live: live.New(live.Options{}), began: time.Now()}
	var err error
	s.view, err = web.New()
	require.NoError(t, err)
	s.metrics, _, err = metricstore.Open(metricstore.Options{Dir: filepath.Join(dir, "raw")})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.metrics.Close()) })
	s.events, _, err = eventstore.Open(eventstore.Options{Dir: filepath.Join(dir, "events")})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.events.Close()) })
	s.table, _, err = entity.Open(entity.Options{Dir: dir})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.table.Close()) })
	s.captures, _, err = capture.Open(capture.Options{
		Dir:      filepath.Join(dir, "captures"),
		Host:     bundle.Host{Name: "host-7", Agent: "0.4.0"},
		Camera:   state.NewCamera(w.build(t)),
		Metrics:  evidence.Metrics(s.metrics),
		Events:   evidence.Events(s.events),
		Entities: evidence.Entities(s.table, s.live, s.metrics, s.events),
		Story:    evidence.Story(s.metrics, s.events),
		Assets:   s.view.Report(),
		Now:      s.now,
	})
	require.NoError(t, err)
	s.captures.Start()
	t.Cleanup(s.captures.Close)
	return s
}

// now is the clock of the captures: that of the world while its past is fed.
func (s *stack) now() time.Time {
	if second := s.second.Load(); second < past {
		return s.world.at(int(second))
	}
	return time.Now()
}

// feed takes one second as the exporter does.
func (s *stack) feed() {
	second := int(s.second.Load())
	md, ld := s.world.metrics(second), s.world.logs(second)
	s.captures.ObserveEvents(ld)
	if s.world.every == 0 || second%s.world.every == 0 {
		s.captures.ObserveMetrics(md)
		s.live.Observe(md)
		s.table.ObserveMetrics(md)
		s.metrics.Write(context.Background(), md)
	}
	s.table.ObserveLogs(ld)
	for _, h := range s.world.events {
		if h.second == second && h.name == "container.stop" {
			s.metrics.End(context.Background(), h.who.id, s.world.at(second))
			s.live.End(h.who.id, s.world.at(second))
		}
	}
	s.events.Append(ld)
	s.live.Tick(s.world.at(second))
	s.second.Add(1)
}

// run feeds the past, and from then on each second as it comes, until the test ends.
func (s *stack) run(t *testing.T) {
	t.Helper()
	for s.second.Load() < past {
		s.feed()
	}
	ctx, cancel := context.WithCancel(context.Background())
	var fed sync.WaitGroup
	fed.Go(func() {
		// Ten looks a second: a page sees each second when it is a tenth old at most.
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			for !s.world.at(int(s.second.Load())).After(time.Now()) {
				s.feed()
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		fed.Wait()
	})
}

// serve starts the API and the view on a free port of the loopback, or again on the
// port that it had.
func (s *stack) serve(t *testing.T) {
	t.Helper()
	endpoint := "127.0.0.1:0"
	if s.url != "" {
		endpoint = strings.TrimPrefix(s.url, "http://")
	}
	var err error
	s.server, err = api.New(s.options(endpoint))
	require.NoError(t, err)
	require.NoError(t, s.server.Start(t.Context()))
	s.url = s.server.Addresses()[0]
}

func (s *stack) options(endpoint string) api.Options {
	return api.Options{
		Endpoints: []string{endpoint},
		Engine:    s.metrics.Engine(),
		Queryable: s.metrics.Queryable(),
		Metadata:  serve.Metadata(s.metrics.Families),
		Live:      serve.Live(s.live),
		Entities:  serve.Entities(s.table),
		Events:    serve.Events(s.events),
		Captures:  serve.Captures(s.captures),
		Agent:     agent{s},
		Web:       s.view,
	}
}

// stop ends the server, as an agent that is updated does.
func (s *stack) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	require.NoError(t, s.server.Shutdown(ctx))
}

// ready waits for the capture of a container and returns it.
func (s *stack) ready(t *testing.T, container string) api.Capture {
	t.Helper()
	var found api.Capture
	testkit.Eventually(t, within, func() error {
		list := serve.Captures(s.captures).List()
		for _, c := range list {
			for _, trigger := range c.Triggers {
				if trigger.Container == container && c.State == api.CaptureReady {
					found = c
					return nil
				}
			}
		}
		return fmt.Errorf("no capture of %.12s among %v", container, list)
	})
	return found
}

// agent says what the process of the test would as an agent. Its own figures are made
// up where there is nothing to ask.
type agent struct{ s *stack }

func (a agent) Status() api.Status {
	return api.Status{Host: "host-7", Version: "0.4.0", Oldest: api.At(a.s.metrics.Stats().Oldest), Health: api.HealthOK, Messages: []string{}}
}

func (a agent) Agent() api.AgentStats {
	m, e, t := a.s.metrics.Stats(), a.s.events.Stats(), a.s.table.Stats()
	stats := api.AgentStats{
		Version: "0.4.0", Started: api.At(a.s.began), PID: os.Getpid(), CPUSeconds: 0.4, RSS: 118 * mib, Heap: 41 * mib, Goroutines: 96, Mode: string(m.Mode),
		Metrics:  api.MetricStats{Series: uint64(m.Series), Samples: m.Samples, SamplesPerSecond: float64(m.Series), Oldest: api.At(m.Oldest), Newest: api.At(m.Newest), Retention: 21600, Bytes: api.Counts{"blocks": uint64(m.Bytes.Blocks), "log": uint64(m.Bytes.Log), "head": uint64(m.Bytes.Head)}, Dropped: api.Counts{"series_limit": 0, "too_old": 0}},
		Events:   api.EventStats{Count: e.Stored, PerSecond: 0.03, Oldest: api.At(e.Oldest), Bytes: api.Counts{"segments": uint64(e.Bytes)}, Dropped: api.Counts{"disk": 0}},
		Entities: api.EntityStats{Running: t.Running, Ended: t.Ended, Broken: t.Broken, Bytes: uint64(t.FileBytes), Dropped: t.Dropped},
		Captures: api.CaptureStats{Count: len(serve.Captures(a.s.captures).List())},
		Queue:    api.QueueStats{Capacity: 1000, Dropped: api.Counts{"queue_full": 0}},
		Disk:     api.DiskStats{Budget: 512 * mib, Used: uint64(m.Bytes.Log + m.Bytes.Head + e.Bytes), Free: 14 * gib, Total: 40 * gib},
		Recovery: api.RecoveryStats{Took: 0.41, Samples: 120_000},
	}
	for _, n := range a.s.metrics.TopMetrics(12) {
		stats.TopMetrics = append(stats.TopMetrics, api.MetricsSeries{Name: n.Name, Series: uint64(n.Series)})
	}
	return stats
}

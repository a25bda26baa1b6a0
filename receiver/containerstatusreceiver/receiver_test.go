package containerstatusreceiver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tallymanhq/tallyman/internal/docker"
	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/containerstatusreceiver/internal/metadata"
	"github.com/tallymanhq/tallyman/receiver/containerstatusreceiver/internal/metadatatest"
)

// teller is a watcher whose handler the test calls, as the real one would.
type teller struct {
	mu        sync.Mutex
	endpoints []string
	handlers  []docker.Handler
}

func (w *teller) open(endpoint string) (watcher, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.endpoints = append(w.endpoints, endpoint)
	return w, nil
}

func (w *teller) Run(ctx context.Context, h docker.Handler) {
	w.mu.Lock()
	w.handlers = append(w.handlers, h)
	w.mu.Unlock()
	<-ctx.Done()
}

func (w *teller) Stats() docker.Stats { return docker.Stats{Malformed: 2, Errors: 3} }

// handler waits for the first Run and counts that there was no other.
func (w *teller) handler(t *testing.T) docker.Handler {
	t.Helper()
	var h docker.Handler
	testkit.Eventually(t, 30*time.Second, func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.handlers) == 0 {
			return errors.New("not running")
		}
		h = w.handlers[0]
		return nil
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	require.Len(t, w.handlers, 1)
	require.Len(t, w.endpoints, 1)
	return h
}

// statusHost keeps the states it is told.
type statusHost struct {
	component.Host
	extensions map[component.ID]component.Component
	mu         sync.Mutex
	told       []componentstatus.Status
}

func newStatusHost() *statusHost { return &statusHost{Host: componenttest.NewNopHost()} }

func (h *statusHost) GetExtensions() map[component.ID]component.Component { return h.extensions }

func (h *statusHost) Report(e *componentstatus.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.told = append(h.told, e.Status())
}

func (h *statusHost) states() []componentstatus.Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]componentstatus.Status{}, h.told...)
}

// rig is both instances of one receiver.
type rig struct {
	factory receiver.Factory
	set     receiver.Settings
	cfg     *Config
	host    *statusHost
	lines   *observer.ObservedLogs
	metrics receiver.Metrics
	logs    receiver.Logs
	sink    *consumertest.LogsSink
	points  *consumertest.MetricsSink
}

func newRig(t *testing.T, factory receiver.Factory, next consumer.Logs) *rig {
	t.Helper()
	r := &rig{
		factory: factory, set: receivertest.NewNopSettings(metadata.Type), cfg: defaultConfig(),
		host: newStatusHost(), sink: new(consumertest.LogsSink), points: new(consumertest.MetricsSink),
	}
	if next == nil {
		next = r.sink
	}
	core, lines := observer.New(zap.InfoLevel)
	r.set.Logger, r.lines = zap.New(core), lines
	r.cfg.Endpoint = "unix:///nowhere/docker.sock"
	r.cfg.CollectionInterval, r.cfg.InitialDelay = 20*time.Millisecond, 0
	var err error
	r.metrics, err = factory.CreateMetrics(t.Context(), r.set, r.cfg, r.points)
	require.NoError(t, err)
	r.logs, err = factory.CreateLogs(t.Context(), r.set, r.cfg, next)
	require.NoError(t, err)
	return r
}

func (r *rig) start(t *testing.T) {
	t.Helper()
	for _, c := range []component.Component{r.metrics, r.logs} {
		require.NoError(t, c.Start(t.Context(), r.host))
		t.Cleanup(func() { require.NoError(t, c.Shutdown(context.Background())) })
	}
}

func (r *rig) messages() []string {
	var list []string
	for _, l := range r.lines.All() {
		list = append(list, l.Level.String()+": "+l.Message)
	}
	return list
}

var startEvent = docker.Event{Type: "container", Action: "start", ID: idA, Name: "web", Time: epoch}

func TestBothInstancesShareOneWatcher(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	w := new(teller)
	r := newRig(t, newFactory(w.open), nil)
	require.NoError(t, r.metrics.Start(t.Context(), r.host))
	h := w.handler(t)
	h.Connected(docker.Engine{Runtime: "docker"})
	h.Put(running(idA, "", 0))
	h.Event(startEvent) // before the logs instance is started: not lost
	h.Synced()
	require.NoError(t, r.logs.Start(t.Context(), r.host))
	w.handler(t)
	testkit.Eventually(t, 30*time.Second, func() error {
		if r.sink.LogRecordCount() == 0 || r.points.DataPointCount() == 0 {
			return errors.New("no event or no metric yet")
		}
		return nil
	})
	// One may go on alone.
	require.NoError(t, r.metrics.Shutdown(t.Context()))
	h.Event(startEvent)
	testkit.Eventually(t, 30*time.Second, func() error {
		if r.sink.LogRecordCount() != 2 {
			return errors.New("no second event yet")
		}
		return nil
	})
	require.NoError(t, r.logs.Shutdown(t.Context()))
	require.NoError(t, r.logs.Shutdown(t.Context()))
}

// What was heard is handed on before Shutdown returns.
func TestShutdownHandsOnWhatIsQueued(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	w := new(teller)
	r := newRig(t, newFactory(w.open), nil)
	r.start(t)
	h := w.handler(t)
	h.Connected(docker.Engine{})
	h.Synced()
	const events = 3000 // three batches
	for range events {
		h.Event(startEvent)
	}
	require.NoError(t, r.logs.Shutdown(t.Context()))
	require.Equal(t, events, r.sink.LogRecordCount())
}

// A consumer that hangs holds nobody up, and what it does not take is counted.
func TestSlowAndRefusingConsumer(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	telemetry := componenttest.NewTelemetry()
	t.Cleanup(func() { require.NoError(t, telemetry.Shutdown(context.Background())) })
	entered := make(chan struct{})
	next, err := consumer.NewLogs(func(ctx context.Context, _ plog.Logs) error {
		select {
		case entered <- struct{}{}:
		case <-ctx.Done():
		}
		<-ctx.Done()
		return ctx.Err()
	})
	require.NoError(t, err)
	w := new(teller)
	factory := newFactory(w.open)
	set := receivertest.NewNopSettings(metadata.Type)
	set.TelemetrySettings = telemetry.NewTelemetrySettings()
	logs, err := factory.CreateLogs(t.Context(), set, defaultConfig(), next)
	require.NoError(t, err)
	require.NoError(t, logs.Start(t.Context(), componenttest.NewNopHost()))
	h := w.handler(t)
	h.Connected(docker.Engine{})
	h.Synced()
	h.Event(startEvent)
	<-entered // it has that one, and keeps it
	for range maxQueued + 7 {
		h.Event(startEvent)
	}
	require.Equal(t, int64(7), dropped(t, telemetry, "queue_full"))
	require.Equal(t, int64(2), dropped(t, telemetry, "malformed"))
	metadatatest.AssertEqualContainerStatusConnected(t, telemetry, one(1), metricdatatest.IgnoreTimestamp())
	metadatatest.AssertEqualContainerStatusQuestionErrors(t, telemetry, one(3), metricdatatest.IgnoreTimestamp())
	metadatatest.AssertEqualContainerStatusEvents(t, telemetry, one(maxQueued+8), metricdatatest.IgnoreTimestamp())
	l := logs.(*logsReceiver)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	require.NoError(t, logs.Shutdown(ended))
	require.EqualValues(t, 1, l.drops.Refused.Load())
	require.EqualValues(t, maxQueued, l.drops.Abandoned.Load())
}

func one(v int64) []metricdata.DataPoint[int64] { return []metricdata.DataPoint[int64]{{Value: v}} }

func dropped(t *testing.T, telemetry *componenttest.Telemetry, reason string) int64 {
	t.Helper()
	m, err := telemetry.GetMetric("otelcol_container_status_dropped")
	require.NoError(t, err)
	for _, p := range m.Data.(metricdata.Sum[int64]).DataPoints {
		if got, _ := p.Attributes.Value("reason"); got.AsString() == reason {
			return p.Value
		}
	}
	t.Fatalf("no reason %q", reason)
	return 0
}

func TestRefusalIsLoggedOnceAndCounted(t *testing.T) {
	l := newTestLogs(t, defaultConfig())
	core, lines := observer.New(zap.InfoLevel)
	l.set.Logger = zap.New(core)
	l.next = consumertest.NewErr(errors.New("no room"))
	for range 3 {
		l.handOn(t.Context(), items(everyKind()))
	}
	require.EqualValues(t, 3*len(everyKind()), l.drops.Refused.Load())
	require.Equal(t, 1, lines.Len())
}

func TestStatusAndLogOfAnOutage(t *testing.T) {
	w := new(teller)
	r := newRig(t, newFactory(w.open), nil)
	// The socket is there, so an engine is expected to answer.
	r.cfg.Endpoint = "unix://" + filepath.Join(t.TempDir(), "docker.sock")
	require.NoError(t, os.WriteFile(r.cfg.Endpoint[len("unix://"):], nil, 0o600))
	r.start(t)
	h := w.handler(t)
	away := errors.New("connection refused")
	h.Disconnected(away)
	h.Disconnected(away)
	h.Connected(docker.Engine{Runtime: "docker"})
	h.Synced()
	h.Disconnected(away)
	h.Connected(docker.Engine{Runtime: "docker"})
	h.Synced()
	h.Event(startEvent) // it happened long ago
	testkit.Eventually(t, 30*time.Second, func() error {
		if n := r.lines.Len(); n < 4 {
			return fmt.Errorf("%d lines", n)
		}
		return nil
	})
	require.Equal(t, []string{
		"warn: the container engine does not answer; trying again",
		"info: the container engine answers now",
		"warn: the container engine does not answer; trying again",
		"info: the container engine answers again",
	}, r.messages())
	last := r.lines.All()[3].ContextMap()
	require.EqualValues(t, 1, last["events_recovered"])
	require.Contains(t, last, "after")
	const ok, bad = componentstatus.StatusOK, componentstatus.StatusRecoverableError
	require.Equal(t, []componentstatus.Status{bad, bad, ok, ok, bad, bad, ok, ok}, r.host.states(), "each instance reports")
}

// No engine on a host is nothing to warn of.
func TestHostWithoutEngine(t *testing.T) {
	w := new(teller)
	r := newRig(t, newFactory(w.open), nil)
	r.cfg.Endpoint = "unix://" + filepath.Join(t.TempDir(), "docker.sock")
	r.start(t)
	h := w.handler(t)
	h.Disconnected(errors.New("no such file"))
	require.Equal(t, []string{"info: no container engine answers; its containers are seen as soon as one does"}, r.messages())
	require.Empty(t, r.host.states())
	h.Connected(docker.Engine{})
	h.Synced()
	require.Len(t, r.messages(), 2)
	// Once one was there, its absence is an outage.
	h.Disconnected(errors.New("no such file"))
	require.Equal(t, "warn: the container engine does not answer; trying again", r.messages()[2])
}

// filterExtension is what docker_filter offers.
type filterExtension struct {
	component.StartFunc
	component.ShutdownFunc
}

func (filterExtension) DockerEndpoint() string       { return "unix:///run/filtered.sock" }
func (filterExtension) AllowAgentEnv([]string) error { return nil }

func TestWhichEndpointIsAsked(t *testing.T) {
	f := func(configured string, extensions map[component.ID]component.Component, want string, lines int) {
		t.Helper()
		w := new(teller)
		r := newRig(t, newFactory(w.open), nil)
		r.cfg.Endpoint, r.host.extensions = configured, extensions
		r.start(t)
		w.handler(t)
		require.Equal(t, []string{want}, w.endpoints)
		require.Equal(t, lines, r.lines.Len(), r.messages())
	}
	filter := map[component.ID]component.Component{component.MustNewID("docker_filter"): filterExtension{}}
	f("", filter, "unix:///run/filtered.sock", 0)
	warnings := 1
	if docker.SocketMissing(docker.DefaultEndpoint) {
		warnings = 0 // there is nothing to warn of
	}
	f("", nil, docker.DefaultEndpoint, warnings)
	f("unix:///mine.sock", filter, "unix:///mine.sock", 0)
}

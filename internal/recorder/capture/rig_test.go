package capture_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tallymanhq/tallyman/internal/recorder/capture"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/state"
)

// The containers of the tests.
const (
	workerID = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	apiID    = "1b4f0e9851971998e732078544c96b36c3d01cedf7caa332359d6f1d83567014"
	dbID     = "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"
)

// Those who tell of containers.
const (
	kernelScope   = "github.com/tallymanhq/tallyman/receiver/cgroupreceiver"
	engineScope   = "github.com/tallymanhq/tallyman/receiver/containerstatusreceiver"
	strangerScope = "some.application"
)

// store is one that writes what it was asked, and knows what it holds.
type store struct {
	mu   sync.Mutex
	held map[int]bundle.Window
	next int
	cuts []capture.CutRequest
	fail error
	// oldest is of what it keeps.
	oldest time.Time
	// gate, if there is one, is what a cut waits for, and pinGate a pin.
	gate, pinGate chan struct{}
}

// Pin implements [capture.Store].
func (s *store) Pin(from, to time.Time) (release func()) {
	if s.pinGate != nil {
		<-s.pinGate
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil {
		s.held = map[int]bundle.Window{}
	}
	id := s.next
	s.next++
	s.held[id] = bundle.Window{From: from, To: to}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.held, id)
	}
}

// Cut implements [capture.Store].
func (s *store) Cut(_ context.Context, r capture.CutRequest) (capture.CutResult, error) {
	if s.gate != nil {
		<-s.gate
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cuts = append(s.cuts, r)
	if s.fail != nil {
		return capture.CutResult{}, s.fail
	}
	err := os.WriteFile(filepath.Join(r.Dir, "data"), []byte(r.Window.To.Format(time.RFC3339)), 0o600)
	return capture.CutResult{Drops: map[string]uint64{"too_old": 2}}, err
}

// Oldest implements [capture.Store].
func (s *store) Oldest() time.Time { return s.oldest }

func (s *store) windows() []bundle.Window {
	s.mu.Lock()
	defer s.mu.Unlock()
	var windows []bundle.Window
	for _, w := range s.held {
		windows = append(windows, w)
	}
	return windows
}

// camera counts its pictures.
type camera struct {
	mu    sync.Mutex
	taken []state.Request
	shows func(r state.Request) *state.Snapshot
}

// Take implements [capture.Camera].
func (c *camera) Take(_ context.Context, r state.Request) *state.Snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taken = append(c.taken, r)
	if c.shows != nil {
		return c.shows(r)
	}
	return &state.Snapshot{Container: r.Container, At: time.Now(), Cgroup: map[string]string{"memory.events": "oom_kill 1\n"}}
}

func (c *camera) requests() []state.Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.taken
}

// of are the pictures of one container; the engine asks for the host's at the cut.
func (c *camera) of(container string) []state.Request {
	return slices.DeleteFunc(slices.Clone(c.requests()), func(r state.Request) bool { return r.Container != container })
}

// entities knows worker and db of the project shop; api stands alone.
type entities struct{}

// Lookup implements [capture.Entities].
func (entities) Lookup(id string) (capture.Entity, bool) {
	known := map[string]bundle.Container{
		workerID: {ID: workerID, Name: "worker", Service: "worker", Project: "shop"},
		dbID:     {ID: dbID, Name: "db", Service: "db", Project: "shop"},
		apiID:    {ID: apiID, Name: "api", Service: "api"},
	}
	c, ok := known[id]
	return capture.Entity{Container: c, Tags: map[string]string{"team": "blue"}}, ok
}

// Find implements [capture.Entities]: worker by its name, all by their ids.
func (e entities) Find(text string, _ bundle.Window) (string, error) {
	if _, ok := e.Lookup(text); ok {
		return text, nil
	}
	if text == "worker" {
		return workerID, nil
	}
	return "", fmt.Errorf("%w: %q", capture.ErrUnknown, text)
}

// Around implements [capture.Entities]. What matters on the host is the api.
func (entities) Around(id string, _ bundle.Window) []string {
	switch id {
	case workerID:
		return []string{dbID}
	case "":
		return []string{apiID}
	}
	return nil
}

// Write implements [capture.Entities].
func (e entities) Write(to io.Writer, w bundle.Window, keep func(string) bool) error {
	for _, id := range []string{workerID, apiID, dbID} {
		if !keep(id) {
			continue
		}
		if _, err := fmt.Fprintf(to, `{"entity":{"id":%q,"last_seen":%q,"tags":{"db.password":"hunter2"}}}`+"\n", id, w.To.Format(time.RFC3339)); err != nil {
			return err
		}
	}
	return nil
}

// rig is an engine on a clock that the test moves.
type rig struct {
	t               *testing.T
	dir             string
	engine          *capture.Engine
	recovery        capture.Recovery
	metrics, events *store
	camera          *camera
	done            []capture.Capture
	failed          []capture.Failure
	options         capture.Options
	// ahead is by how much the engine's clock is ahead of the bubble's.
	ahead atomic.Int64
	// project is what containers say to be part of, scope who sends what is told.
	project, scope string
}

// inBubble runs a test with a clock of its own.
func inBubble(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, dir: dir, metrics: &store{}, events: &store{}, camera: &camera{}, project: "shop", scope: kernelScope}
		r.options = capture.Options{
			Dir: dir, Host: bundle.Host{Name: "host-7"}, Camera: r.camera, Metrics: r.metrics, Events: r.events,
			Entities: entities{},
			Now:      func() time.Time { return time.Now().Add(time.Duration(r.ahead.Load())) },
			Done:     func(c capture.Capture) { r.done = append(r.done, c) },
			Failed:   func(f capture.Failure) { r.failed = append(r.failed, f) },
		}
		t.Cleanup(func() {
			if r.engine != nil {
				r.engine.Close()
			}
		})
		f(t, r)
	})
}

func (r *rig) start() {
	r.t.Helper()
	var err error
	r.engine, r.recovery, err = capture.Open(r.options)
	require.NoError(r.t, err)
	r.engine.Start()
	synctest.Wait()
}

// restart ends the engine as a crash does, as far as files go: nothing is
// written at the end.
func (r *rig) restart() {
	r.t.Helper()
	r.engine.Close()
	r.start()
}

// pass lets time go by. In a bubble that takes none.
func (r *rig) pass(d time.Duration) {
	// What the test has looked at comes before what the engine does next: a timer
	// alone does not say so to the race detector, the clock does.
	r.ahead.Add(0)
	<-time.After(d)
	synctest.Wait()
}

// tell sends one log record about a container.
func (r *rig) tell(event, id string, attributes map[string]any) {
	r.t.Helper()
	logs := plog.NewLogs()
	resource := logs.ResourceLogs().AppendEmpty()
	if id != "" {
		resource.Resource().Attributes().PutStr("container.id", id)
	}
	if r.project != "" {
		resource.Resource().Attributes().PutStr("docker.compose.project", r.project)
	}
	scope := resource.ScopeLogs().AppendEmpty()
	scope.Scope().SetName(r.scope)
	record := scope.LogRecords().AppendEmpty()
	record.SetEventName(event)
	record.SetTimestamp(pcommon.NewTimestampFromTime(time.Now()))
	record.Body().SetStr("Something happened.")
	require.NoError(r.t, record.Attributes().FromRaw(attributes))
	r.engine.ObserveEvents(logs)
	synctest.Wait()
}

// use sends one sample of a container's memory utilization.
func (r *rig) use(id string, share float64) {
	metrics := pmetric.NewMetrics()
	resource := metrics.ResourceMetrics().AppendEmpty()
	resource.Resource().Attributes().PutStr("container.id", id)
	scope := resource.ScopeMetrics().AppendEmpty()
	scope.Scope().SetName(r.scope)
	metric := scope.Metrics().AppendEmpty()
	metric.SetName("container.memory.utilization")
	metric.SetEmptyGauge().DataPoints().AppendEmpty().SetDoubleValue(share)
	r.engine.ObserveMetrics(metrics)
	synctest.Wait()
}

// now is the time of the bubble as captures write it.
func now() time.Time { return time.Now().UTC().Round(0) }

// kinds are those of the triggers of a capture.
func kinds(m *bundle.Manifest) []string {
	var out []string
	for _, trigger := range m.Triggers {
		out = append(out, trigger.Kind)
	}
	return out
}

var errStore = errors.New("disk on fire")

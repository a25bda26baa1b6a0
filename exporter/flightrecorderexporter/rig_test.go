package flightrecorderexporter

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/tallymanhq/tallyman/exporter/flightrecorderexporter/internal/metadata"
	"github.com/tallymanhq/tallyman/internal/recorder"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// within is how long anything may take that takes microseconds on an idle machine.
const within = 20 * time.Second

// sink is a recorder that writes down what comes. It stands for the extension, which
// is another component.
type sink struct {
	component.StartFunc
	component.ShutdownFunc
	// entered tells of each batch before it is taken, gate lets it be taken; nil does
	// neither.
	entered, gate chan struct{}

	mu     sync.Mutex
	bodies []string // of the logs
	points int
	spans  int
	queues map[string]func() recorder.Queue
}

// WatchQueue keeps what it is given.
func (s *sink) WatchQueue(signal string, read func() recorder.Queue) (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queues == nil {
		s.queues = map[string]func() recorder.Queue{}
	}
	s.queues[signal] = read
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.queues, signal)
	}
}

// queue returns that of the logs.
func (s *sink) queue() recorder.Queue {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queues["logs"]()
}

func (s *sink) pass() {
	if s.gate != nil {
		s.entered <- struct{}{}
		<-s.gate
	}
}

// Metrics counts.
func (s *sink) Metrics(md pmetric.Metrics) {
	s.pass()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.points += md.DataPointCount()
}

// Logs keeps the bodies in their order.
func (s *sink) Logs(ld plog.Logs) {
	s.pass()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range ld.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().All() {
		s.bodies = append(s.bodies, r.Body().Str())
	}
}

// Traces counts.
func (s *sink) Traces(td ptrace.Traces) {
	s.pass()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spans += td.SpanCount()
}

func (s *sink) logs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.bodies...)
}

// host has extensions.
type host map[component.ID]component.Component

// GetExtensions returns them.
func (h host) GetExtensions() map[component.ID]component.Component { return h }

// newTestHost is for the generated tests.
func newTestHost() component.Host { return hostOf(&sink{}) }

func hostOf(s *sink) host { return host{component.NewID(metadata.Type): s} }

func settings() exporter.Settings { return exportertest.NewNopSettings(metadata.Type) }

// newLogs returns an exporter that is not started, with room for so many records.
func newLogs(t testing.TB, queue int) logsExporter {
	t.Helper()
	made, err := createLogs(t.Context(), settings(), &Config{Queue: queue})
	require.NoError(t, err)
	return made.(logsExporter)
}

func start(t testing.TB, c component.Component, s *sink) {
	t.Helper()
	require.NoError(t, c.Start(t.Context(), hostOf(s)))
}

func stop(t testing.TB, c component.Component) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	require.NoError(t, c.Shutdown(ctx))
}

func consume(t testing.TB, e logsExporter, ld plog.Logs) {
	t.Helper()
	require.NoError(t, e.ConsumeLogs(t.Context(), ld))
}

// records returns one batch with these bodies.
func records(bodies ...string) plog.Logs {
	ld := plog.NewLogs()
	list := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	for _, body := range bodies {
		list.AppendEmpty().Body().SetStr(body)
	}
	return ld
}

// numbered returns the bodies from a number on.
func numbered(from, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprint(from + i)
	}
	return all
}

// comes waits for a message.
func comes(t testing.TB, from <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-from:
	case <-time.After(within):
		t.Fatalf("no %s within %v", what, within)
	}
}

func eventually(t testing.TB, condition func() bool, what string) {
	t.Helper()
	testkit.Eventually(t, within, func() error {
		if condition() {
			return nil
		}
		return fmt.Errorf("not yet: %s", what)
	})
}

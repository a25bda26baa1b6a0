package flightrecorderexporter

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/tallymanhq/tallyman/exporter/flightrecorderexporter/internal/metadata"
	"github.com/tallymanhq/tallyman/internal/recorder"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// TestHandsOn has each signal arrive, of data that somebody else reads, too.
func TestHandsOn(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	s := &sink{}
	factory := NewFactory()
	cfg := factory.CreateDefaultConfig()
	metrics, err := factory.CreateMetrics(t.Context(), settings(), cfg)
	require.NoError(t, err)
	logs, err := factory.CreateLogs(t.Context(), settings(), cfg)
	require.NoError(t, err)
	traces, err := factory.CreateTraces(t.Context(), settings(), cfg)
	require.NoError(t, err)
	all := []component.Component{metrics, logs, traces}
	for _, c := range all {
		start(t, c, s)
	}
	md, ld, td := pmetric.NewMetrics(), records("a", "b"), ptrace.NewTraces()
	md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty().SetEmptyGauge().DataPoints().AppendEmpty()
	td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	md.MarkReadOnly()
	ld.MarkReadOnly()
	td.MarkReadOnly()
	require.False(t, metrics.Capabilities().MutatesData || logs.Capabilities().MutatesData || traces.Capabilities().MutatesData)
	require.NoError(t, metrics.ConsumeMetrics(t.Context(), md))
	require.NoError(t, logs.ConsumeLogs(t.Context(), ld))
	require.NoError(t, traces.ConsumeTraces(t.Context(), td))
	require.Len(t, s.queues, 3)
	for _, c := range all {
		stop(t, c)
		stop(t, c)
	}
	require.Empty(t, s.queues, "the recorder still reads queues that are gone")
	require.Equal(t, []string{"a", "b"}, s.bodies)
	require.Equal(t, 1, s.points)
	require.Equal(t, 1, s.spans)
}

// TestKeepsOrder has one pipeline and a recorder that is as fast.
func TestKeepsOrder(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	s := &sink{}
	e := newLogs(t, 100_000)
	start(t, e, s)
	want := numbered(0, 10_000)
	for chunk := range slices.Chunk(want, 7) {
		consume(t, e, records(chunk...))
	}
	stop(t, e)
	require.Equal(t, want, s.bodies)
	require.Equal(t, counts{taken: 10_000}, e.queue.stats())
}

// TestWakes has a recorder with nothing to do, again and again.
func TestWakes(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	s := &sink{}
	e := newLogs(t, 10)
	start(t, e, s)
	for i := range 50 {
		consume(t, e, records("x"))
		eventually(t, func() bool { return len(s.logs()) == i+1 }, "it is taken, with no other behind it")
	}
	stop(t, e)
}

// TestDropsOldest has a recorder that takes nothing: pipelines go on, the newest is
// kept, and what is lost is counted to the record.
func TestDropsOldest(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	s := &sink{entered: make(chan struct{}, 100), gate: make(chan struct{})}
	e := newLogs(t, 10)
	start(t, e, s)
	consume(t, e, records("in hand"))
	comes(t, s.entered, "first batch")
	for i := range 25 { // 0..74, three at once: three batches fit
		consume(t, e, records(numbered(3*i, 3)...))
	}
	require.Equal(t, counts{waiting: 9, taken: 1, full: 66}, e.queue.stats())
	require.Equal(t, recorder.Queue{Waiting: 9, Limit: 10, Dropped: 66}, s.queue(), "what the recorder shows")
	require.Equal(t, []string{}, s.logs(), "something got past the gate")
	close(s.gate)
	stop(t, e)
	require.Equal(t, append([]string{"in hand"}, numbered(66, 9)...), s.bodies)
	require.Equal(t, counts{taken: 10, full: 66}, e.queue.stats())
}

// TestLargerThanQueue keeps such a batch alone, until a newer one comes.
func TestLargerThanQueue(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	s := &sink{}
	e := newLogs(t, 10)
	consume(t, e, records(numbered(0, 4)...))
	consume(t, e, records(numbered(4, 50)...))
	require.Equal(t, counts{waiting: 50, full: 4}, e.queue.stats())
	start(t, e, s)
	eventually(t, func() bool { return len(s.logs()) == 50 }, "the large one is taken")
	stop(t, e)
	require.Equal(t, numbered(4, 50), s.bodies)

	e = newLogs(t, 10)
	consume(t, e, records(numbered(0, 50)...))
	consume(t, e, records("next"))
	require.Equal(t, counts{waiting: 1, full: 50}, e.queue.stats())
	stop(t, e)
}

// TestCountsSize has few records that are large: the queue bounds memory.
func TestCountsSize(t *testing.T) {
	e := newLogs(t, 100)
	large := strings.Repeat("x", 20*itemBytes)
	for range 10 {
		consume(t, e, records(large))
	}
	require.Equal(t, counts{waiting: 4, full: 6}, e.queue.stats(), "each weighs 20 and the rest of its message")
	for range 10 {
		consume(t, e, plog.NewLogs())
	}
	require.Len(t, e.queue.waiting[e.queue.head:], 4, "empty batches wait, and any number of them would")
	stop(t, e)
}

// TestNeverHoldsUp has many pipelines and a recorder that hangs.
func TestNeverHoldsUp(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	s := &sink{entered: make(chan struct{}, 1), gate: make(chan struct{})}
	e := newLogs(t, 100)
	start(t, e, s)
	done := make(chan struct{})
	go func() {
		defer close(done)
		var pipelines sync.WaitGroup
		for range 8 {
			pipelines.Go(func() {
				for i := range 1000 {
					_ = e.ConsumeLogs(context.Background(), records(numbered(i, 2)...)) // it has none
				}
			})
		}
		pipelines.Wait()
	}()
	comes(t, done, "end of the pipelines")
	comes(t, s.entered, "first batch")
	stats := e.queue.stats()
	require.EqualValues(t, 16_000, uint64(stats.waiting)+stats.taken+stats.full)
	require.LessOrEqual(t, stats.waiting, 100)
	go func() { // the rest waits for its turn
		for range s.entered {
		}
	}()
	close(s.gate)
	stop(t, e)
	close(s.entered)
	stats = e.queue.stats()
	require.EqualValues(t, 16_000, stats.taken+stats.full)
	require.EqualValues(t, stats.taken, len(s.bodies))
}

// TestShutdownHandsOn finds what came before.
func TestShutdownHandsOn(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	s := &sink{entered: make(chan struct{}, 100), gate: make(chan struct{})}
	e := newLogs(t, 100)
	start(t, e, s)
	for i := range 20 {
		consume(t, e, records(numbered(i, 1)...))
	}
	comes(t, s.entered, "first batch")
	ended := make(chan error, 1)
	go func() { ended <- e.Shutdown(context.Background()) }()
	eventually(t, func() bool { e.queue.mu.Lock(); defer e.queue.mu.Unlock(); return e.queue.closed }, "it is closed")
	require.Empty(t, ended, "it did not wait")
	close(s.gate)
	require.NoError(t, <-ended)
	require.Equal(t, numbered(0, 20), s.bodies)
	stop(t, e)
	require.Equal(t, counts{taken: 20}, e.queue.stats())
}

// TestShutdownInTime gives up on a recorder that hangs, and says what is lost.
func TestShutdownInTime(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	s := &sink{entered: make(chan struct{}, 100), gate: make(chan struct{})}
	e := newLogs(t, 100)
	start(t, e, s)
	for i := range 5 {
		consume(t, e, records(numbered(i, 1)...))
	}
	comes(t, s.entered, "first batch")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, e.Shutdown(ctx), context.Canceled)
	require.Equal(t, counts{taken: 1, stopped: 4}, e.queue.stats())
	close(s.gate)
	comes(t, e.ended, "end of the goroutine")
	require.Equal(t, []string{"0"}, s.logs())
}

// TestBeforeAndAfter: what comes before Start waits for it, what comes after Shutdown
// is dropped and counted.
func TestBeforeAndAfter(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	s := &sink{}
	e := newLogs(t, 100)
	consume(t, e, records("before"))
	start(t, e, s)
	consume(t, e, records("between"))
	stop(t, e)
	consume(t, e, records("after", "after"))
	require.Equal(t, []string{"before", "between"}, s.bodies)
	require.Equal(t, counts{taken: 2, stopped: 2}, e.queue.stats())
	require.Empty(t, e.queue.waiting)

	never := newLogs(t, 100)
	consume(t, never, records("a", "b", "c"))
	stop(t, never)
	stop(t, never)
	require.Equal(t, counts{stopped: 3}, never.queue.stats())
}

// other is an extension that is no recorder.
type other struct {
	component.StartFunc
	component.ShutdownFunc
}

// TestFindsRecorder looks among the extensions.
func TestFindsRecorder(t *testing.T) {
	first, second := &sink{}, &sink{}
	named := component.NewIDWithName(metadata.Type, "second")
	docker := component.MustNewID("docker_filter")
	one := host{docker: other{}, component.NewID(metadata.Type): first}
	two := host{docker: other{}, component.NewID(metadata.Type): first, named: second}
	f := func(wanted component.ID, h host, want *sink) {
		t.Helper()
		got, err := findSink(wanted, h)
		require.NoError(t, err)
		require.Same(t, want, got)
	}
	f(component.ID{}, one, first)
	f(component.NewID(metadata.Type), two, first)
	f(named, two, second)

	fails := func(wanted component.ID, h host, text string) {
		t.Helper()
		e, err := createMetrics(t.Context(), settings(), &Config{Extension: wanted, Queue: 1})
		require.NoError(t, err)
		require.EqualError(t, e.Start(t.Context(), h), "extension: "+text)
		require.NoError(t, e.Shutdown(t.Context()))
	}
	fails(component.ID{}, nil, "no flight_recorder is configured, or it is not in service::extensions")
	fails(component.ID{}, host{docker: other{}}, "no flight_recorder is configured, or it is not in service::extensions")
	fails(component.ID{}, two, "several flight_recorder extensions are configured: name one")
	fails(named, one, `"flight_recorder/second" is no flight_recorder, or is not in service::extensions`)
	fails(docker, one, `"docker_filter" is no flight_recorder, or is not in service::extensions`)
}

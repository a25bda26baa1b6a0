package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

var errTest = errors.New("refused on purpose")

func TestFlags(t *testing.T) {
	o, err := parseFlags([]string{"-duration", "10m", "-lap", "30s"})
	require.NoError(t, err)
	require.Equal(t, 20, o.laps())
	f := func(want string, args ...string) {
		t.Helper()
		_, err := parseFlags(args)
		require.ErrorContains(t, err, want)
	}
	f("-duration", "-duration", "7m")
	f("-lap", "-lap", "3s")
	f("rates", "-named", "0")
	f("rates", "-connections", "-1")
}

// Only calm samples count, and a lap without any is an error.
func TestSamplesOfLaps(t *testing.T) {
	value, fails := 0.0, false
	s := &samples{begun: time.Now()}
	s.look = func(context.Context) (map[string]float64, error) {
		if fails {
			return nil, errTest
		}
		return map[string]float64{"threads": value}, nil
	}
	for lap := range 3 {
		s.enter(phase{lap: lap})
		value = 1000
		s.take(t.Context())
		s.enter(phase{lap: lap, calm: true})
		for _, value = range []float64{1, 9, 5} {
			value += 10 * float64(lap)
			s.take(t.Context())
		}
	}
	laps, err := s.laps("threads", 3)
	require.NoError(t, err)
	require.Equal(t, []float64{5, 15, 25}, laps)
	require.InDelta(t, 25, s.last()["threads"], 0)

	fails = true
	s.enter(phase{lap: 3, calm: true})
	s.take(t.Context())
	_, err = s.laps("threads", 4)
	require.ErrorIs(t, err, errTest)
	require.ErrorContains(t, err, "lap 4")

	path := filepath.Join(t.TempDir(), "samples.tsv")
	require.NoError(t, s.write(path))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Len(t, strings.Split(strings.TrimSpace(string(text)), "\n"), 1+12)
}

// A look that spans the end of a phase is of neither.
func TestSampleAcrossPhases(t *testing.T) {
	s := &samples{begun: time.Now()}
	s.look = func(context.Context) (map[string]float64, error) {
		s.enter(phase{lap: 1})
		return map[string]float64{"threads": 1}, nil
	}
	s.enter(phase{lap: 0, calm: true})
	s.take(t.Context())
	_, err := s.laps("threads", 1)
	require.ErrorContains(t, err, "lap 1")
}

func TestLoadCounts(t *testing.T) {
	const enough = 50
	var calls atomic.Int64
	l := &load{name: "test", perSecond: 1000, workers: 2, once: func(_ context.Context, n int64) error {
		calls.Add(1)
		if n%2 == 1 {
			return errTest
		}
		return nil
	}}
	stop := start(t.Context(), []*load{l, {name: "none"}})
	testkit.Eventually(t, startWithin, func() error {
		if l.done.Load() < enough || l.refused.Load() < enough {
			return errTest
		}
		return nil
	})
	stop()
	require.Equal(t, calls.Load(), l.done.Load()+l.refused.Load())
	require.ErrorIs(t, *l.first.Load(), errTest)
	var out strings.Builder
	printLoads(&out, []*load{l}, time.Second)
	require.Contains(t, out.String(), errTest.Error())
}

// A run without its loads says nothing, and does not pass.
func TestLoadsAreNeeded(t *testing.T) {
	const seconds = 100
	none, little, enough := &load{name: "none"}, &load{name: "little", perSecond: 50}, &load{name: "enough", perSecond: 50}
	little.done.Store(seconds * 4)
	enough.done.Store(seconds * 5)
	require.NoError(t, borne([]*load{none, enough}, seconds*time.Second))
	err := borne([]*load{none, little, enough}, seconds*time.Second)
	require.ErrorIs(t, err, errIdle)
	require.ErrorContains(t, err, "little: 4.0 of 50 per second")
	require.NotContains(t, err.Error(), "enough:")
}

// What the end of a run interrupts is no refusal.
func TestLoadEnds(t *testing.T) {
	begun := make(chan struct{}, 1)
	l := &load{perSecond: 1000, workers: 1, once: func(ctx context.Context, _ int64) error {
		begun <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}}
	stop := start(t.Context(), []*load{l})
	<-begun
	go func() {
		for range begun { // those that were due already
		}
	}()
	stop()
	close(begun)
	require.Zero(t, l.refused.Load())
	require.Zero(t, l.done.Load())
}

// The server answers each connection, and ends with all of them.
func TestConnections(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	c, err := newConnections(func() string { return "" })
	require.NoError(t, err)
	for n := range int64(2 * byContainer) {
		require.NoError(t, c.once(t.Context(), n))
	}
	require.NoError(t, c.close())
	require.Error(t, c.once(t.Context(), 0))
}

func TestStatsdDatagrams(t *testing.T) {
	s := newStatsd(filepath.Join(t.TempDir(), "none"))
	first := strings.Split(strings.TrimSpace(string(s.datagram(3, 0))), "\n")
	require.Len(t, first, messages+1)
	require.Equal(t, "soak.once.0:1|c", first[0])
	require.Equal(t, "soak.metric.1:1|g|#client:3,env:production", first[1])
	require.Len(t, strings.Split(strings.TrimSpace(string(s.datagram(3, 1))), "\n"), messages)
	require.ErrorIs(t, s.once(t.Context(), 1), os.ErrNotExist)
	s.close()
}

func TestHierarchies(t *testing.T) {
	const mounts = `32 31 0:29 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
33 31 0:30 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
34 31 0:31 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
35 31 0:32 / /proc rw - proc proc rw
broken
`
	if diff := cmp.Diff([]string{"/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified"}, hierarchies(mounts)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestLosses(t *testing.T) {
	const page = `# TYPE otelcol_uds_statsd_dropped_total counter
otelcol_uds_statsd_dropped_total{otel_scope_name="x",reason="origin_rate"} 17
otelcol_cgroup_dropped_total{reason="events"} 0
otelcol_exporter_sent_log_records_total{exporter="file"} 4
otelcol_processor_refused_log_records_total{processor="memory_limiter"} 3
`
	want := []string{
		`otelcol_uds_statsd_dropped_total{reason="origin_rate"} 17`,
		`otelcol_processor_refused_log_records_total{processor="memory_limiter"} 3`,
	}
	if diff := cmp.Diff(want, losses(page)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestBounds(t *testing.T) {
	q := quantity{allowed: 16, share: 0.1, from: memoryFrom}
	require.InDelta(t, 16, q.bound(100, memoryFrom), 0)
	require.InDelta(t, 20, q.bound(200, memoryFrom), 1e-9)
	require.Negative(t, q.bound(200, memoryFrom-time.Second))
	require.Negative(t, quantity{allowed: -1}.bound(200, memoryFrom))
}

func TestFolderSize(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a", "b", "c"), make([]byte, 1000), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "d"), make([]byte, 24), 0o600))
	size, err := folderSize(dir)
	require.NoError(t, err)
	require.EqualValues(t, 1024, size)
}

func TestComplaintsAreSorted(t *testing.T) {
	var out strings.Builder
	printComplaints(&out, map[string]int{"b": 1, "a": 1, "c": 5})
	require.Equal(t, "     5 x c\n     1 x a\n     1 x b\n", out.String())
}

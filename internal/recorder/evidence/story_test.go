package evidence

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/report"
)

func names(lines []report.Line) []string {
	var out []string
	for _, l := range lines {
		out = append(out, l.Name)
	}
	return out
}

func lastOf(t *testing.T, p report.Plot, name string) float64 {
	t.Helper()
	for _, l := range p.Lines {
		if l.Name == name {
			return l.Points[len(l.Points)-1].Value
		}
	}
	t.Fatalf("plot %s has no line %s, only %v", p.Title, name, names(p.Lines))
	return 0
}

// Every plot finds its metrics by the names that receivers give them.
func TestPlotsOfAContainer(t *testing.T) {
	s := newScene(t)
	a, other := idler(1), idler(2)
	a.cpu = func(int) float64 { return 1.5 }
	a.memory = func(int) float64 { return 480 << 20 }
	a.limit = 500 << 20
	s.record(12*60, a, other)
	w := s.last(12 * 60)
	plots, err := Story(s.metrics, s.events).Plots(t.Context(), a.id, w)
	require.NoError(t, err)
	want := map[string][]string{}
	for _, p := range plots {
		want[p.Title] = names(p.Lines)
		for _, l := range p.Lines {
			require.Greater(t, len(l.Points), 300, "%s %s", p.Title, l.Name)
			require.LessOrEqual(t, len(l.Points), maxPoints)
		}
	}
	require.Equal(t, map[string][]string{
		"CPU (100 % is one core)": {"used", "limit", "throttled"},
		"Memory":                  {"used", "limit", "processes", "file cache", "kernel"},
		"Pressure: share of time in which a task waits": {"CPU", "memory", "IO"},
		"Pressure on the host":                          {"CPU", "memory", "IO"},
		"Disk":                                          {"read", "write"},
		"Network":                                       {"receive", "transmit"},
		"Processes and threads":                         {"tasks", "limit"},
		"TCP connections":                               {"open", "closed per second"},
	}, want)
	require.Len(t, plots, len(containerPanels()))
	require.InDelta(t, 1.5, lastOf(t, plots[0], "used"), 0.2)
	require.InDelta(t, 500<<20, lastOf(t, plots[1], "limit"), 1e5)
	require.InDelta(t, 0.16, lastOf(t, plots[2], "memory"), 0.01)
	require.InDelta(t, 4, lastOf(t, plots[7], "open"), 0)
	text, err := json.Marshal(plots)
	require.NoError(t, err)
	t.Logf("%d bytes of JSON", len(text))
}

func TestPlotsOfTheHost(t *testing.T) {
	s := newScene(t)
	var all []actor
	for n := range 9 {
		a := idler(n)
		a.cpu = func(int) float64 { return float64(n) / 10 }
		all = append(all, a)
	}
	s.record(60, all...)
	plots, err := Story(s.metrics, s.events).Plots(t.Context(), "", s.last(60))
	require.NoError(t, err)
	require.Len(t, plots, len(hostPanels()))
	require.Equal(t, []string{"app-4", "app-5", "app-6", "app-7", "app-8"}, names(plots[1].Lines))
	require.InDelta(t, 3.6, lastOf(t, plots[3], "used"), 0.4)
}

func TestPlotsWithoutData(t *testing.T) {
	s := newScene(t)
	plots, err := Story(s.metrics, s.events).Plots(t.Context(), id(1), bundle.Window{From: began, To: began.Add(time.Hour)})
	require.NoError(t, err)
	require.Empty(t, plots)

	ended, stop := context.WithCancel(t.Context())
	stop()
	_, err = Story(s.metrics, s.events).Plots(ended, id(1), bundle.Window{From: began, To: began.Add(time.Hour)})
	require.Error(t, err)
	// An id is a label's value and no part of a query.
	_, err = Story(s.metrics, s.events).Plots(t.Context(), `"} or vector(1) #`+"\n", bundle.Window{From: began, To: began.Add(time.Hour)})
	require.NoError(t, err)
}

func TestStep(t *testing.T) {
	f := func(window, want time.Duration) {
		t.Helper()
		step := stepOf(bundle.Window{From: began, To: began.Add(window)})
		require.Equal(t, want, step)
		require.LessOrEqual(t, int(window/step)+1, maxPoints)
	}
	f(0, time.Second)
	f(9*time.Minute, time.Second)
	f(12*time.Minute, 2*time.Second)
	f(30*time.Minute, 4*time.Second)
	f(6*time.Hour, 37*time.Second)
}

func TestRound(t *testing.T) {
	f := func(v, want float64) {
		t.Helper()
		require.Equal(t, want, round(v))
	}
	f(0, 0)
	f(0.123456789, 0.12346)
	f(-123456789, -123460000)
	f(99999.9, 100000)
	f(1e-300, 1e-300)
	f(5e-324, 5e-324)
	f(1e308, 1e308)
	f(math.MaxFloat64, math.MaxFloat64)
}

func TestMarks(t *testing.T) {
	s := newScene(t)
	a, b := idler(1), idler(2)
	s.tell(a, "container.start", "It was started.", nil)
	s.pass(time.Minute)
	s.tell(a, "container.oom_kill", "", map[string]any{"process.executable.name": "python", "process.pid": 211})
	s.pass(time.Second)
	s.tell(a, "container.degraded", "The container runs on without python.", map[string]any{"process.executable.name": "python", "process.pid": 211})
	s.tell(a, "process.exec", "not for a time line", nil)
	s.pass(time.Second)
	s.tell(b, "container.stop", "of another container", nil)
	s.pass(time.Second)
	s.tell(a, "container.health_status", "app-1 was checked", map[string]any{"container.health.status": "unhealthy"})
	marks, err := Story(s.metrics, s.events).Marks(t.Context(), s.last(300), only(a.id))
	require.NoError(t, err)
	require.Equal(t, []report.Mark{
		{At: began, Kind: "container.start", Who: "app-1", Text: "It was started."},
		{At: began.Add(time.Minute), Kind: "container.oom_kill", Who: "app-1", Text: "python, pid 211"},
		{At: began.Add(61 * time.Second), Kind: "container.degraded", Who: "app-1", Text: "The container runs on without python: pid 211"},
		{At: began.Add(63 * time.Second), Kind: "container.health_status", Who: "app-1", Text: "app-1 was checked: unhealthy"},
	}, marks)
}

// What explains an incident stays when there is too much.
func TestMarksAreBounded(t *testing.T) {
	s := newScene(t)
	a := idler(1)
	s.tell(a, "container.oom_kill", "the one", nil)
	for n := range 3 * maxMarks {
		s.pass(time.Second)
		s.tell(a, "container.start", fmt.Sprint(n), nil)
	}
	marks, err := Story(s.metrics, s.events).Marks(t.Context(), s.last(3600), only(a.id))
	require.NoError(t, err)
	require.Len(t, marks, maxMarks)
	require.Equal(t, "the one", marks[0].Text)
	require.Equal(t, fmt.Sprint(3*maxMarks-1), marks[maxMarks-1].Text, "the newest")
}

package report_test

import (
	"encoding/json"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/report"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/state"
)

func data(verdict string) report.Data {
	at := time.Date(2026, 11, 22, 3, 12, 7, 0, time.UTC)
	w := bundle.Window{From: at.Add(-10 * time.Minute), To: at.Add(2 * time.Minute)}
	var line report.Line
	for i := range 720 {
		line.Points = append(line.Points, report.Point{At: w.From.Add(time.Duration(i) * time.Second).UnixMilli(), Value: float64(i % 60)})
	}
	return report.Data{
		Manifest: &bundle.Manifest{
			Format: 1, ID: "x", Verdict: verdict, Window: w,
			Triggers: []bundle.Trigger{{Kind: "oom", At: at, Container: bundle.Container{Name: "worker"}, Reason: verdict}},
			Missing:  []bundle.Missing{{What: "metrics", Why: "none"}},
		},
		Marks: []report.Mark{{At: at, Kind: "container.start", Who: "worker", Text: verdict}},
		Plots: []report.Plot{{Title: "Memory", Unit: "By", Lines: []report.Line{line}}},
		Snapshots: []*state.Snapshot{{
			At: at, Processes: []state.Process{{PID: 211, Comm: "python", Argv: []string{"python", verdict}, RSS: 512 << 20}},
			Kernel: "Killed process 211", Cgroup: map[string]string{"memory.events": "oom_kill 1\n"},
		}},
	}
}

type assets struct{}

func (assets) ReportScript() string { return "window.drawn = true;" }
func (assets) ReportStyle() string  { return "p { margin: 0 }" }

func TestRender(t *testing.T) {
	html, err := report.Render(data("worker was OOM-killed"), assets{})
	require.NoError(t, err)
	page := string(html)
	for _, part := range []string{
		"worker was OOM-killed", "22 November 2026", "03:12:07", "<path", "512.0 MiB", "Killed process 211",
		"memory.events", "window.drawn = true;", "p { margin: 0 }", "metrics: none",
	} {
		require.Contains(t, page, part)
	}
	require.Less(t, len(html), 400<<10, "the notes want it below 400 KB")
	// Alone: nothing is loaded from anywhere.
	require.NotRegexp(t, `(?i)(src|href)\s*=|url\(|@import`, strings.ReplaceAll(page, "img-src data:", ""))

	plain, err := report.Render(data("x"), nil)
	require.NoError(t, err)
	require.NotContains(t, string(plain), "window.drawn")
}

// drawnIn returns what stands between two texts of a page.
func drawnIn(t *testing.T, page, from, to string) string {
	t.Helper()
	_, rest, found := strings.Cut(page, from)
	require.True(t, found, from)
	inside, _, found := strings.Cut(rest, to)
	require.True(t, found, to)
	return inside
}

// The time line is one list in the order of time, without the events that the
// triggers were made of.
func TestTimeLine(t *testing.T) {
	d := data("killed")
	at := d.Manifest.Triggers[0].At
	d.Marks = []report.Mark{
		{At: at.Add(-90 * time.Second), Kind: "container.start", Who: "worker", Text: "begins"},
		{At: at.Add(time.Millisecond), Kind: "container.oom_kill", Who: "worker", Text: "told twice"},
		{At: at, Kind: "container.oom_kill", Who: "other", Text: "another one"},
		{At: at.Add(time.Minute), Kind: "container.stop", Who: "worker", Text: "ends"},
	}
	html, err := report.Render(d, nil)
	require.NoError(t, err)
	list := drawnIn(t, string(html), `<table class="r-events">`, "</table>")
	require.NotContains(t, list, "told twice")
	var order []int
	for _, text := range []string{"begins", "killed", "another one", "ends"} {
		order = append(order, strings.Index(list, text))
	}
	require.IsIncreasing(t, order)
	require.Contains(t, list, "\u22121 min 30 s")
	require.Contains(t, list, "&#43;1 min")
	require.Contains(t, list, `<tr class="trigger bad"><td class="time">03:12:07`)
	require.Contains(t, list, `<tr class=""><td class="time">03:10:37`)
	lanes := drawnIn(t, string(html), `<div class="r-lanes"`, `<h2>`)
	require.Equal(t, 2, strings.Count(lanes, `class="r-who"`), "a lane for each container")
	require.Contains(t, lanes, `class="r-tick bad" x1="83.33"`, "the trigger stands after ten of twelve minutes")
}

func TestManyLanes(t *testing.T) {
	d := data("x")
	for n := range 40 {
		d.Marks = append(d.Marks, report.Mark{At: d.Manifest.Window.From, Kind: "container.start", Who: "c" + string(rune('A'+n))})
	}
	html, err := report.Render(d, nil)
	require.NoError(t, err)
	require.Equal(t, 12, strings.Count(string(html), `class="r-who"`))
	require.Contains(t, string(html), "29 more containers")
}

// The tree has parents before children; a reused pid makes no endless loop.
func TestProcessTree(t *testing.T) {
	d := data("x")
	d.Manifest.Triggers[0].Process = &bundle.Process{PID: 4, Name: "victim"}
	d.Snapshots[0].Processes = []state.Process{
		{PID: 4, PPID: 3, Comm: "victim"}, {PID: 1, PPID: 0, Comm: "init"}, {PID: 3, PPID: 1, Comm: "parent"}, {PID: 5, PPID: 1, Comm: "sibling"},
		{PID: 8, PPID: 9, Comm: "egg"}, {PID: 9, PPID: 8, Comm: "hen"}, {PID: 10, PPID: 10, Comm: "self"},
	}
	html, err := report.Render(d, nil)
	require.NoError(t, err)
	var lines []string
	for _, m := range regexp.MustCompile(`<span class="tree">([^<]*)</span>\[(\w+)\]`).FindAllStringSubmatch(string(html), -1) {
		lines = append(lines, m[1]+m[2])
	}
	require.Equal(t, []string{"init", "├ parent", "│ └ victim", "└ sibling", "self", "egg", "└ hen"}, lines)
	require.Regexp(t, `<tr class="bad"><td class="wide"><code><span class="tree">│ └ </span>\[victim\]`, string(html))
}

// What a page lists is bounded; the numbers of what is left out are told.
func TestMuchOfEverything(t *testing.T) {
	d := data("x")
	d.Snapshots[0].Processes = nil
	for n := range 2000 {
		d.Snapshots[0].Processes = append(d.Snapshots[0].Processes, state.Process{PID: n + 2, PPID: n + 1, Comm: "deep"})
	}
	ns := state.Netns{States: map[string]int{"ESTABLISHED": 1000}}
	for range 200 {
		ns.Open = append(ns.Open, state.Socket{Local: "10.0.0.1:1", Remote: "10.0.0.2:2", State: "ESTABLISHED"})
	}
	d.Snapshots[0].Sockets = []state.Netns{ns, ns}
	html, err := report.Render(d, nil)
	require.NoError(t, err)
	require.Contains(t, string(html), "1800 more are in state/processes.json")
	require.Contains(t, string(html), "200 more are in state/sockets.json")
	require.Less(t, len(html), 200<<10)
}

// A line is broken where there was nothing, and level parts cost nothing.
func TestPlotPaths(t *testing.T) {
	d := data("x")
	from := d.Manifest.Window.From.UnixMilli()
	var line report.Line
	for i := range 720 {
		if i < 100 || i >= 200 {
			line.Points = append(line.Points, report.Point{At: from + int64(i)*1000, Value: 1})
		}
	}
	d.Plots = []report.Plot{{Title: "level", Lines: []report.Line{line}}}
	html, err := report.Render(d, nil)
	require.NoError(t, err)
	require.Equal(t, "M0.0 0.0H82.5M166.7 0.0H599.2", drawnIn(t, string(html), `<path class="c0" d="`, `"`))
}

// What a program calls itself is no part of the page's own code, and the data
// can be read back.
func TestRenderEscapes(t *testing.T) {
	const evil = `</script><script>alert(1)</script><img onerror='x' "`
	html, err := report.Render(data(evil), nil)
	require.NoError(t, err)
	page := string(html)
	require.NotContains(t, page, "<script>alert")
	require.NotContains(t, page, "<img")
	found := regexp.MustCompile(`(?s)<script type="application/json" id="capture">(.*?)</script>`).FindStringSubmatch(page)
	require.Len(t, found, 2)
	var back report.Data
	require.NoError(t, json.Unmarshal([]byte(found[1]), &back))
	require.Equal(t, evil, back.Manifest.Verdict)
	require.Len(t, back.Plots[0].Lines[0].Points, 720)
}

func TestRenderOddPlots(t *testing.T) {
	d := data("x")
	d.Plots = []report.Plot{
		{Title: "none"},
		{Title: "flat", Lines: []report.Line{{Name: "a", Points: []report.Point{{At: d.Manifest.Window.From.UnixMilli(), Value: 0}}}}},
		{Title: "below", Lines: []report.Line{{Name: "a", Points: []report.Point{{Value: -1}, {Value: 1}}}}},
	}
	html, err := report.Render(d, nil)
	require.NoError(t, err)
	require.NotContains(t, string(html), "NaN")
	require.Contains(t, string(html), "<span>1</span><span>-1</span>")

	d.Plots[0].Lines = []report.Line{{Points: []report.Point{{Value: math.NaN()}}}}
	_, err = report.Render(d, nil)
	require.Error(t, err, "not a number is no JSON")
}

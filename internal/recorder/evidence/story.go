package evidence

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/promql"

	"github.com/tallymanhq/tallyman/internal/recorder/capture"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/report"
	"github.com/tallymanhq/tallyman/internal/recorder/eventstore"
	"github.com/tallymanhq/tallyman/internal/recorder/metricstore"
)

const (
	// maxPoints of a line: one per pixel of a plot.
	maxPoints = 600
	// maxLines bounds a plot: nobody tells more colours apart.
	maxLines = 6
)

// Teller draws what the report shows.
type Teller struct {
	metrics *metricstore.Store
	events  *eventstore.Store
}

var _ capture.Story = (*Teller)(nil)

// Story tells from both stores.
func Story(m *metricstore.Store, e *eventstore.Store) *Teller { return &Teller{metrics: m, events: e} }

// Plots implements [capture.Story]: those of a container and of the pressure on
// the host, or those of the host and its busiest containers for the id "". A plot
// that there are no data for is left out.
func (t *Teller) Plots(ctx context.Context, container string, w bundle.Window) ([]report.Plot, error) {
	q := question{metrics: t.metrics, w: w, step: stepOf(w), container: container}
	panels := containerPanels()
	if container == "" {
		panels = hostPanels()
	}
	var plots []report.Plot
	var failures []error
	for _, p := range panels {
		plot, err := q.ask(ctx, p)
		if err != nil {
			failures = append(failures, fmt.Errorf("plot %s: %w", p.title, err))
		}
		if len(plot.Lines) > 0 {
			plots = append(plots, plot)
		}
	}
	return plots, errors.Join(failures...)
}

// stepOf is a number of whole seconds with which the window has maxPoints at most.
func stepOf(w bundle.Window) time.Duration {
	return max(time.Second, time.Duration(math.Ceil(w.To.Sub(w.From).Seconds()/(maxPoints-1)))*time.Second)
}

// question is asked once for each line of each plot.
type question struct {
	metrics   *metricstore.Store
	w         bundle.Window
	step      time.Duration
	container string
}

func (q *question) ask(ctx context.Context, p panel) (report.Plot, error) {
	plot := report.Plot{Title: p.title, Unit: p.unit}
	for _, l := range p.lines {
		result, err := q.metrics.Range(ctx, q.fill(l.expr), metricstore.Window(q.w), q.step)
		if err != nil {
			return plot, err
		}
		matrix, err := result.Matrix()
		if err != nil {
			return plot, fmt.Errorf("read answer: %w", err)
		}
		plot.Lines = append(plot.Lines, linesOf(matrix, l)...)
	}
	plot.Lines = plot.Lines[:min(len(plot.Lines), maxLines)]
	return plot, nil
}

// fill puts what is asked for in place of
//
//	$c  container_id="..."
//	$s  the step: gauges show their highest value within it
//	$r  what a rate looks back: four steps, and near if that is more
//	$f  the same where samples are rare: four steps, and far if that is more
//	$m  what tells one from the other: four steps, and middle if that is more
//	$n  how many samples within $m are not rare
//	$w  the window
func (q *question) fill(expr string) string {
	seconds := func(d time.Duration) string { return strconv.Itoa(int(math.Ceil(d.Seconds()))) + "s" }
	return strings.NewReplacer(
		"$c", labelContainer+"="+strconv.Quote(q.container),
		"$s", seconds(q.step),
		"$r", seconds(max(near, 4*q.step)),
		"$f", seconds(max(far, 4*q.step)),
		"$m", seconds(max(middle, 4*q.step)),
		"$n", strconv.Itoa(frequent),
		"$w", seconds(q.w.To.Sub(q.w.From)),
	).Replace(expr)
}

const (
	// near always holds two samples of a container that is silent (one in 5 s while
	// nothing changes), one of them late.
	near = 12 * time.Second
	// far holds four samples at 10 s, one of them late. So rarely come connections by
	// default, and all metrics where collection_interval is 10s.
	far = 45 * time.Second
	// middle holds frequent samples at one in 5 s, one of them late, and fewer at one
	// in 10 s.
	middle   = 22 * time.Second
	frequent = 4
)

func linesOf(matrix promql.Matrix, l line) []report.Line {
	var lines []report.Line
	for _, series := range matrix {
		out := report.Line{Name: l.name}
		if l.by != "" {
			out.Name = strings.TrimSpace(series.Metric.Get(l.by) + " " + l.name)
		}
		for _, p := range series.Floats {
			if !math.IsNaN(p.F) && !math.IsInf(p.F, 0) {
				out.Points = append(out.Points, report.Point{At: p.T, Value: round(p.F)})
			}
		}
		if len(out.Points) > 0 {
			lines = append(lines, out)
		}
	}
	slices.SortFunc(lines, func(a, b report.Line) int { return cmp.Compare(a.Name, b.Name) })
	return lines
}

// round keeps five digits, more than any screen shows: the report is half as
// large.
func round(v float64) float64 {
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 5, 64), 64)
	if err != nil {
		return v // above the largest number there is
	}
	return rounded
}

package report

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
)

// Width and height of a plot in its own units; the page scales it.
const plotWidth, plotHeight = 600.0, 120.0

// figure is a plot as the template draws it.
type figure struct {
	Title string
	// Top and Bottom are the values at the edges; the lower one is 0, or the
	// lowest value where there are negative ones.
	Top, Bottom string
	// From, At and To are the times at both ends and at the first trigger, which
	// is at X percent.
	From, At, To time.Time
	X            string
	Lines        []curve
}

type curve struct {
	Name string
	// Class is the colour: c0, c1, ..., or limit.
	Class string
	// Last is the newest value, Peak the highest one.
	Last, Peak string
	// Path is the attribute of the SVG element.
	Path string
}

// colours is how many the page knows.
const colours = 6

func draw(p Plot, m *bundle.Manifest) figure {
	low, high := bounds(p)
	f := figure{Title: p.Title, Top: amount(high, p.Unit), Bottom: amount(low, p.Unit), From: m.Window.From, To: m.Window.To}
	if at, ok := moment(m); ok {
		f.At, f.X = at, percent(at, m.Window)
	}
	from, span := m.Window.From.UnixMilli(), float64(m.Window.To.UnixMilli()-m.Window.From.UnixMilli())
	for i, line := range p.Lines {
		points := slices.DeleteFunc(slices.Clone(line.Points), func(p Point) bool { return !isNumber(p.Value) })
		if len(points) == 0 || span <= 0 {
			continue
		}
		c := curve{Name: line.Name, Class: "c" + strconv.Itoa(i%colours), Last: amount(points[len(points)-1].Value, p.Unit)}
		if strings.Contains(line.Name, "limit") {
			c.Class = "limit"
		}
		peak := slices.MaxFunc(points, func(a, b Point) int { return int(math.Copysign(1, a.Value-b.Value)) })
		c.Peak = amount(peak.Value, p.Unit)
		pen := pen{}
		step := usualStep(points)
		for k, point := range points {
			x := float64(point.At-from) / span * plotWidth
			y := plotHeight - (point.Value-low)/(high-low)*plotHeight
			pen.to(x, y, k > 0 && point.At-points[k-1].At <= brokenAfter*step)
		}
		c.Path = pen.path()
		f.Lines = append(f.Lines, c)
	}
	return f
}

func isNumber(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// brokenAfter is how many steps without a point break a line: there was nothing.
const brokenAfter = 3

// usualStep is the median distance of the points.
func usualStep(points []Point) int64 {
	if len(points) < 2 {
		return 0
	}
	var steps []int64
	for i := 1; i < len(points); i++ {
		steps = append(steps, points[i].At-points[i-1].At)
	}
	slices.Sort(steps)
	return steps[len(steps)/2]
}

// pen draws a path and leaves out what lies on a straight level line.
type pen struct {
	out   strings.Builder
	x, y  string // of the last point, which may not be written yet
	level bool   // it is on the level of the one before
}

func (p *pen) to(x, y float64, isJoined bool) {
	newX, newY := coordinate(x), coordinate(y)
	switch {
	case !isJoined:
		p.flush()
		p.out.WriteString("M" + newX + " " + newY)
	case newY == p.y:
		p.x, p.level = newX, true
		return
	default:
		p.flush()
		p.out.WriteString("L" + newX + " " + newY)
	}
	p.x, p.y, p.level = newX, newY, false
}

// flush writes the end of a level line.
func (p *pen) flush() {
	if p.level {
		p.out.WriteString("H" + p.x)
		p.level = false
	}
}

func (p *pen) path() string {
	p.flush()
	return p.out.String()
}

// bounds are never equal, so that they can be divided by.
func bounds(p Plot) (low, high float64) {
	for _, line := range p.Lines {
		for _, point := range line.Points {
			if isNumber(point.Value) {
				low, high = min(low, point.Value), max(high, point.Value)
			}
		}
	}
	if low == high {
		high = low + 1
	}
	return low, high
}

func coordinate(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }

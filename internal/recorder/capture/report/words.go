package report

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
)

// fact is a line of the head of the page.
type fact struct{ Name, Text string }

// facts are what one wants to know first.
func facts(m *bundle.Manifest) []fact {
	var all []fact
	add := func(name, text string) {
		if text != "" {
			all = append(all, fact{name, text})
		}
	}
	if len(m.Triggers) > 0 {
		first := bundle.Gravest(m.Triggers)
		add("Container", containerText(first.Container))
		add("Process", processText(first.Process))
	}
	host := m.Host.Name
	if m.Host.Kernel != "" {
		host += ", kernel " + m.Host.Kernel
	}
	add("Host", host)
	add("Recorded", fmt.Sprintf("%s, %s to %s UTC (%s)", day(m.Window.From), clock(m.Window.From), clock(m.Window.To), span(m.Window.To.Sub(m.Window.From))))
	switch n := len(m.Scope.Containers); {
	case m.Scope.Host:
		add("Data of", "the host and all its containers")
	case n == 0:
		add("Data of", "the host")
	default:
		add("Data of", fmt.Sprintf("the host and %d %s", n, plural(n, "container")))
	}
	add("Capture", m.ID)
	return all
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

func containerText(c bundle.Container) string {
	text := c.Label()
	for _, part := range []struct{ name, value string }{{"image", c.Image}, {"project", c.Project}, {"service", c.Service}} {
		if part.value != "" && part.value != c.Name {
			text += ", " + part.name + " " + part.value
		}
	}
	if id := c.ID[:min(len(c.ID), 12)]; text != "" && id != "" && c.Name != "" {
		text += " (" + id + ")"
	}
	return text
}

func processText(p *bundle.Process) string {
	if p == nil {
		return ""
	}
	text := p.Name
	if text == "" {
		text = "name not known"
	}
	if p.PID > 0 {
		text += ", pid " + strconv.Itoa(p.PID)
	}
	if p.VPID > 0 {
		text += " (" + strconv.Itoa(p.VPID) + " in the container)"
	}
	if p.RSS > 0 {
		text += ", " + size(uint64(p.RSS)) + " of memory"
	}
	return text
}

// what is the name of an event or trigger as people say it.
func what(kind string) string {
	switch kind {
	case "oom", "container.oom_kill":
		return "OOM kill"
	case "container.oom":
		return "out of memory"
	case "exit":
		return "end with an error"
	case "near_limit":
		return "near the memory limit"
	case "manual":
		return "asked for"
	case "container.die":
		return "end"
	}
	return strings.ReplaceAll(strings.TrimPrefix(kind, "container."), "_", " ")
}

func day(t time.Time) string { return t.UTC().Format("2 January 2006") }

// clock has tenths of a second only where there are some.
func clock(t time.Time) string { return t.UTC().Format("15:04:05.999") }

// span is a length of time: 12 min 3 s.
func span(d time.Duration) string {
	d = d.Round(time.Second)
	minutes, seconds := int(d/time.Minute), int(d%time.Minute/time.Second)
	switch {
	case d < time.Second:
		return "less than 1 s"
	case minutes == 0:
		return fmt.Sprintf("%d s", seconds)
	case minutes >= 60:
		return fmt.Sprintf("%d h %d min", minutes/60, minutes%60)
	case seconds == 0:
		return fmt.Sprintf("%d min", minutes)
	}
	return fmt.Sprintf("%d min %d s", minutes, seconds)
}

// size writes bytes as people read them.
func size(n uint64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, names := float64(n)/unit, "KMGTPE"
	i := 0
	for value >= unit && i < len(names)-1 {
		value /= unit
		i++
	}
	return fmt.Sprintf("%.1f %ciB", value, names[i])
}

// amount writes a value of a plot.
func amount(v float64, unit string) string {
	sign := ""
	if v < 0 {
		sign, v = "-", -v
	}
	switch unit {
	case "By", "By/s":
		return sign + size(uint64(min(v, 1<<62))) + strings.TrimPrefix(unit, "By")
	case "1", "{cpu}":
		return sign + strconv.FormatFloat(100*v, 'g', 3, 64) + " %"
	}
	return strings.TrimSpace(sign + strconv.FormatFloat(v, 'g', 4, 64) + " " + strings.Trim(unit, "{}"))
}

package report

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
)

// timeline is what happened, as lanes with ticks and as a list.
type timeline struct {
	Rows  []row
	Lanes []lane
	// Trigger is where the first trigger stands, in percent of the window.
	Trigger string
	// Hidden are containers without a lane of their own.
	Hidden int
}

type row struct {
	At      time.Time
	Since   string // the first trigger
	Kind    string
	Who     string
	Text    string
	Tone    string // "", warn, bad
	Trigger bool
}

type lane struct {
	Who   string
	Ticks []tick
}

type tick struct {
	X    string // percent
	Tone string
	Text string
}

// maxLanes bounds the picture; the list has all.
const maxLanes = 12

func newTimeline(m *bundle.Manifest, marks []Mark) timeline {
	var rows []row
	for _, t := range m.Triggers {
		rows = append(rows, row{At: t.At, Kind: t.Kind, Who: t.Container.Label(), Text: t.Reason, Tone: tone(t.Kind), Trigger: true})
	}
	for _, mark := range marks {
		if !slices.ContainsFunc(m.Triggers, func(t bundle.Trigger) bool { return isOf(mark, t) }) {
			rows = append(rows, row{At: mark.At, Kind: mark.Kind, Who: mark.Who, Text: mark.Text, Tone: tone(mark.Kind)})
		}
	}
	slices.SortStableFunc(rows, func(a, b row) int { return a.At.Compare(b.At) })
	line := timeline{Rows: rows}
	if at, ok := moment(m); ok {
		for i := range rows {
			rows[i].Since = since(rows[i].At.Sub(at))
		}
		line.Trigger = percent(at, m.Window)
	}
	line.lanes(m)
	return line
}

// moment is when it happened. Who asks for a time of the past does so after it.
func moment(m *bundle.Manifest) (time.Time, bool) {
	at := bundle.Gravest(m.Triggers).At
	return at, len(m.Triggers) > 0 && !at.Before(m.Window.From) && !at.After(m.Window.To)
}

// same is how far a trigger and the event that it was seen in may be apart; sameTold
// is what two events may be that made one trigger.
const same, sameTold = time.Second, 5 * time.Second

// isOf tells whether a mark is what a trigger was made of.
func isOf(m Mark, t bundle.Trigger) bool {
	events := map[string][]string{
		"oom": {"container.oom_kill", "container.oom"}, "degraded": {"container.degraded"}, "exit": {"container.stop", "container.die"},
	}
	apart := same
	if slices.Contains(t.Events, m.Kind) {
		apart = sameTold
	}
	return m.Who == t.Container.Label() && m.At.Sub(t.At).Abs() <= apart && slices.Contains(events[t.Kind], m.Kind)
}

func tone(kind string) string {
	switch kind {
	case "oom", "container.oom_kill", "container.oom", "degraded", "container.degraded":
		return "bad"
	case "exit", "near_limit", "container.die", "container.health_status", "container.kill":
		return "warn"
	}
	return ""
}

// since is the time from the trigger: -1 min 30 s.
func since(d time.Duration) string {
	switch {
	case d.Abs() < time.Second:
		return "0"
	case d < 0:
		return "\u2212" + span(-d)
	}
	return "+" + span(d)
}

// lanes has the containers in the order in which something happened to them, those
// of triggers first.
func (l *timeline) lanes(m *bundle.Manifest) {
	rows := slices.Clone(l.Rows)
	slices.SortStableFunc(rows, func(a, b row) int { return cmp.Compare(rank(a), rank(b)) })
	place := map[string]int{}
	for _, r := range rows {
		at, known := place[r.Who]
		if !known && len(l.Lanes) == maxLanes {
			place[r.Who], at, known = -1, -1, true
			l.Hidden++
		}
		if !known {
			at = len(l.Lanes)
			place[r.Who] = at
			l.Lanes = append(l.Lanes, lane{Who: cmp.Or(r.Who, "host")})
		}
		if at >= 0 {
			text := clock(r.At) + " " + what(r.Kind)
			l.Lanes[at].Ticks = append(l.Lanes[at].Ticks, tick{X: percent(r.At, m.Window), Tone: r.Tone, Text: text})
		}
	}
}

func rank(r row) int {
	if r.Trigger {
		return 0
	}
	return 1
}

// percent is where a moment stands in the window.
func percent(t time.Time, w bundle.Window) string {
	length := w.To.Sub(w.From)
	if length <= 0 {
		return "0"
	}
	share := min(max(float64(t.Sub(w.From))/float64(length), 0), 1)
	return strconv.FormatFloat(100*share, 'f', 2, 64)
}

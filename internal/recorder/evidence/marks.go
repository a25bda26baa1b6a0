package evidence

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/report"
	"github.com/tallymanhq/tallyman/internal/recorder/eventstore"
)

const (
	// maxMarks is what a person reads of a list.
	maxMarks = 200
	// maxCandidates bounds the memory while the marks are chosen: the events of
	// these kinds of a host that starts ten containers a second for ten minutes.
	maxCandidates = 20_000
)

// interesting are the events that a time line shows, and how much they matter:
// 0 is what explains an incident, 2 what goes first if there is too much.
func interesting() map[string]int {
	return map[string]int{
		"container.oom_kill": 0, "container.oom": 0, "container.degraded": 0, "container.recovered": 0,
		"container.stop": 0, "container.die": 0, "container.restart": 0, "container.kill": 1, "container.start": 1,
		"container.health_status": 1, "container.pause": 1, "container.unpause": 1, "container.rename": 1,
		"container.create": 2, "container.destroy": 2, "image.pull": 2, "image.remove": 2,
		"network.connect": 2, "network.disconnect": 2, "dogstatsd.event": 2,
	}
}

// Marks implements [capture.Story]: the events of the containers that keep wants,
// in the order of time. If there are more than 200, those stay that matter most,
// and of equals the newest.
func (t *Teller) Marks(ctx context.Context, w bundle.Window, keep func(container string) bool) ([]report.Mark, error) {
	type candidate struct {
		report.Mark
		rank int
	}
	ranks := interesting()
	query := eventstore.Query{From: w.From, To: w.To, Newest: true}
	for name := range ranks {
		query.Kinds = append(query.Kinds, name)
	}
	var found []candidate
	err := t.events.Scan(ctx, query, func(e eventstore.Event) bool {
		if keep(e.Container) {
			found = append(found, candidate{mark(&e), ranks[e.Name]})
		}
		return len(found) < maxCandidates
	})
	slices.SortStableFunc(found, func(a, b candidate) int { return a.rank - b.rank }) // the newest first among equals
	found = found[:min(len(found), maxMarks)]
	slices.SortStableFunc(found, func(a, b candidate) int { return a.At.Compare(b.At) })
	marks := make([]report.Mark, len(found))
	for i, c := range found {
		marks[i] = c.Mark
	}
	if err != nil {
		return marks, fmt.Errorf("find events: %w", err)
	}
	return marks, nil
}

func mark(e *eventstore.Event) report.Mark {
	m := report.Mark{At: e.Time.UTC(), Kind: e.Name, Who: text(e.Resource, "container.name"), Text: e.Body}
	if m.Who == "" {
		m.Who = e.Container[:min(len(e.Container), 12)]
	}
	if details := details(e.Attributes, m.Text); details != "" {
		m.Text = strings.TrimPrefix(strings.TrimSuffix(m.Text, ".")+": "+details, ": ")
	}
	return m
}

// details are the attributes that matter to who reads a time line, without those
// that the text has already.
func details(attributes pcommon.Map, said string) string {
	var parts []string
	for _, a := range []struct{ key, form string }{
		{"container.exit_code", "exit code %s"},
		{"container.exit_signal", "signal %s"},
		{"process.executable.name", "%s"},
		{"process.pid", "pid %s"},
		{"degraded.reason", "%s"},
		{"container.health.status", "%s"},
	} {
		if v := text(attributes, a.key); v != "" && !strings.Contains(said, v) {
			parts = append(parts, fmt.Sprintf(a.form, v))
		}
	}
	return strings.Join(parts, ", ")
}

func text(m pcommon.Map, key string) string {
	v, ok := m.Get(key)
	if !ok {
		return ""
	}
	return v.AsString()
}

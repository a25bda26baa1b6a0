package capture

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
)

// maxNamed is how many incidents a verdict names: more is no sentence.
const maxNamed = 3

// verdict says in one sentence what the triggers mean together, the gravest first:
// "OOM kill of python (pid 211) in worker at 03:12:07 UTC, which runs on without
// it; cron ended with exit code 3 at 03:12:09."
func verdict(triggers []bundle.Trigger) string {
	incidents := incidentsOf(triggers)
	var texts []string
	for i := range incidents[:min(len(incidents), maxNamed)] {
		zone := ""
		if i == 0 {
			zone = " UTC"
		}
		texts = append(texts, incidents[i].text(zone))
	}
	if more := len(incidents) - maxNamed; more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	text := strings.Join(texts, "; ") + "."
	if strings.HasPrefix(text, asked) {
		return "A" + text[1:]
	}
	return text
}

// asked begins what is told of a capture that somebody wanted.
const asked = "asked for"

// incident is all that happened to one container.
type incident struct {
	head  bundle.Trigger // the gravest
	all   []bundle.Trigger
	times int       // how often the like of head
	last  time.Time // of them
}

// incidentsOf are sorted by how grave they are, then by time.
func incidentsOf(triggers []bundle.Trigger) []incident {
	var ids []string
	byID := map[string][]bundle.Trigger{}
	for _, t := range triggers {
		if _, ok := byID[t.Container.ID]; !ok {
			ids = append(ids, t.Container.ID)
		}
		byID[t.Container.ID] = append(byID[t.Container.ID], t)
	}
	incidents := make([]incident, 0, len(ids))
	for _, id := range ids {
		i := incident{head: bundle.Gravest(byID[id]), all: byID[id]}
		for _, t := range i.all {
			if t.Kind == i.head.Kind {
				i.times++
				i.last = t.At
			}
		}
		incidents = append(incidents, i)
	}
	slices.SortStableFunc(incidents, func(a, b incident) int {
		return cmp.Or(cmp.Compare(bundle.Gravity(b.head.Kind), bundle.Gravity(a.head.Kind)), a.head.At.Compare(b.head.At))
	})
	return incidents
}

// clock is how a verdict writes times, which are UTC.
const clock = "15:04:05"

func (i *incident) text(zone string) string {
	text := i.what(i.head.At.UTC().Format(clock) + zone)
	if i.times > 1 {
		text += fmt.Sprintf(" (%d times, last at %s)", i.times, i.last.UTC().Format(clock))
	}
	return text + i.then()
}

// what happened, and when.
func (i *incident) what(at string) string {
	t := &i.head
	who := cmp.Or(t.Container.Label(), "a container")
	switch Kind(t.Kind) {
	case OOM:
		return "OOM kill of " + process(t) + " in " + who + " at " + at
	case Degraded:
		return who + " runs on without " + process(t) + " since " + at
	case Exit:
		return who + " " + ended(t) + " at " + at
	case NearLimit:
		return who + " was near its memory limit at " + at
	}
	text := asked
	if t.Reason != "" {
		text += ": " + strings.TrimRight(t.Reason, ".")
	}
	if t.Container.ID != "" {
		text += " in " + who
	}
	return text + " at " + at
}

// then is what became of the container after it had lost a process.
func (i *incident) then() string {
	if i.head.Kind != string(OOM) && i.head.Kind != string(Degraded) {
		return ""
	}
	degraded, exit := i.later(Degraded), i.later(Exit)
	switch {
	case i.head.Kind == string(Degraded):
		degraded = nil // that is what head says
	case degraded != nil && exit != nil:
		return ", which ran on without it and " + ended(exit) + " at " + exit.At.UTC().Format(clock)
	}
	switch {
	case degraded != nil:
		return ", which runs on without it"
	case exit != nil && i.head.Kind == string(OOM):
		return ", which " + ended(exit)
	case exit != nil:
		return ", and " + ended(exit) + " at " + exit.At.UTC().Format(clock)
	}
	return ""
}

// later is the last trigger of a kind that came with the head or after it; two
// sources may tell of one moment in any order.
func (i *incident) later(kind Kind) *bundle.Trigger {
	var found *bundle.Trigger
	for n := range i.all {
		if t := &i.all[n]; t.Kind == string(kind) && i.head.At.Sub(t.At) <= toldAgain {
			found = t
		}
	}
	return found
}

func ended(t *bundle.Trigger) string {
	if t.ExitCode == nil {
		return "ended with an error"
	}
	return fmt.Sprintf("ended with exit code %d", *t.ExitCode)
}

func process(t *bundle.Trigger) string {
	if t.Process == nil {
		return "a process"
	}
	text := cmp.Or(t.Process.Name, "a process")
	if t.Process.PID > 0 {
		text += fmt.Sprintf(" (pid %d)", t.Process.PID)
	}
	return text
}

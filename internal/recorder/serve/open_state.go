package serve

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/tallymanhq/tallyman/internal/recorder/api"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
)

// stateFS is all of an unpacked capture that has no source of its own: members that
// this version does not know are files of the state, too.
type stateFS struct{ members fs.FS }

// Open implements [fs.FS].
func (s stateFS) Open(name string) (fs.File, error) {
	if !isState(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return s.members.Open(name)
}

// ReadDir implements [fs.ReadDirFS].
func (s stateFS) ReadDir(name string) ([]fs.DirEntry, error) {
	if !isState(name) {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	entries, err := fs.ReadDir(s.members, name)
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return !isState(path.Join(name, e.Name())) }), err
}

func isState(name string) bool {
	top, _, _ := strings.Cut(name, "/")
	switch top {
	case bundle.MetricsDir, bundle.EventsDir, bundle.EntitiesName, bundle.EntityLines, bundle.ReportName, bundle.ManifestName:
		return false
	}
	return true
}

// openedAgent says of a capture what a live agent says of itself.
type openedAgent struct {
	status *api.Status
	stats  api.AgentStats
}

// Status implements [api.Agent].
func (a openedAgent) Status() api.Status { return *a.status }

// Agent implements [api.Agent]: how the agent was when the capture was made, as far
// as the capture tells.
func (a openedAgent) Agent() api.AgentStats { return a.stats }

// note tells of a member that cannot be read.
func (a openedAgent) note(what string, err error) {
	if err != nil {
		a.status.Health = api.HealthBad
		a.status.Messages = append(a.status.Messages, fmt.Sprintf("The %s of this capture cannot be read: %v.", what, err))
	}
}

// mostListed is how much of a kind is listed in a banner, where each message takes a
// line of the page. The manifest has all.
const mostListed = 3

// statusOf says what the manifest knows to be missing.
func statusOf(m *bundle.Manifest) *api.Status {
	const clock = "15:04:05"
	s := &api.Status{Host: m.Host.Name, Version: m.Host.Agent, Oldest: api.At(m.Window.From), Health: api.HealthOK}
	var gaps, drops, missing []string
	for _, gap := range m.Gaps {
		gaps = append(gaps, fmt.Sprintf("from %s to %s UTC (%s)", gap.From.UTC().Format(clock), gap.To.UTC().Format(clock), gap.Why))
	}
	for _, reason := range slices.Sorted(maps.Keys(m.Drops)) {
		drops = append(drops, fmt.Sprintf("%d (%s)", m.Drops[reason], reason))
	}
	for _, each := range m.Missing {
		missing = append(missing, fmt.Sprintf("%s (%s)", each.What, each.Why))
	}
	for _, list := range []struct {
		begin string
		items []string
	}{{"Nothing was recorded", gaps}, {"Dropped in this time:", drops}, {"Not in this capture:", missing}} {
		if len(list.items) > 0 {
			s.Health = api.HealthWarn
			s.Messages = append(s.Messages, list.begin+" "+enumerated(list.items)+".")
		}
	}
	return s
}

func enumerated(items []string) string {
	if more := len(items) - mostListed; more > 0 {
		items = append(slices.Clone(items[:mostListed]), fmt.Sprintf("%d more", more))
	}
	return strings.Join(items, ", ")
}

// statsOf is what the agent said of itself, if that was in the words of this version.
func statsOf(root fs.FS, m *bundle.Manifest) api.AgentStats {
	var stats api.AgentStats
	text, err := fs.ReadFile(root, bundle.AgentName)
	if err != nil || json.Unmarshal(text, &stats) != nil {
		stats = api.AgentStats{}
	}
	if stats.Version == "" {
		stats.Version = m.Host.Agent
	}
	return stats
}

// clockOf is the clock of a capture: it stands.
func clockOf(m *bundle.Manifest) func() time.Time {
	return func() time.Time { return m.Window.To }
}

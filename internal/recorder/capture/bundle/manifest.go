package bundle

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Format is the version of the format that this package writes. A change that
// an older reader would misunderstand raises it; a new member or field does not.
const Format = 1

// Names of members.
const (
	ManifestName = "manifest.json"
	ReportName   = "report.html"
	EntitiesName = "entities.json"
	// EntityLines are containers in the form of the recorder's own table.
	EntityLines = "entities.jsonl"
	MetricsDir  = "metrics"
	EventsDir   = "events"
	StateDir    = "state"
	KernelName  = "oom/kmsg.txt"
	AgentName   = "agent/stats.json"
)

var (
	// ErrNewer says that a capture was written in a version of the format that
	// is not known here.
	ErrNewer = errors.New("a newer format")
	// ErrMalformed says that a file is no capture, or a broken one.
	ErrMalformed = errors.New("not a whole capture")
)

// Manifest says what a capture is about and what is in it.
type Manifest struct {
	Format  int       `json:"format"`
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	// Verdict is one sentence: what happened.
	Verdict string `json:"verdict"`
	Window  Window `json:"window"`
	// Triggers are in the order in which they were told; the first one opened the
	// capture, the gravest one names it.
	Triggers []Trigger `json:"triggers"`
	// First: no capture of the same service and kind of trigger was there.
	First bool  `json:"first,omitempty"`
	Host  Host  `json:"host"`
	Scope Scope `json:"scope"`
	// Files are all members but the manifest.
	Files      []File      `json:"files"`
	Redactions []Redaction `json:"redactions,omitempty"`
	// Gaps are times in the window that nothing was recorded of.
	Gaps []Gap `json:"gaps,omitempty"`
	// Drops are what the recorder has dropped in the window, by reason.
	Drops map[string]uint64 `json:"drops,omitempty"`
	// Missing is what ought to be in the capture and is not.
	Missing []Missing `json:"missing,omitempty"`
}

// Window is a time from the first to the last moment of interest.
type Window struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Overlaps tells whether the windows share a moment.
func (w Window) Overlaps(o Window) bool { return !w.To.Before(o.From) && !o.To.Before(w.From) }

// Container names one.
type Container struct {
	ID      string `json:"id,omitempty"`
	Name    string `json:"name,omitempty"`
	Image   string `json:"image,omitempty"`
	Service string `json:"service,omitempty"`
	Project string `json:"project,omitempty"`
}

// Label is the best name there is: the name, else 12 digits of the id.
func (c Container) Label() string {
	if c.Name != "" {
		return c.Name
	}
	return c.ID[:min(len(c.ID), 12)]
}

// Trigger is one reason why a capture was made.
type Trigger struct {
	Kind      string    `json:"kind"`
	At        time.Time `json:"at"`
	Container Container `json:"container"`
	// Reason is one sentence.
	Reason  string   `json:"reason,omitempty"`
	Process *Process `json:"process,omitempty"`
	// ExitCode is how the container ended; nil if it did not, or nobody told.
	ExitCode *int `json:"exit_code,omitempty"`
	// Events are the names of the events that told of it: the kernel's and the
	// engine's may be two.
	Events []string `json:"events,omitempty"`
}

// Gravity orders the kinds of triggers by how much they matter; that of a kind that
// is not known is -1.
func Gravity(kind string) int {
	return slices.Index([]string{"manual", "near_limit", "exit", "degraded", "oom"}, kind)
}

// Gravest returns the trigger that a capture is named by, the first among equals.
// Without triggers it is the zero value.
func Gravest(triggers []Trigger) Trigger {
	if len(triggers) == 0 {
		return Trigger{}
	}
	return slices.MaxFunc(triggers, func(a, b Trigger) int { return cmp.Compare(Gravity(a.Kind), Gravity(b.Kind)) })
}

// Process is the one that a trigger is about.
type Process struct {
	PID  int    `json:"pid,omitempty"`
	VPID int    `json:"vpid,omitempty"`
	Name string `json:"name,omitempty"`
	// RSS is in bytes.
	RSS int64 `json:"rss,omitempty"`
}

// Host is where a capture comes from.
type Host struct {
	Name   string `json:"name,omitempty"`
	Kernel string `json:"kernel,omitempty"`
	// Agent is the agent's version.
	Agent string `json:"agent,omitempty"`
}

// Scope is whose data a capture has.
type Scope struct {
	// Host: all containers; Containers is empty then.
	Host       bool     `json:"host,omitempty"`
	Containers []string `json:"containers,omitempty"`
}

// File is one member.
type File struct {
	Name string `json:"name"`
	// Size is in bytes, not compressed.
	Size int64 `json:"size"`
	// SHA256 is of the bytes that Size counts, in hexadecimal.
	SHA256 string `json:"sha256"`
}

// Redaction says how often something was taken out of a member.
type Redaction struct {
	Where string `json:"where"`
	What  string `json:"what"`
	Count int    `json:"count"`
}

// Gap is a time without data.
type Gap struct {
	Window
	Why string `json:"why"`
}

// Missing is what is not there, and why.
type Missing struct {
	What string `json:"what"`
	Why  string `json:"why"`
}

// ParseManifest reads a manifest. One of a newer format gives [ErrNewer] and
// anything else that cannot be one [ErrMalformed].
func ParseManifest(text []byte) (*Manifest, error) {
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, fmt.Errorf("parse manifest: %w: %w", ErrMalformed, err)
	}
	if head.Format > Format {
		return nil, fmt.Errorf("parse manifest: %w: the capture has format %d, this program knows up to %d (take the tallymanctl of the agent that wrote it, or a newer one)", ErrNewer, head.Format, Format)
	}
	if head.Format < 1 {
		return nil, fmt.Errorf("parse manifest: %w: format %d", ErrMalformed, head.Format)
	}
	var m Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("parse manifest: %w: %w", ErrMalformed, err)
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("parse manifest: %w: %w", ErrMalformed, err)
	}
	return &m, nil
}

// check refuses what no reader could work with.
func (m *Manifest) check() error {
	if !ValidID(m.ID) {
		return fmt.Errorf("id %.80q", m.ID)
	}
	if m.Window.To.Before(m.Window.From) {
		return fmt.Errorf("window ends at %v, before it begins", m.Window.To)
	}
	seen := make(map[string]bool, len(m.Files))
	for _, f := range m.Files {
		if !validName(f.Name) || f.Size < 0 || seen[f.Name] || f.Name == ManifestName {
			return fmt.Errorf("file %.80q of %d bytes", f.Name, f.Size)
		}
		seen[f.Name] = true
	}
	return nil
}

// longestID leaves room for ".tmcap" and more in a file name (255 bytes).
const longestID = 120

// ValidID tells whether a text can be the id of a capture: letters, digits,
// dot, dash and underscore, and no dot at the beginning. It is a file name then.
func ValidID(id string) bool {
	if id == "" || len(id) > longestID || id[0] == '.' {
		return false
	}
	for i := range len(id) {
		c := id[i]
		word := '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !word && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// validName tells whether a member's name stays below where it is unpacked, on
// every system, and is written in the one way that it can be written.
func validName(name string) bool {
	return name != "" && name != "." && path.Clean(name) == name && filepath.IsLocal(name) && !strings.ContainsAny(name, "\\:\x00")
}

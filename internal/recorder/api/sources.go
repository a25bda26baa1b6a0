package api

import (
	"context"
	"errors"
	"io"
	"strconv"
	"time"
)

// What sources may answer. An error that wraps none of them is an internal one.
var (
	// ErrNotFound says that there is no such capture.
	ErrNotFound = errors.New("not found")
	// ErrConflict says that the state of a capture forbids it: it is pinned, or not
	// cut yet.
	ErrConflict = errors.New("conflict")
	// ErrInvalid says that the request makes no sense.
	ErrInvalid = errors.New("invalid")
	// ErrBusy says that it would be possible later.
	ErrBusy = errors.New("busy")
)

// Moment is a point in time that is written as seconds since 1970 with up to three
// decimals. The zero Moment is left out by `omitzero`.
type Moment struct{ time.Time }

// At makes a Moment.
func At(t time.Time) Moment { return Moment{Time: t} }

// MarshalJSON writes seconds, cut to milliseconds.
func (m Moment) MarshalJSON() ([]byte, error) {
	return appendMillis(nil, m.UnixMilli()), nil
}

// UnmarshalJSON reads seconds.
func (m *Moment) UnmarshalJSON(text []byte) error {
	seconds, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return err
	}
	m.Time, err = fromSeconds(seconds)
	return err
}

// Column is one of the values of a live row.
type Column struct {
	// Name is short and lasting, such as cpu or memory_limit; Unit is UCUM.
	Name string `json:"name"`
	Unit string `json:"unit"`
}

// LiveRow has the values of one container. NaN is one that is not known.
type LiveRow struct {
	ID string
	// Values are in the order of the columns.
	Values []float32
	// History, in a snapshot, has per column one value per step, oldest first.
	History [][]float32
}

// LiveView is a set of rows as they were at a moment.
type LiveView struct {
	At   time.Time
	Rows []LiveRow
	// Gone are the containers that a delta does not have any more.
	Gone []string
}

// Live has the newest values of the containers that run.
type Live interface {
	// Columns never changes. Step is the time between two values of a history.
	Columns() (columns []Column, step time.Duration)
	// Snapshot returns all rows, with history. They are the caller's.
	Snapshot() LiveView
	// Delta returns the rows with values newer than since, without history. They are
	// valid until the next call; the server calls from one goroutine.
	Delta(since time.Time) LiveView
}

// States of an entity.
const (
	StateRunning = "running"
	StateEnded   = "ended"
	StateBroken  = "broken"
)

// Entity is one incarnation of a container.
type Entity struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Image   string `json:"image"`
	Service string `json:"service"`
	Project string `json:"project"`
	// State is one of the State constants.
	State    string `json:"state"`
	Start    Moment `json:"start,omitzero"`
	Stop     Moment `json:"stop,omitzero"`
	LastSeen Moment `json:"lastSeen,omitzero"`
	// ExitCode is nil if not known.
	ExitCode  *int      `json:"exitCode,omitempty"`
	OOMKilled bool      `json:"oomKilled"`
	Degraded  *Degraded `json:"degraded,omitempty"`
	Restarts  int       `json:"restarts"`
	// Incarnation counts the containers of this name, from 1.
	Incarnation int               `json:"incarnation"`
	LastEvent   *LastEvent        `json:"lastEvent,omitempty"`
	Tags        map[string]string `json:"tags"`
}

// Degraded says why a container that runs does not work, or did not when it ended.
type Degraded struct {
	Reason  string `json:"reason"`
	Since   Moment `json:"since,omitzero"`
	Process string `json:"process,omitempty"`
	PID     int    `json:"pid,omitempty"`
}

// LastEvent is the newest event of a container, in short.
type LastEvent struct {
	T    Moment `json:"t"`
	Name string `json:"name"`
	Body string `json:"body"`
}

// Incarnation is another container of the same name.
type Incarnation struct {
	ID        string `json:"id"`
	Start     Moment `json:"start,omitzero"`
	Stop      Moment `json:"stop,omitzero"`
	State     string `json:"state"`
	OOMKilled bool   `json:"oomKilled"`
	ExitCode  *int   `json:"exitCode,omitempty"`
}

// EntityDetail is an entity with its siblings, oldest first.
type EntityDetail struct {
	Entity
	Incarnations []Incarnation `json:"incarnations"`
}

// EntityFilter selects entities. Zero members select all.
type EntityFilter struct {
	// From and To bound the life: what lived at any moment between them.
	From, To time.Time
	States   []string
	// Text is part of a name, an image or a tag.
	Text, Name, Project string
	Limit               int
}

// Entities is the table of containers, also of those that are gone.
type Entities interface {
	// List returns the newest starts first, at most Limit, and whether there are more.
	List(EntityFilter) (list []Entity, more bool)
	Get(id string) (EntityDetail, bool)
	// Changed returns what changed after the version, and the version now. With the
	// largest uint64 it returns only the version.
	Changed(after uint64) (changed []Entity, version uint64)
}

// Event is one log record. Attribute values are strings, booleans, numbers, lists
// and maps of them.
type Event struct {
	T          Moment         `json:"t"`
	Name       string         `json:"name"`
	Container  string         `json:"container,omitempty"`
	Severity   string         `json:"severity,omitempty"`
	Body       string         `json:"body,omitempty"`
	Attributes map[string]any `json:"attributes"`
	Resource   map[string]any `json:"resource,omitempty"`
}

// EventQuery selects events. Empty lists and zero times select all.
type EventQuery struct {
	From, To          time.Time
	Kinds, Containers []string
	// Newest asks for the newest first.
	Newest bool
	// Resource asks for Event.Resource.
	Resource bool
}

// Feed has new events as they come, until it is closed.
type Feed struct {
	Events <-chan Event
	// Missed counts those that found the channel full, since the start.
	Missed func() uint64
	Close  func()
}

// Events is the store of log records.
type Events interface {
	// Scan calls each until it returns false, or ctx ends.
	Scan(ctx context.Context, q EventQuery, each func(Event) bool) error
	// Follow never blocks the writer: an event that finds the buffer full is skipped.
	Follow(buffer int) Feed
}

// States of a capture.
const (
	CaptureRecording = "recording"
	CaptureCutting   = "cutting"
	CaptureReady     = "ready"
	CaptureFailed    = "failed"
)

// Capture describes a bundle, or one that is being made.
type Capture struct {
	ID string `json:"id"`
	// State is one of the Capture constants.
	State      string    `json:"state"`
	Reason     string    `json:"reason"`
	Verdict    string    `json:"verdict"`
	Created    Moment    `json:"created,omitzero"`
	From       Moment    `json:"from,omitzero"`
	To         Moment    `json:"to,omitzero"`
	Bytes      int64     `json:"bytes"`
	Pinned     bool      `json:"pinned"`
	Containers []string  `json:"containers"`
	Error      string    `json:"error,omitempty"`
	Triggers   []Trigger `json:"triggers"`
}

// Trigger is one reason for a capture.
type Trigger struct {
	T         Moment `json:"t"`
	Kind      string `json:"kind"`
	Container string `json:"container,omitempty"`
	Name      string `json:"name,omitempty"`
	Text      string `json:"text,omitempty"`
}

// CaptureRequest asks for one by hand. Zero times leave the window to the recorder.
type CaptureRequest struct {
	Reason     string
	Containers []string
	// Scope is default or host.
	Scope    string
	From, To time.Time
}

// Bundle is the file of a capture.
type Bundle struct {
	io.ReadSeekCloser
	// Tag changes with the content, such as its checksum: up to 128 letters, digits
	// and dashes.
	Tag     string
	ModTime time.Time
}

// Captures is the folder of captures. Errors wrap ErrNotFound and its neighbours.
type Captures interface {
	// List returns the newest first, those being made too.
	List() []Capture
	Get(id string) (Capture, bool)
	Start(context.Context, CaptureRequest) (Capture, error)
	Open(id string) (Bundle, error)
	Delete(id string) error
	Pin(id string, pinned bool) (Capture, error)
	// Version changes whenever List would answer otherwise.
	Version() uint64
}

// MetricMetadata is what is known of a metric by its Prometheus name.
type MetricMetadata struct {
	Type string `json:"type"`
	Unit string `json:"unit"`
	Help string `json:"help"`
}

// Metadata knows the metrics' units and descriptions.
type Metadata interface {
	// Metadata returns that of one metric, of all with an empty name.
	Metadata(metric string) map[string][]MetricMetadata
}

package capture

import (
	"context"
	"io"
	"time"

	"github.com/tallymanhq/tallyman/internal/docker"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/redact"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/report"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/state"
)

// Store keeps what a window is cut out of: metrics, or events. Its methods are
// called by several goroutines.
type Store interface {
	// Pin holds what was recorded in the window until release is called. The
	// window may end in the future.
	Pin(from, to time.Time) (release func())
	// Cut writes a part of what was recorded into an empty directory that is there.
	Cut(ctx context.Context, r CutRequest) (CutResult, error)
	// Oldest is when the oldest of what is kept was recorded; zero if nothing is.
	Oldest() time.Time
}

// CutRequest says what to cut.
type CutRequest struct {
	Window bundle.Window
	// Keep tells whose data are wanted, by container id; "" asks for what
	// belongs to no container.
	Keep func(container string) bool
	Dir  string
}

// CutResult is what a store knows to be missing in the window.
type CutResult struct {
	Drops map[string]uint64
	Gaps  []bundle.Gap
}

// Entity is a container and its tags, as they stand in entities.json.
type Entity struct {
	bundle.Container
	Tags  map[string]string `json:"tags,omitempty"`
	Start time.Time         `json:"start,omitzero"`
	Stop  time.Time         `json:"stop,omitzero"`
}

// Entities knows containers, also those that have gone.
type Entities interface {
	Lookup(id string) (Entity, bool)
	// Find returns the id of the container that somebody means by its name, its id or
	// the beginning of its id, in a window. Errors wrap [ErrUnknown] or [ErrAmbiguous].
	Find(text string, w bundle.Window) (id string, err error)
	// Around are the ids of those that belong into a capture about this one: the
	// same project or pod, its peers, and the busiest of the host in the window. About
	// none ("") they are those that something has happened to, and the busiest.
	Around(id string, w bundle.Window) []string
	// Write writes what is known of containers, as lines of JSON: of those that keep
	// wants and that lived in the window, and of some that had their names before.
	Write(to io.Writer, w bundle.Window, keep func(container string) bool) error
}

// Camera takes pictures; [state.Camera] is one.
type Camera interface {
	Take(ctx context.Context, r state.Request) *state.Snapshot
}

// Inspector asks the engine about a container; [docker.Client] is one. It should
// be one that asks docker_filter.
type Inspector interface {
	Inspect(ctx context.Context, id string) (*docker.Container, error)
}

// Story draws what the report shows beside the triggers.
type Story interface {
	Plots(ctx context.Context, container string, w bundle.Window) ([]report.Plot, error)
	Marks(ctx context.Context, w bundle.Window, keep func(container string) bool) ([]report.Mark, error)
}

// Options make an [Engine]. Dir, Camera and Host are needed; what else is nil is
// left out of captures, and the manifest says so.
type Options struct {
	// Dir is where captures lie. What is open lies in a folder below it.
	Dir string
	// Host is written into each capture.
	Host bundle.Host

	Camera   Camera
	Metrics  Store
	Events   Store
	Entities Entities
	Inspect  Inspector
	Story    Story
	Assets   report.Assets
	// Agent returns what the agent says of itself, for JSON.
	Agent func() any

	// Keep bounds what is kept.
	Keep Keep
	// EnvNames are variables whose names, never values, a capture may show; nil
	// means [redact.DefaultNames].
	EnvNames []string
	// Off are kinds of triggers that open no capture.
	Off []Kind

	// Now is the clock, time.Now if nil.
	Now func() time.Time
	// Done is told of each capture, Failed of each attempt to make one that went
	// wrong. Both are called by a goroutine of the engine and must not call Close.
	Done   func(Capture)
	Failed func(Failure)
}

func (o *Options) complete() {
	if o.EnvNames == nil {
		o.EnvNames = redact.DefaultNames()
	}
	now := o.Now
	if now == nil {
		now = time.Now
	}
	// Without the monotonic part: what is compared with it comes out of files.
	o.Now = func() time.Time { return now().UTC().Round(0) }
	if o.Done == nil {
		o.Done = func(Capture) {}
	}
	if o.Failed == nil {
		o.Failed = func(Failure) {}
	}
}

// Capture is one that is finished.
type Capture struct {
	ID, Path string
	// Size is that of the file, in bytes.
	Size     int64
	Manifest *bundle.Manifest
	// Took is how long the cut took.
	Took time.Duration
	// Removed are the ids of captures that had to go for it.
	Removed []string
}

// Failure is an attempt to make a capture that went wrong.
type Failure struct {
	ID string
	// Triggers are those that it was to be about.
	Triggers []bundle.Trigger
	Err      error
	// Retry is after what time it is tried again; 0 if it is not. AtStart: it is tried
	// once more when the agent is started the next time.
	Retry   time.Duration
	AtStart bool
	// Made: the capture is there, and what was to be done after it went wrong.
	Made bool
}

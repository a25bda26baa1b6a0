package keeper

import (
	"log/slog"
	"time"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/recorder/api"
	"github.com/tallymanhq/tallyman/internal/recorder/capture"
)

// Options of a recorder. Dir and the API's endpoints are needed.
type Options struct {
	// Dir is the recorder's folder; it is made with mode 0700.
	Dir string
	// MaxBytes is the budget on disk; 0 does not bound.
	MaxBytes int64
	// Retention is how much recorded time of metrics and events is kept.
	Retention time.Duration
	// EntityRetention is how long the names of a container are kept after its end.
	EntityRetention time.Duration
	// SeriesPerContainer bounds the series of one container; 0 is the default of
	// the store.
	SeriesPerContainer int
	// Captures is how many are kept.
	Captures int
	// Off are the kinds of triggers that make no capture.
	Off []capture.Kind
	// EnvNames are variables whose names, never values, captures may show.
	EnvNames []string

	// Host and Version are shown on pages and stand in captures.
	Host, Version string
	// Roots say where the host's files are.
	Roots hostfs.Roots
	// Place tells the cgroup of a container by its id; nil if nobody knows.
	Place func(id string) (cgroupPath string, ok bool)
	// Inspect asks the engine about a container; nil if there is none.
	Inspect capture.Inspector

	// API says where and to whom to serve. What is served is filled in.
	API api.Options

	// Log gets one line for each change of state; nil discards.
	Log *slog.Logger
}

// Shares of the budget, in percent. A host with 200 containers has 1.1 GB of metrics
// in six hours (docs/recorder.md), and events take a fifth of that.
const (
	metricShare  = 60
	eventShare   = 20
	captureShare = 20
)

// unbounded is for stores that take nothing for their default: more than any disk.
const unbounded = 1 << 50

func share(budget, percent int64) int64 {
	if budget == 0 {
		return unbounded
	}
	return budget / 100 * percent
}

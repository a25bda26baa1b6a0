package keeper

import (
	"path/filepath"
	"regexp"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/cgroup"
	"github.com/tallymanhq/tallyman/internal/recorder/api"
	"github.com/tallymanhq/tallyman/internal/recorder/capture"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/report"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/state"
	"github.com/tallymanhq/tallyman/internal/recorder/evidence"
	"github.com/tallymanhq/tallyman/internal/recorder/serve"
	"github.com/tallymanhq/tallyman/internal/recorder/web"
)

// serve fills in what the API shows, but for captures.
func (k *Keeper) serve() (report.Assets, error) {
	view, err := web.New()
	if err != nil {
		return nil, err
	}
	a := &k.o.API
	a.Engine, a.Queryable = k.metrics.Engine(), k.metrics.Queryable()
	a.Metadata = serve.Metadata(k.metrics.Families)
	a.Live = serve.Live(k.live)
	a.Entities = serve.Entities(k.entities)
	a.Events = serve.Events(k.events)
	a.Agent = agent{k}
	a.Web = view
	a.Log = k.o.Log
	return view.Report(), nil
}

func serveCaptures(e *capture.Engine) api.Captures { return serve.Captures(e) }

func (k *Keeper) captureOptions(assets report.Assets) capture.Options {
	var inspect capture.Inspector
	if k.o.Inspect != nil {
		inspect = k.o.Inspect
	}
	k.sources = []*evidence.Source{evidence.Metrics(k.metrics), evidence.Events(k.events)}
	return capture.Options{
		Dir:      k.captureDir(),
		Host:     bundle.Host{Name: k.o.Host, Kernel: kernel(), Agent: k.o.Version},
		Camera:   k.camera(),
		Metrics:  k.sources[0],
		Events:   k.sources[1],
		Entities: evidence.Entities(k.entities, k.live, k.metrics, k.events),
		Story:    evidence.Story(k.metrics, k.events),
		Inspect:  inspect,
		Assets:   assets,
		Agent:    func() any { return agent{k}.Agent() },
		Keep:     capture.Keep{Newest: k.o.Captures, Bytes: share(k.o.MaxBytes, captureShare)},
		EnvNames: k.o.EnvNames,
		Off:      k.o.Off,
		Done:     k.captured,
		Failed:   k.notCaptured,
	}
}

// camera does without containers where there are no cgroups.
func (k *Keeper) camera() *state.Camera {
	host, err := cgroup.Detect(k.o.Roots)
	if err != nil {
		k.o.Log.Info("pictures show the host alone", "error", err)
		host = nil
	}
	return state.NewCamera(state.Options{Roots: k.o.Roots, Cgroups: host, Place: k.o.Place, Keep: looksLikeID})
}

// containerID is what all engines use.
var containerID = regexp.MustCompile(`^[0-9a-f]{64}$`)

func (k *Keeper) captureDir() string { return filepath.Join(k.o.Dir, "captures") }

func looksLikeID(text string) bool { return containerID.MatchString(text) }

func kernel() string {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return ""
	}
	return unix.ByteSliceToString(name.Release[:])
}

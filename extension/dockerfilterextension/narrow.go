package dockerfilterextension

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/engine"
	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/project"
	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/request"
)

// narrow makes the view of the client's answer, and changes the question where
// its answer would tell of what is hidden. empty says that it has one already.
func (x *exchange) narrow() (view project.View, empty bool) {
	view = project.View{Rules: x.rules.of(x.client.Grant)}
	visible := x.client.Visible()
	if visible == nil {
		return view, false
	}
	view.Visible = visible
	switch x.request.Operation {
	case request.ContainerList:
		return x.narrowList(view)
	case request.VolumeList, request.VolumeInspect, request.SystemDF:
		used, err := x.volumesOf(visible)
		view.Volume = func(name string) bool { return err == nil && used[name] }
	case request.Info:
		view.Counters = x.count
	}
	return view, false
}

// narrowList keeps a list from telling of hidden containers: the engine counts
// them towards a limit, and says so when a filter names one that is not there.
func (x *exchange) narrowList(view project.View) (_ project.View, empty bool) {
	q := &x.request.Query
	for _, name := range []string{"before", "since"} {
		for i, ref := range q.Filters[name] {
			c, err := x.engine.Catalog().Resolve(x.ctx, ref, x.sees)
			if err != nil {
				return view, true
			}
			q.Filters[name][i] = c.ID
		}
	}
	if text, ok := q.Value("limit"); ok {
		if n, err := strconv.Atoi(text); err == nil && n > 0 {
			view.Visible = &firstOf{Visible: view.Visible, left: n}
			q.SetBool("all", true) // as the engine takes a limit to mean
		}
		q.Drop("limit")
	}
	return view, false
}

// firstOf shows so many of what is visible, of one list.
type firstOf struct {
	project.Visible
	left int
}

// Container implements [project.Visible].
func (f *firstOf) Container(id string) bool {
	if f.left == 0 || !f.Visible.Container(id) {
		return false
	}
	f.left--
	return true
}

// count gives the counters of /info for the containers that are visible.
func (x *exchange) count() (n project.Counters) {
	all, err := x.engine.Catalog().All(x.ctx)
	if err != nil {
		return project.Counters{}
	}
	for _, c := range all {
		if !x.sees(c) {
			continue
		}
		n.Containers++
		switch c.State {
		case "running", "restarting":
			n.Running++
		case "paused":
			n.Paused++
		default:
			n.Stopped++
		}
	}
	return n
}

// volumesOf lists the volumes that visible containers use.
func (x *exchange) volumesOf(visible project.Visible) (map[string]bool, error) {
	api, err := x.engine.API(x.ctx)
	if err != nil {
		return nil, err
	}
	version, err := api.Pick("", maxAPI)
	if err != nil {
		return nil, err
	}
	return usedVolumes(x.ctx, x.engine, version, visible)
}

func usedVolumes(ctx context.Context, e *engine.Engine, version string, visible project.Visible) (map[string]bool, error) {
	response, err := e.Shared(ctx, engine.Request{
		Op: "volume.users", Method: http.MethodGet, Target: "/v" + version + "/containers/json?all=1", Content: engine.JSON,
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	var list []struct {
		ID     string `json:"Id"`
		Mounts []struct{ Type, Name string }
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxVolumeUsers)).Decode(&list); err != nil {
		return nil, fmt.Errorf("list users of volumes: %w", err)
	}
	used := map[string]bool{}
	for _, c := range list {
		for _, m := range c.Mounts {
			if m.Name != "" && visible.Container(c.ID) {
				used[m.Name] = true
			}
		}
	}
	return used, nil
}

// maxVolumeUsers bounds that list: 10,000 containers at 3 KiB, which is more than
// the engine sends for one.
const maxVolumeUsers = 32 << 20

package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/entity"
	"github.com/tallymanhq/tallyman/internal/recorder/eventstore"
)

// members are what tells of the containers of a capture.
type members struct {
	root     fs.FS
	manifest *bundle.Manifest
	events   EventSource
	metrics  storage.Queryable
}

// containers makes the table of a capture. A list, as in entities.json, has the last
// incarnation of a container and may lack how it ended: the events tell that, and of
// the incarnations before. Containers that are in no list are known by their metrics.
func containers(m members) (*entity.Table, error) {
	lines, whole, err := m.lines()
	// The clock stands: nothing is heard of after the end.
	table, found, failed := entity.Load(bytes.NewReader(lines), entity.Options{Now: clockOf(m.manifest)})
	err = errors.Join(err, failed)
	if found.Skipped > 0 {
		err = errors.Join(err, fmt.Errorf("%w: %d lines", errPartly, found.Skipped))
	}
	if whole {
		return table, err
	}
	listed := map[string]pcommon.Map{}
	for _, e := range table.List(entity.Filter{}) {
		listed[e.ID] = asResource(e.ID, e.Tags)
	}
	err = errors.Join(err, m.replay(table, listed), m.addMeasured(table, listed))
	return table, errors.Join(err, table.Maintain()) // what has fallen silent has ended
}

// lines are the member in the form of [entity.Table.Write]. They are the whole of what the
// recorder knew if it has written that form itself.
func (m members) lines() (text []byte, whole bool, err error) {
	text, err = fs.ReadFile(m.root, bundle.EntityLines)
	if err == nil {
		return text, true, nil
	}
	text, err = fs.ReadFile(m.root, bundle.EntitiesName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil // the manifest says why
	}
	if err != nil {
		return nil, false, fmt.Errorf("read containers: %w", err)
	}
	if text = bytes.TrimSpace(text); bytes.HasPrefix(text, []byte("{")) {
		return append(text, '\n'), true, nil
	}
	text, err = m.listLines(text)
	return text, false, err
}

// listLines turns a list of entities into lines. The names of its members are those
// of [entity.Entity], of which it may have a part.
func (m members) listLines(text []byte) ([]byte, error) {
	var list []entity.Entity
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("read containers: %w", err)
	}
	type line struct {
		Entity *entity.Entity `json:"entity,omitempty"`
		Alive  time.Time      `json:"alive,omitzero"`
	}
	var out bytes.Buffer
	lines := json.NewEncoder(&out)
	window := m.manifest.Window
	var err error
	for i := range list {
		e := &list[i]
		e.Seq = uint64(i) + 1
		if e.FirstSeen.IsZero() {
			e.FirstSeen = earliest(e.Start, window.From)
		}
		if e.LastSeen.IsZero() {
			e.LastSeen = earliest(e.Stop, window.To)
		}
		err = errors.Join(err, lines.Encode(line{Entity: e}))
	}
	return out.Bytes(), errors.Join(err, lines.Encode(line{Alive: window.To}))
}

// earliest is the first of two times; a zero one is not known.
func earliest(at, otherwise time.Time) time.Time {
	if at.IsZero() || otherwise.Before(at) {
		return otherwise
	}
	return at
}

// The receivers whose word the table tells apart.
const (
	fromKernel = "github.com/tallymanhq/tallyman/receiver/cgroupreceiver"
	fromEngine = "github.com/tallymanhq/tallyman/receiver/containerstatusreceiver"
)

// lifeEvents are the events that change an entity, in the order in which they are
// taken: first those that tell the incarnations apart, so that what happened in one
// is not taken for the next one's. The kernel's end tells of the begin as well.
func lifeEvents() []map[string]string {
	return []map[string]string{
		{"container.stop": fromKernel},
		{"container.start": fromEngine, "container.create": fromEngine},
		{"container.die": fromEngine},
		{
			"container.oom_kill": fromKernel, "container.degraded": fromKernel, "container.recovered": fromKernel,
			"container.oom": fromEngine, "container.pause": fromEngine, "container.unpause": fromEngine,
			"container.rename": fromEngine, "container.health_status": fromEngine, "container.destroy": fromEngine,
		},
	}
}

// asResource makes attributes of tags.
func asResource(id string, tags map[string]string) pcommon.Map {
	resource := pcommon.NewMap()
	for key, value := range tags {
		resource.PutStr(key, value)
	}
	resource.PutStr("container.id", id)
	return resource
}

// replay lets the table learn from the events of the capture. Listed are the
// resources of those that are in the list: their tags were masked, those of their
// events were not.
func (m members) replay(table *entity.Table, listed map[string]pcommon.Map) error {
	for _, kinds := range lifeEvents() {
		q := eventstore.Query{}
		for kind := range kinds {
			q.Kinds = append(q.Kinds, kind)
		}
		err := m.events.Scan(context.Background(), q, func(e eventstore.Event) bool {
			resource, isListed := listed[e.Container]
			if !isListed {
				resource = e.Resource
			}
			scope := kinds[e.Name]
			if _, told := e.Attributes.Get("container.pid"); told && e.Name == "container.start" {
				scope = fromKernel // the engine does not tell it
			}
			table.ObserveEvent(resource, scope, e.Record)
			return true
		})
		if err != nil {
			return fmt.Errorf("read events of containers: %w", err)
		}
	}
	return nil
}

// addMeasured adds the containers that are not listed and have metrics: their labels
// say who they are, and their samples how long they were there.
func (m members) addMeasured(table *entity.Table, listed map[string]pcommon.Map) error {
	window := m.manifest.Window
	q, err := m.metrics.Querier(window.From.UnixMilli(), window.To.UnixMilli())
	if err != nil {
		return fmt.Errorf("read containers of metrics: %w", err)
	}
	defer func() { _ = q.Close() }() // it was only read
	ctx := context.Background()
	ids, _, err := q.LabelValues(ctx, "container_id", nil)
	for _, id := range ids {
		if _, ok := listed[id]; ok {
			continue
		}
		set := q.Select(ctx, false, nil, labels.MustNewMatcher(labels.MatchEqual, "container_id", id))
		if set.Next() { // any series will do
			observeSeries(table, set.At())
		}
		err = errors.Join(err, set.Err())
	}
	if err != nil {
		return fmt.Errorf("read containers of metrics: %w", err)
	}
	return nil
}

// observeSeries tells the table of the container of a series, at its first and at
// its last sample.
func observeSeries(table *entity.Table, series storage.Series) {
	tags := map[string]string{}
	for label, key := range map[string]string{
		"container_name": "container.name", "container_image_name": "container.image.name",
		"service_name": "service.name", "docker_compose_project": "docker.compose.project",
	} {
		if value := series.Labels().Get(label); value != "" {
			tags[key] = value
		}
	}
	attributes := asResource(series.Labels().Get("container_id"), tags)
	it := series.Iterator(nil)
	if it.Next() == chunkenc.ValNone {
		return
	}
	table.Observe(attributes, time.UnixMilli(it.AtT()))
	last := it.AtT()
	for it.Next() != chunkenc.ValNone {
		last = it.AtT()
	}
	table.Observe(attributes, time.UnixMilli(last))
}

package serve

import (
	"slices"
	"time"

	"github.com/tallymanhq/tallyman/internal/recorder/api"
	"github.com/tallymanhq/tallyman/internal/recorder/entity"
)

// Entities serves a table of containers.
func Entities(t *entity.Table) api.Entities { return &entities{table: t} }

// entities is the table as it was at a moment; the zero time stands for now.
type entities struct {
	table *entity.Table
	at    time.Time
}

// List implements [api.Entities]. States are those at the end of the filter's time.
func (e *entities) List(f api.EntityFilter) (list []api.Entity, more bool) {
	to := e.until(f.To)
	all := e.table.List(entity.Filter{From: f.From, To: to, Text: f.Text})
	for i := range slices.Backward(all) {
		if !matches(&f, &all[i], to) {
			continue
		}
		if f.Limit > 0 && len(list) == f.Limit {
			return list, true
		}
		list = append(list, record(&all[i], to))
	}
	return list, false
}

// matches looks at what the table's own filter does not have.
func matches(f *api.EntityFilter, e *entity.Entity, at time.Time) bool {
	if f.Name != "" && e.Name != f.Name || f.Project != "" && e.Project != f.Project {
		return false
	}
	return len(f.States) == 0 || slices.Contains(f.States, string(e.StateAt(at)))
}

// Get implements [api.Entities]: the last incarnation of the id, and those of its
// name.
func (e *entities) Get(id string) (api.EntityDetail, bool) {
	found, ok := e.lookup(id)
	if !ok {
		return api.EntityDetail{}, false
	}
	detail := api.EntityDetail{Entity: record(&found, e.at)}
	siblings := e.siblings(&found)
	for i := range siblings {
		s := &siblings[i]
		detail.Incarnations = append(detail.Incarnations, api.Incarnation{
			ID: s.ID, Start: api.At(s.Start), Stop: api.At(s.Stop), State: string(s.StateAt(e.at)),
			OOMKilled: s.OOMKilled, ExitCode: s.ExitCode,
		})
	}
	return detail, true
}

func (e *entities) lookup(id string) (entity.Entity, bool) {
	if e.at.IsZero() {
		return e.table.Lookup(id)
	}
	return e.table.LookupAt(id, e.at)
}

// siblings are the incarnations of a name. Containers that nobody has named have
// nothing in common but their id.
func (e *entities) siblings(of *entity.Entity) []entity.Entity {
	if of.Name != "" {
		return e.table.Incarnations(of.Name)
	}
	return slices.DeleteFunc(e.table.List(entity.Filter{Text: of.ID}), func(s entity.Entity) bool { return s.ID != of.ID })
}

// Changed implements [api.Entities].
func (e *entities) Changed(after uint64) (changed []api.Entity, version uint64) {
	all, version := e.table.Changed(after)
	for i := range all {
		changed = append(changed, record(&all[i], e.at))
	}
	return changed, version
}

// until bounds the end of a filter by the moment of the table.
func (e *entities) until(to time.Time) time.Time {
	if to.IsZero() || !e.at.IsZero() && to.After(e.at) {
		return e.at
	}
	return to
}

// record is an entity as the API writes it, with its state at a time.
func record(e *entity.Entity, at time.Time) api.Entity {
	out := api.Entity{
		ID: e.ID, Name: e.Name, Image: e.Image, Service: e.Service, Project: e.Project, State: string(e.StateAt(at)),
		Start: api.At(e.Start), Stop: api.At(e.Stop), LastSeen: api.At(e.LastSeen),
		ExitCode: e.ExitCode, OOMKilled: e.OOMKilled, Restarts: e.Restarts, Incarnation: e.Incarnation, Tags: e.Tags,
	}
	// Also of what has ended: at the moments before it was broken.
	if len(e.Degraded) > 0 {
		d := e.Degraded[0]
		out.Degraded = &api.Degraded{Reason: d.Reason, Since: api.At(d.Since), Process: d.Executable, PID: d.PID}
	}
	if e.LastEvent != nil {
		out.LastEvent = &api.LastEvent{T: api.At(e.LastEvent.At), Name: e.LastEvent.Name, Body: e.LastEvent.Body}
	}
	return out
}

package api

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"time"
)

// maxEntities is how many records one answer has: more than a host has had containers
// in a day of tests. Limits.EventBytes bounds their size, too: with the usual tags they
// have 10 MB.
const maxEntities = 5000

func (s *Server) entities(w http.ResponseWriter, r *http.Request) *failure {
	if s.o.Entities == nil {
		return notFound("there are no containers here")
	}
	p, f := s.form(w, r)
	if f != nil {
		return f
	}
	filter := EntityFilter{Text: p.Get("text"), Name: p.Get("name"), Project: p.Get("project"), Limit: p.count("limit")}
	filter.From, filter.To = p.span("from", "to", [2]time.Time{})
	filter.States = p.list("state")
	for _, state := range filter.States {
		if state != StateRunning && state != StateEnded && state != StateBroken {
			p.fail("state", fmt.Errorf("%q is no state", state))
		}
	}
	if p.failure != nil {
		return p.failure
	}
	if filter.Limit == 0 || filter.Limit > maxEntities {
		filter.Limit = maxEntities
	}
	_, leave, f := s.enter(r.Context(), 0) // the answer may be large
	if f != nil {
		return f
	}
	defer leave()
	list, more := s.o.Entities.List(filter)
	text, n := appendEntities(nil, list, s.o.Limits.EventBytes)
	w.Header().Set("Content-Type", "application/json")
	out := newStream(w)
	out.raw(fmt.Sprintf(`{"now":%s,"truncated":%t,"entities":[`, appendJSON(nil, At(s.o.Now())), more || n < len(list)))
	out.buf = append(out.buf, text...)
	out.raw("]}")
	out.flush()
	return nil
}

// appendEntities writes records until they have a size in bytes, and tells how many it
// has written: at least one, if there is one.
func appendEntities(b []byte, list []Entity, limit int) (_ []byte, n int) {
	for n < len(list) && len(b) < limit {
		if n > 0 {
			b = append(b, ',')
		}
		b = appendJSON(b, whole(list[n : n+1])[0])
		n++
	}
	return b, n
}

func (s *Server) entity(w http.ResponseWriter, r *http.Request) *failure {
	id := r.PathValue("id")
	if s.o.Entities == nil || !validID(id) {
		return notFound("there is no such container")
	}
	entity, ok := s.o.Entities.Get(id)
	if !ok {
		return notFound("there is no such container")
	}
	entity.Entity = whole([]Entity{entity.Entity})[0]
	entity.Incarnations = notNil(entity.Incarnations)
	return writeJSON(w, http.StatusOK, entity)
}

// whole copies the list with no map missing, so that no answer has null for a map.
func whole(list []Entity) []Entity {
	out := make([]Entity, len(list))
	for i, e := range list {
		if e.Tags == nil {
			e.Tags = map[string]string{}
		}
		out[i] = e
	}
	return out
}

// defaultEvents fills some screens of a page.
const defaultEvents = 500

func (s *Server) events(w http.ResponseWriter, r *http.Request) *failure {
	if s.o.Events == nil {
		return notFound("there are no events here")
	}
	p, f := s.form(w, r)
	if f != nil {
		return f
	}
	query := EventQuery{Kinds: p.list("kind"), Containers: p.list("container"), Resource: p.flag("resource")}
	query.From, query.To = p.span("from", "to", [2]time.Time{})
	query.Newest = p.oneOf("order", "newest", "oldest") == "newest"
	limit := p.count("limit")
	if p.failure != nil {
		return p.failure
	}
	if limit == 0 {
		limit = defaultEvents
	}
	return s.scan(w, r, eventScan{query: query, limit: min(limit, s.o.Limits.Events)})
}

// eventScan collects encoded events up to a number and a size. They are held until
// the scan has ended, because its error must still be an error for the client.
type eventScan struct {
	query EventQuery
	limit int
	list  []byte
	count int
	more  bool
}

func (s *Server) scan(w http.ResponseWriter, r *http.Request, e eventScan) *failure {
	ctx, leave, f := s.enter(r.Context(), 0)
	if f != nil {
		return f
	}
	defer leave()
	err := s.o.Events.Scan(ctx, e.query, func(event Event) bool {
		if e.count == e.limit || len(e.list) >= s.o.Limits.EventBytes {
			e.more = true
			return false
		}
		if e.count > 0 {
			e.list = append(e.list, ',')
		}
		if !e.query.Resource {
			event.Resource = nil
		}
		e.list = appendEvent(e.list, event)
		e.count++
		return true
	})
	if err == nil {
		err = ctx.Err() // a scan that was ended early is not whole
	}
	if err != nil {
		return sourceFailure(err)
	}
	w.Header().Set("Content-Type", "application/json")
	out := newStream(w)
	out.raw(fmt.Sprintf(`{"truncated":%t,"events":[`, e.more))
	out.buf = append(out.buf, e.list...)
	out.raw("]}")
	out.flush()
	return nil
}

// appendEvent leaves attributes out that JSON has no way to write, and says so.
func appendEvent(b []byte, e Event) []byte {
	e.Attributes, e.Resource = writable(e.Attributes), writable(e.Resource)
	if e.Attributes == nil {
		e.Attributes = map[string]any{}
	}
	text, err := json.Marshal(e)
	if err != nil {
		e.Attributes = map[string]any{"error": err.Error()}
		e.Resource = nil
		text = appendJSON(nil, e)
	}
	return append(b, text...)
}

// writable replaces numbers that JSON does not have by their names. It copies only
// what it changes.
func writable(all map[string]any) map[string]any {
	var copied map[string]any
	for key, value := range all {
		changed, is := writableValue(value)
		if !is {
			continue
		}
		if copied == nil {
			copied = make(map[string]any, len(all))
			for k, v := range all {
				copied[k] = v
			}
		}
		copied[key] = changed
	}
	if copied != nil {
		return copied
	}
	return all
}

// writableValue returns the replacement of a value that needs one.
func writableValue(value any) (any, bool) {
	switch v := value.(type) {
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return string(appendFloat(nil, v, 64)), true
		}
	case map[string]any:
		return writable(v), true
	case []any:
		list := make([]any, len(v))
		for i, each := range v {
			list[i] = each
			if changed, is := writableValue(each); is {
				list[i] = changed
			}
		}
		return list, true
	}
	return nil, false
}

package serve

import (
	"context"
	"encoding/base64"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/tallymanhq/tallyman/internal/recorder/api"
	"github.com/tallymanhq/tallyman/internal/recorder/eventstore"
)

// EventSource is what events are read from: [eventstore.Store] and
// [eventstore.Reader] are ones. One that also has Subscribe, as the store, can be
// followed.
type EventSource interface {
	Scan(ctx context.Context, q eventstore.Query, each func(eventstore.Event) bool) error
}

type subscribable interface {
	Subscribe(buffer int, wanted func(*eventstore.Event) bool) *eventstore.Feed
}

// Events serves a source of events.
func Events(s EventSource) api.Events { return events{s} }

type events struct{ source EventSource }

// Scan implements [api.Events].
func (e events) Scan(ctx context.Context, q api.EventQuery, each func(api.Event) bool) error {
	query := eventstore.Query{
		From: storable(q.From), To: storable(q.To), Kinds: q.Kinds, Containers: q.Containers, Newest: q.Newest,
	}
	return e.source.Scan(ctx, query, func(found eventstore.Event) bool {
		out := event(&found)
		if q.Resource {
			out.Resource = plain(found.Resource)
		}
		return each(out)
	})
}

// storable moves a bound to where nanoseconds still fit into 64 bits: the years 1678
// to 2262.
func storable(at time.Time) time.Time {
	first, last := time.Unix(0, math.MinInt64), time.Unix(0, math.MaxInt64)
	switch {
	case at.IsZero():
		return at
	case at.Before(first):
		return first
	case at.After(last):
		return last
	}
	return at
}

// Follow implements [api.Events]. A source without a feed gives one that never has
// an event. Beside the buffer of the feed's channel the store keeps one of the same
// size, so that a burst is not lost while this end is awakened.
func (e events) Follow(buffer int) api.Feed {
	store, ok := e.source.(subscribable)
	if !ok {
		return api.Feed{Events: make(chan api.Event), Missed: func() uint64 { return 0 }, Close: func() {}}
	}
	from, to := store.Subscribe(buffer, isRare), make(chan api.Event, max(1, buffer))
	quit := make(chan struct{})
	var pump sync.WaitGroup
	pump.Go(func() {
		defer close(to)
		for found := range from.Events() {
			select {
			case to <- short(event(&found)):
			case <-quit:
				return
			}
		}
	})
	var once sync.Once
	return api.Feed{Events: to, Missed: from.Missed, Close: func() {
		once.Do(func() { close(quit) })
		from.Close()
		pump.Wait()
	}}
}

// maxLiveBody is how much of a body is told as it comes, in bytes; all of it is in
// the answer about this event.
const maxLiveBody = 16 << 10

func short(e api.Event) api.Event {
	if len(e.Body) > maxLiveBody {
		e.Body = strings.ToValidUTF8(e.Body[:maxLiveBody], "") + " ..."
	}
	return e
}

// isRare leaves out what comes by the thousand: a page that follows would lose what
// matters among it.
func isRare(e *eventstore.Event) bool {
	switch e.Name {
	case "network.connection.closed", "process.exec", "process.exit", eventstore.SpanEvent:
		return false
	}
	return true
}

// event is one without its resource.
func event(e *eventstore.Event) api.Event {
	return api.Event{
		T: api.At(e.Time), Name: e.Name, Container: e.Container, Severity: severity(e), Body: e.Body,
		Attributes: plain(e.Attributes),
	}
}

// severity is one of the six names of OpenTelemetry's ranges, or what the source of
// the event calls it.
func severity(e *eventstore.Event) string {
	const perName = 4 // INFO, INFO2, INFO3, INFO4
	names := [...]string{"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"}
	n := (int(e.Severity) - int(plog.SeverityNumberTrace)) / perName
	if e.Severity < plog.SeverityNumberTrace || n >= len(names) {
		return strings.ToUpper(e.Record.SeverityText())
	}
	return names[n]
}

// plain is a map in Go's own types. Attributes without a value are left out.
func plain(m pcommon.Map) map[string]any {
	out := make(map[string]any, m.Len())
	for key, v := range m.All() {
		if v.Type() != pcommon.ValueTypeEmpty {
			out[key] = plainValue(v)
		}
	}
	return out
}

// exact is up to where every integer is a number in JavaScript.
const exact = 1 << 53

func plainValue(v pcommon.Value) any {
	switch v.Type() {
	case pcommon.ValueTypeBool:
		return v.Bool()
	case pcommon.ValueTypeDouble:
		return v.Double()
	case pcommon.ValueTypeInt:
		if n := v.Int(); n > exact || n < -exact {
			return strconv.FormatInt(n, 10) // a page would round it, and an id be another
		}
		return v.Int()
	case pcommon.ValueTypeBytes:
		return base64.StdEncoding.EncodeToString(v.Bytes().AsRaw())
	case pcommon.ValueTypeMap:
		return plain(v.Map())
	case pcommon.ValueTypeSlice:
		list := make([]any, 0, v.Slice().Len())
		for _, each := range v.Slice().All() {
			list = append(list, plainValue(each))
		}
		return list
	}
	return v.Str() // empty for a value that is none
}

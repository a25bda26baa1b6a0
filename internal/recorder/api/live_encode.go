package api

import (
	"encoding/json"
	"math"
	"strconv"
)

// maxFresh is how many events one message carries. What is beyond is counted as
// missed, and in /api/events.
const maxFresh = 500

// retryLine tells EventSource when to come back: soon, and after the agent's restart.
const retryLine = "retry: 2000\n\n"

func appendHello(b []byte, h *hub, view LiveView) []byte {
	b = append(b, retryLine+"event: hello\ndata: {\"t\":"...)
	b = appendMillis(b, view.At.UnixMilli())
	b = append(b, `,"step":`...)
	b = appendFloat(b, h.step.Seconds(), 64)
	b = append(b, `,"columns":`...)
	b = appendJSON(b, notNil(h.columns))
	b = append(b, ',')
	b = appendLiveRows(b, view.Rows)
	return append(b, "}\n\n"...)
}

func appendRows(b []byte, view LiveView) []byte {
	b = append(b, "event: rows\ndata: {\"t\":"...)
	b = appendMillis(b, view.At.UnixMilli())
	b = append(b, ',')
	b = appendLiveRows(b, view.Rows)
	b = append(b, `,"gone":`...)
	b = appendJSON(b, notNil(view.Gone))
	return append(b, "}\n\n"...)
}

func appendLiveRows(b []byte, rows []LiveRow) []byte {
	b = append(b, `"rows":[`...)
	for i, row := range rows {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"id":`...)
		b = appendString(b, row.ID)
		b = append(b, `,"v":`...)
		b = appendValues(b, row.Values)
		if row.History != nil {
			b = append(b, `,"h":[`...)
			for j, values := range row.History {
				if j > 0 {
					b = append(b, ',')
				}
				b = appendValues(b, values)
			}
			b = append(b, ']')
		}
		b = append(b, '}')
	}
	return append(b, ']')
}

// appendValues writes what is not a number as null, and the digits that a float32
// has: seven or eight.
func appendValues(b []byte, values []float32) []byte {
	b = append(b, '[')
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			b = append(b, "null"...)
		} else {
			b = appendFloat(b, f, 32)
		}
	}
	return append(b, ']')
}

// maxFreshBytes bounds the events of one message: a reader may be eight messages
// behind. What does not fit comes with the next.
const maxFreshBytes = 1 << 20

// appendEvents takes what is there, without waiting.
func (h *hub) appendEvents(b []byte) []byte {
	if h.feed == nil {
		return b
	}
	var list []byte
	count := 0
	for ; count < maxFresh && len(list) < maxFreshBytes; count++ {
		e, ok := h.next()
		if !ok {
			break
		}
		if count > 0 {
			list = append(list, ',')
		}
		list = appendEvent(list, e)
	}
	missed := h.feed.Missed()
	if count == 0 && missed == h.missed {
		return b
	}
	b = append(b, "event: events\ndata: {\"events\":["...)
	b = append(b, list...)
	b = append(b, `],"missed":`...)
	b = strconv.AppendUint(b, missed-h.missed, 10)
	h.missed = missed
	return append(b, "}\n\n"...)
}

func (h *hub) next() (Event, bool) {
	select {
	case e, ok := <-h.feed.Events:
		return e, ok
	default:
		return Event{}, false
	}
}

func (h *hub) appendEntities(b []byte) []byte {
	if h.o.Entities == nil {
		return b
	}
	changed, version := h.o.Entities.Changed(h.entities)
	h.entities = version
	if len(changed) == 0 {
		return b
	}
	b = append(b, "event: entities\ndata: {\"entities\":"...)
	b = appendJSON(b, whole(changed))
	return append(b, "}\n\n"...)
}

func (h *hub) appendCaptures(b []byte) []byte {
	if h.o.Captures == nil {
		return b
	}
	version := h.o.Captures.Version()
	if version == h.captures {
		return b
	}
	h.captures = version
	b = append(b, "event: captures\ndata: {\"captures\":"...)
	b = appendJSON(b, wholeCaptures(h.o.Captures.List()))
	return append(b, "}\n\n"...)
}

// appendJSON is for our own types, which have nothing that cannot be encoded.
func appendJSON(b []byte, v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return append(b, text...)
}

func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

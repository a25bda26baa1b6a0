package dockerfilterextension

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/engine"
	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/project"
	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/request"
)

// events streams what happens. All clients share one stream of the engine, unless
// they ask for the past or for a choice that only the engine can make.
func (x *exchange) events() {
	view := project.View{Kind: project.Event, Rules: x.rules.of(x.client.Grant), Visible: x.client.Visible()}
	if view.Visible != nil {
		// Whose volume it is, an event does not say.
		view.Volume = func(string) bool { return false }
	}
	choice, ok := choiceOf(&x.request.Query)
	if !ok {
		x.ownEvents(view)
		return
	}
	sub, err := x.engine.Subscribe(x.ctx)
	if err != nil {
		x.fail(err)
		return
	}
	defer sub.Close()
	x.project(&eventReader{ctx: x.ctx, sub: sub, choice: choice}, view, oneObject)
}

func (x *exchange) ownEvents(view project.View) {
	question, err := x.upstream("", engine.JSONStream)
	if err != nil {
		x.fail(err)
		return
	}
	response, err := x.engine.Do(x.ctx, question)
	if err != nil {
		x.fail(err)
		return
	}
	defer func() { _ = response.Body.Close() }()
	x.project(response.Body, view, oneObject)
}

// choice is which events a client wants; nil lists are all.
type choice struct{ types, actions []string }

// choiceOf takes the filters that need nothing but the event itself. It is not ok
// with others, or with a time.
func choiceOf(q *request.Query) (choice, bool) {
	for _, name := range []string{"since", "until"} {
		if _, ok := q.Value(name); ok {
			return choice{}, false
		}
	}
	var c choice
	for name, values := range q.Filters {
		switch name {
		case "type":
			c.types = values
		case "event":
			c.actions = values
		default:
			return choice{}, false
		}
	}
	return c, true
}

// wants reports whether an event is chosen. As the engine does it, an action is
// known by what stands before its colon (daemon/events/filter.go of moby).
func (c choice) wants(event []byte) bool {
	if c.types == nil && c.actions == nil {
		return true
	}
	var e struct{ Type, Action string }
	if json.Unmarshal(event, &e) != nil {
		return true // the projection will not let it pass
	}
	if c.types != nil && !slices.Contains(c.types, e.Type) {
		return false
	}
	short, _, _ := strings.Cut(e.Action, ":")
	return c.actions == nil || slices.Contains(c.actions, short) ||
		short == "health_status" && slices.Contains(c.actions, e.Action)
}

// eventReader reads the events of a subscription, one in each line.
type eventReader struct {
	ctx    context.Context
	sub    *engine.Subscription
	choice choice
	rest   []byte
}

// Read waits for the next event.
func (r *eventReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		event, err := r.sub.Next(r.ctx)
		if err != nil {
			return 0, err
		}
		if r.choice.wants(event) {
			r.rest = append(append(r.rest, event...), '\n')
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[:copy(r.rest, r.rest[n:])]
	return n, nil
}

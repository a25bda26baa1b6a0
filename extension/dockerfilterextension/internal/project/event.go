package project

import (
	"bytes"

	"github.com/tallymanhq/tallyman/internal/secret"
)

// event is what decides whether a client may see an event.
type event struct {
	kind      []byte // Type
	actor     []byte // Actor.ID
	id        []byte // the same in old releases, where images go by name
	container []byte // Actor.Attributes.container: who was connected, who mounted
}

// reset keeps the buffers.
func (e event) reset() event {
	return event{kind: e.kind[:0], actor: e.actor[:0], id: e.id[:0], container: e.container[:0]}
}

// showEvent decides after the whole event was read.
func (p *pass) showEvent() bool {
	e := &p.element.event
	switch string(e.kind) {
	case "container":
		if len(e.id) > 0 && !bytes.Equal(e.id, e.actor) {
			return false // two answers to the one question that matters
		}
		return p.view.Visible == nil || len(e.actor) > 0 && p.visible(e.actor)
	case "volume":
		if p.view.Volume != nil && !p.view.Volume(string(e.actor)) {
			return false
		}
	case "image", "network", "daemon", "builder":
	case "plugin", "secret", "config", "node", "service":
		if !p.rules.swarm {
			return false
		}
	default:
		return false
	}
	return len(e.container) == 0 || p.visible(e.container)
}

func (p *pass) eventType(n *node) (bool, error) {
	return p.remember(n, &p.element.event.kind)
}

func (p *pass) eventActor(n *node) (bool, error) {
	return p.remember(n, &p.element.event.actor)
}

func (p *pass) eventID(n *node) (bool, error) {
	return p.remember(n, &p.element.event.id)
}

// remember keeps a word and stores it.
func (p *pass) remember(n *node, at *[]byte) (bool, error) {
	raw, text, err := p.string(n)
	if err != nil {
		return false, err
	}
	*at = append((*at)[:0], text...)
	return p.keep(n, raw, isWord(text) && !secret.Certain(text)), nil
}

// action cuts what comes after the colon: exec_create: is followed by the
// command line. Only the outcome of a health check is kept.
func (p *pass) action(n *node) (bool, error) {
	raw, text, err := p.string(n)
	if err != nil {
		return false, err
	}
	word, rest, cut := bytes.Cut(text, []byte(":"))
	if !isWord(word) || secret.Certain(word) {
		p.count(n)
		return false, nil
	}
	if !cut || string(word) == "health_status" && isHealth(bytes.TrimSpace(rest)) {
		p.out = append(p.out, raw...)
		return true, nil
	}
	p.count(n)
	p.out = appendQuoted(p.out, word)
	return true, nil
}

func isHealth(text []byte) bool {
	switch string(text) {
	case "healthy", "unhealthy", "starting", "running", "none":
		return true
	}
	return false
}

// attributes are those the engine gives an event, among the labels of a
// container or an image. For all other types those that are not known go.
func (p *pass) attributes(n *node) (bool, error) {
	// Engines write Type before Actor. If one did not, no label would be kept.
	kind := string(p.element.event.kind)
	labelled := kind == "container" || kind == "image"
	return p.pairs(n, func(key, value []byte) verdict {
		switch string(key) {
		case "container":
			p.element.event.container = append(p.element.event.container[:0], value...)
			return stayIf(isWord(value) && !secret.Certain(value))
		case "image", "name", "type", "driver", "oldName":
			return stayIf(isWord(value) && !secret.Certain(value))
		case "exitCode", "signal", "execDuration":
			return stayIf(consists(value, func(c byte) bool { return '0' <= c && c <= '9' || c == '-' }))
		case "execID", "comment":
			return leave
		}
		if !labelled {
			return leave
		}
		return p.judgeLabel(key, value)
	})
}

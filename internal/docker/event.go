package docker

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Types of events that are read.
const (
	typeContainer = "container"
	typeImage     = "image"
	typeNetwork   = "network"
)

// Actions that mean something to the ledger.
const (
	actionCreate  = "create"
	actionStart   = "start"
	actionDie     = "die"
	actionOOM     = "oom"
	actionPause   = "pause"
	actionUnpause = "unpause"
	actionRename  = "rename"
	actionHealth  = "health_status"
	actionUpdate  = "update"
	actionDestroy = "destroy"
)

// use is what an action is good for.
type use int

const (
	useNone  use = iota // commands run inside, copies, terminals: not our business
	useState            // it changes the object; nobody is told of the event
	useTell             // it changes the object, and it is handed out
)

// uses lists the actions by type. What is not there is not used.
var uses = map[string]map[string]use{
	typeContainer: {
		actionCreate: useTell, actionStart: useTell, actionDie: useTell, actionOOM: useTell, "kill": useTell,
		"restart": useTell, actionPause: useTell, actionUnpause: useTell, actionRename: useTell,
		actionHealth: useTell, actionDestroy: useTell, actionUpdate: useState,
	},
	// delete is an image, untag one of its names.
	typeImage:   {"pull": useTell, "delete": useTell, "tag": useState, "untag": useState, "load": useState, "import": useState},
	typeNetwork: {"connect": useTell, "disconnect": useTell},
}

// podmanWords are Podman's own words where its Docker socket does not translate
// them: events.go in pkg/api/handlers/compat translates died and an image's
// remove, but not a container's, and old releases neither.
var podmanWords = map[string]map[string]string{
	typeContainer: {"died": actionDie, "remove": actionDestroy},
	typeImage:     {"remove": "delete"},
}

// wireEvent is EventMessage of https://docs.docker.com/reference/api/engine/.
type wireEvent struct {
	Type, Action string
	Actor        struct {
		ID         string
		Attributes map[string]string
	}
	HealthStatus string // Podman's
	Time         int64  `json:"time"`
	TimeNano     int64  `json:"timeNano"`
}

// message is an event as it came.
type message struct {
	Event
	use use
	// labels are those of a container event.
	labels map[string]string
	// nano is the engine's clock in nanoseconds since 1970.
	nano int64
	// received is our clock.
	received time.Time
}

// parseEvent reads one event.
func parseEvent(line []byte) (*message, error) {
	var from wireEvent
	if err := json.Unmarshal(line, &from); err != nil {
		return nil, fmt.Errorf("parse event: %w", err)
	}
	if from.Type == "" || from.Action == "" || from.Actor.ID == "" {
		return nil, fmt.Errorf("parse event: %w (type, action or actor is missing)", errShape)
	}
	if from.TimeNano == 0 {
		from.TimeNano = from.Time * int64(time.Second)
	}
	word, detail, _ := strings.Cut(from.Action, ":")
	if own, ok := podmanWords[from.Type][word]; ok {
		word = own
	}
	m := &message{nano: from.TimeNano, use: uses[from.Type][word]}
	m.Event = Event{Time: time.Unix(0, from.TimeNano).UTC(), Type: from.Type, Action: word, ID: from.Actor.ID}
	switch from.Type {
	case typeContainer:
		return m, m.container(&from, strings.TrimSpace(detail))
	case typeNetwork:
		return m, m.network(&from)
	case typeImage:
		m.Image = orElse(from.Actor.Attributes["name"], m.ID)
	}
	return m, nil
}

func (m *message) container(from *wireEvent, detail string) error {
	if !isID(m.ID) {
		return fmt.Errorf("parse event: %w (container %.64q)", errShape, m.ID)
	}
	attributes := from.Actor.Attributes
	m.Name, m.Image = strings.TrimPrefix(attributes["name"], "/"), attributes["image"]
	switch m.Action {
	case actionDie:
		m.ExitCode = number(attributes["exitCode"])
		if m.ExitCode == nil {
			m.ExitCode = number(attributes["containerExitCode"])
		}
	case "kill":
		if number(attributes["signal"]) != nil {
			m.Signal = attributes["signal"]
		}
	case actionRename:
		m.OldName = strings.TrimPrefix(attributes["oldName"], "/")
	case actionHealth:
		m.Health = healthWord(detail, from.HealthStatus)
	}
	if m.use != useNone {
		m.labels = labelsOf(attributes)
	}
	return nil
}

// healthWord takes the state from where the engine wrote it. It is free text
// with some engines, of which nothing else may pass.
func healthWord(candidates ...string) string {
	for _, c := range candidates {
		if slices.Contains([]string{"healthy", "unhealthy", "starting"}, c) {
			return c
		}
	}
	return ""
}

func (m *message) network(from *wireEvent) error {
	attributes := from.Actor.Attributes
	m.Container, m.Network = attributes["container"], attributes["name"]
	if name, ok := attributes["network"]; ok && m.Container == "" {
		// Podman: the actor is the container, the network is named aside.
		m.Container, m.Network = m.ID, name
	}
	if m.Container != "" && !isID(m.Container) {
		return fmt.Errorf("parse event: %w (container %.64q)", errShape, m.Container)
	}
	return nil
}

// engineAttributes are those of a container event that are no labels.
var engineAttributes = []string{
	"name", "image", "exitCode", "signal", "oldName", "execDuration", "execID", "comment", "containerExitCode", "podId",
}

func labelsOf(attributes map[string]string) map[string]string {
	labels := maps.Clone(attributes)
	for _, key := range engineAttributes {
		delete(labels, key)
	}
	return labels
}

func number(text string) *int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return nil
	}
	return &n
}

// key is what makes two messages the same event.
func (m *message) key() eventKey { return eventKey{m.nano, m.ID, m.Action, m.Container} }

// about returns the id of the container that an event concerns, or "".
func (m *message) about() string {
	switch m.Type {
	case typeContainer:
		return m.ID
	case typeNetwork:
		return m.Container
	}
	return ""
}

// sketch makes a container of what the event says of it.
func (m *message) sketch() *Container {
	return &Container{ID: m.ID, Name: m.Name, ImageRef: m.Image, Labels: m.labels}
}

package containerstatusreceiver

import (
	"context"
	"fmt"
	"strconv"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/tallymanhq/tallyman/internal/docker"
	"github.com/tallymanhq/tallyman/internal/imageref"
	"github.com/tallymanhq/tallyman/receiver/containerstatusreceiver/internal/metadata"
)

// The types of events that are asked for.
const (
	typeContainer = "container"
	typeImage     = "image"
	typeNetwork   = "network"
)

func eventTypes() []string { return []string{typeContainer, typeImage, typeNetwork} }

// kindKey is an event's type and action, in the engine's words.
type kindKey struct{ object, action string }

func kindOf(e *docker.Event) kindKey { return kindKey{e.Type, e.Action} }

// kind is how one kind of event becomes a log record.
type kind struct {
	record func(*metadata.LogsBuilder, context.Context, pcommon.Timestamp, ...metadata.EventAttributeOption)
	// text is the sentence; %s stands for what the event is about.
	text string
	// level is the severity unless bad says that it is a warning.
	level plog.SeverityNumber
	bad   func(*docker.Event) bool
}

// kinds are the events that are told. All others (exec, attach, top, tag, ...)
// are left out: a health check alone makes three of them at each turn. The words
// are Docker's, into which internal/docker translates Podman's.
// https://docs.docker.com/reference/cli/docker/system/events/
var kinds = map[kindKey]kind{
	{typeContainer, "create"}:        {(*metadata.LogsBuilder).RecordContainerCreateEvent, "%s was created", info, nil},
	{typeContainer, "start"}:         {(*metadata.LogsBuilder).RecordContainerStartEvent, "%s was started", info, nil},
	{typeContainer, "die"}:           {(*metadata.LogsBuilder).RecordContainerDieEvent, "%s has ended", info, hasFailed},
	{typeContainer, "oom"}:           {(*metadata.LogsBuilder).RecordContainerOomEvent, "%s ran out of memory", plog.SeverityNumberError, nil},
	{typeContainer, "kill"}:          {(*metadata.LogsBuilder).RecordContainerKillEvent, "%s was sent a signal", info, nil},
	{typeContainer, "restart"}:       {(*metadata.LogsBuilder).RecordContainerRestartEvent, "%s was restarted", info, nil},
	{typeContainer, "pause"}:         {(*metadata.LogsBuilder).RecordContainerPauseEvent, "%s was paused", info, nil},
	{typeContainer, "unpause"}:       {(*metadata.LogsBuilder).RecordContainerUnpauseEvent, "%s goes on after a pause", info, nil},
	{typeContainer, "rename"}:        {(*metadata.LogsBuilder).RecordContainerRenameEvent, "%s has a new name", info, nil},
	{typeContainer, "health_status"}: {(*metadata.LogsBuilder).RecordContainerHealthStatusEvent, "%s was checked", info, isUnhealthy},
	{typeContainer, "destroy"}:       {(*metadata.LogsBuilder).RecordContainerDestroyEvent, "%s was removed", info, nil},
	{typeImage, "pull"}:              {(*metadata.LogsBuilder).RecordImagePullEvent, "%s was pulled", info, nil},
	{typeImage, "delete"}:            {(*metadata.LogsBuilder).RecordImageRemoveEvent, "%s was removed", info, nil},
	{typeNetwork, "connect"}:         {(*metadata.LogsBuilder).RecordNetworkConnectEvent, "%s was connected to a network", info, nil},
	{typeNetwork, "disconnect"}:      {(*metadata.LogsBuilder).RecordNetworkDisconnectEvent, "%s was disconnected from a network", info, nil},
}

const info = plog.SeverityNumberInfo

// told reports whether an event is one of those that are handed on.
func told(e *docker.Event) bool {
	_, ok := kinds[kindOf(e)]
	return ok
}

func hasFailed(e *docker.Event) bool   { return e.ExitCode != nil && *e.ExitCode != 0 }
func isUnhealthy(e *docker.Event) bool { return e.Health == "unhealthy" }

func (k kind) severity(e *docker.Event) plog.SeverityNumber {
	if k.bad != nil && k.bad(e) {
		return plog.SeverityNumberWarn
	}
	return k.level
}

// options are the attributes the event has. The builder knows them by name; an
// event of another kind does not have what they are made of.
func (k kind) options(e *docker.Event) []metadata.EventAttributeOption {
	var o []metadata.EventAttributeOption
	if e.ExitCode != nil {
		o = append(o, metadata.WithContainerExitCodeEventAttribute(int64(*e.ExitCode)))
	}
	if signal, err := strconv.Atoi(e.Signal); err == nil {
		o = append(o, metadata.WithContainerSignalEventAttribute(int64(signal)))
	}
	if e.Health != "" {
		o = append(o, metadata.WithContainerHealthReportedEventAttribute(e.Health))
	}
	if e.Action == "rename" && e.Name != "" {
		o = append(o, metadata.WithContainerNameEventAttribute(e.Name))
	}
	if e.OldName != "" {
		o = append(o, metadata.WithContainerOldNameEventAttribute(e.OldName))
	}
	if e.Type == typeImage {
		o = append(o, imageOptions(e.ID)...)
	}
	if e.Network != "" {
		o = append(o, metadata.WithDockerNetworkNameEventAttribute(e.Network))
	}
	if e.Recovered {
		o = append(o, metadata.WithContainerEventRecoveredEventAttribute(true))
	}
	return o
}

// imageOptions take a reference apart, as the conventions want it.
func imageOptions(reference string) []metadata.EventAttributeOption {
	ref, ok := imageref.Parse(reference)
	if !ok {
		return []metadata.EventAttributeOption{metadata.WithContainerImageIDEventAttribute(reference)}
	}
	o := []metadata.EventAttributeOption{metadata.WithContainerImageNameEventAttribute(ref.Name)}
	if ref.Tag != "" {
		o = append(o, metadata.WithContainerImageTagsEventAttribute([]any{ref.Tag}))
	}
	return o
}

// sentence is the body: what happened, with the particulars if they are known.
func (k kind) sentence(e *docker.Event) string {
	text := fmt.Sprintf(k.text, subject(e))
	switch {
	case e.ExitCode != nil:
		text += fmt.Sprintf(" with exit code %d", *e.ExitCode)
	case e.Signal != "":
		text = fmt.Sprintf("%s was sent signal %s", subject(e), e.Signal)
	case e.Health != "":
		text = fmt.Sprintf("%s is %s", subject(e), e.Health)
	case e.OldName != "":
		text += fmt.Sprintf(", it was %s", e.OldName)
	case e.Action == "create" && e.Image != "":
		text += " from " + e.Image
	case e.Network != "":
		text += " (" + e.Network + ")"
	}
	return text + "."
}

// subject is what the event is about: by its name, or the beginning of its id
// as engines show it.
func subject(e *docker.Event) string {
	if e.Type == typeImage {
		return "Image " + e.ID
	}
	id := containerOf(e)
	switch {
	case e.Name != "":
		return "Container " + e.Name
	case id != "":
		return fmt.Sprintf("Container %.12s", id)
	}
	return "A container"
}

package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.opentelemetry.io/collector/pdata/plog"
)

// event is one log record of a container.
type event struct {
	name       string
	severity   plog.SeverityNumber
	body       string
	resource   map[string]any
	attributes map[string]any
}

// events reads events.jsonl: one OTLP JSON document per line. The last line
// may be in the middle of being written.
func (a *agent) events(id string) ([]event, error) {
	text, err := os.ReadFile(filepath.Join(a.state, "events.jsonl"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // the exporter makes it with the first event
	}
	if err != nil {
		return nil, err // has verb and path
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1]
	var found []event
	for line := range bytes.Lines(text) {
		logs, err := (&plog.JSONUnmarshaler{}).UnmarshalLogs(line)
		if err != nil {
			return nil, fmt.Errorf("parse line of events.jsonl %q: %w", line, err)
		}
		found = append(found, eventsOf(logs, id)...)
	}
	return found, nil
}

// eventsOf picks the events of one container.
func eventsOf(logs plog.Logs, id string) []event {
	var found []event
	for _, resource := range logs.ResourceLogs().All() {
		if got, ok := resource.Resource().Attributes().Get("container.id"); !ok || got.Str() != id {
			continue
		}
		for _, scope := range resource.ScopeLogs().All() {
			for _, record := range scope.LogRecords().All() {
				found = append(found, event{
					name:       record.EventName(),
					severity:   record.SeverityNumber(),
					body:       record.Body().AsString(),
					resource:   resource.Resource().Attributes().AsRaw(),
					attributes: record.Attributes().AsRaw(),
				})
			}
		}
	}
	return found
}

// event returns the only event of that name. None is errMissing.
func (a *agent) event(id, name string) (event, error) {
	all, err := a.events(id)
	if err != nil {
		return event{}, err
	}
	var found []event
	for _, e := range all {
		if e.name == name {
			found = append(found, e)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return event{}, fmt.Errorf("event %s of container %.12s among %d: %w", name, id, len(all), errMissing)
	}
	return event{}, fmt.Errorf("event %s of container %.12s: %d of them: %w", name, id, len(found), errTwice)
}

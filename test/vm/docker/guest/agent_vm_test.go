//go:build vmdocker

package guest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// Where the unit and the default configuration put things.
const (
	unit       = "tallyman.service"
	program    = "tallyman"
	eventsFile = "/var/lib/tallyman/events.jsonl"
	metricsURL = "http://localhost:9464/metrics"
	healthURL  = "http://localhost:13133/"
	ownURL     = "http://localhost:8888/metrics"
)

const (
	// soon is for what takes some seconds in this machine: starting the agent or a container takes three.
	soon = 2 * time.Minute
	// pace is the pause between two looks at a condition. The agent measures every second, and a look takes its share
	// of the one emulated processor.
	pace = time.Second
)

var (
	errWait = errors.New("not yet")
)

// eventually is testkit.Eventually with fewer looks.
func eventually(t *testing.T, within time.Duration, condition func() error) {
	t.Helper()
	var looked time.Time
	var err error
	testkit.Eventually(t, within, func() error {
		if looked.IsZero() || time.Since(looked) >= pace {
			err = condition()
			looked = time.Now()
		}
		return err
	})
}

// runAgent makes sure that the unit runs and answers.
func runAgent(t *testing.T) {
	t.Helper()
	fresh(t)
	systemctl(t, "start", unit)
	eventually(t, soon, healthy)
}

func healthy() error {
	_, err := fetch(healthURL)
	return err
}

// shown is what the agent shows now.
func shown() (page, error) {
	body, err := fetch(metricsURL)
	if err != nil {
		return nil, err
	}
	return parsePage(body)
}

// shownOf returns what the page has about one container.
func shownOf(id string) (figures, error) {
	now, err := shown()
	if err != nil {
		return nil, err
	}
	return now.of(id)
}

// telemetry is what the agent tells about itself.
func telemetry() (figures, error) {
	body, err := fetch(ownURL)
	if err != nil {
		return nil, err
	}
	own, err := parsePage(body)
	return own[""], err
}

// waitPage waits until the page has the container.
func waitPage(t *testing.T, id string) {
	t.Helper()
	eventually(t, soon, func() error {
		_, err := shownOf(id)
		return err
	})
}

// waitUptime waits until the page shows each of the containers so many seconds older than it is there now.
func waitUptime(t *testing.T, more float64, ids ...string) {
	t.Helper()
	first, err := shown()
	require.NoError(t, err)
	eventually(t, soon, func() error {
		now, err := shown()
		for _, id := range ids {
			err = errors.Join(err, now[id].least(uptime, first[id][uptime]+more))
		}
		return err
	})
}

// event is one log record of a container.
type event struct {
	name       string
	severity   plog.SeverityNumber
	attributes map[string]any
}

// events returns the records that the file has about a container: one OTLP JSON document per line, of which the last may
// be in the middle of being written. An empty name means all of them.
func events(id, name string) ([]event, error) {
	text, err := os.ReadFile(eventsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // it is made with the first event
	}
	if err != nil {
		return nil, err // has verb and path
	}
	var found []event
	for line := range bytes.Lines(text[:bytes.LastIndexByte(text, '\n')+1]) {
		logs, err := (&plog.JSONUnmarshaler{}).UnmarshalLogs(line)
		if err != nil {
			return nil, fmt.Errorf("parse line of %s %q: %w", eventsFile, line, err)
		}
		found = append(found, eventsOf(logs, id, name)...)
	}
	return found, nil
}

func eventsOf(logs plog.Logs, id, name string) []event {
	var found []event
	for _, resource := range logs.ResourceLogs().All() {
		if got, ok := resource.Resource().Attributes().Get("container.id"); !ok || got.Str() != id {
			continue
		}
		for _, scope := range resource.ScopeLogs().All() {
			for _, record := range scope.LogRecords().All() {
				if name == "" || record.EventName() == name {
					found = append(found, event{record.EventName(), record.SeverityNumber(), record.Attributes().AsRaw()})
				}
			}
		}
	}
	return found
}

// waitEvent returns the only event of that name.
func waitEvent(t *testing.T, id, name string) event {
	t.Helper()
	var found []event
	eventually(t, soon, func() error {
		var err error
		found, err = events(id, name)
		if err == nil && len(found) == 0 {
			err = fmt.Errorf("event %s of container %.12s: %w", name, id, errMissing)
		}
		return err
	})
	require.Len(t, found, 1, name)
	return found[0]
}

// noEvent fails the test if there is an event of that name.
func noEvent(t *testing.T, id, name string) {
	t.Helper()
	found, err := events(id, name)
	require.NoError(t, err)
	require.Empty(t, found, name)
}

// systemctl runs to its end: for start, stop and restart that is when systemd has done it.
func systemctl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "systemctl", append([]string{"--no-pager", "--full"}, args...)...).CombinedOutput()
	require.NoError(t, err, "systemctl %q: %s", args, out)
	return string(out)
}

// properties is what systemd says about a unit.
func properties(t *testing.T, name string) map[string]string {
	t.Helper()
	return parseProperties([]byte(systemctl(t, "show", name)))
}

// mainPID is the agent's process.
func mainPID(t *testing.T) int {
	t.Helper()
	pid, err := strconv.Atoi(properties(t, unit)["MainPID"])
	require.NoError(t, err)
	return pid
}

// requireQuiet fails the test if the journal of the unit has a line at level warning or above, since the machine booted.
// There are no known ones: what docs/troubleshooting.md lists does not apply to root on a host with cgroups, Docker and
// free ports.
func requireQuiet(t *testing.T) {
	t.Helper()
	text, err := exec.CommandContext(t.Context(), "journalctl", "--no-pager", "--all", "--output=json", "--unit="+unit).Output()
	require.NoError(t, err)
	entries, err := parseJournal(text)
	require.NoError(t, err)
	own := 0
	for _, e := range entries {
		if e.identifier == program {
			own++
		}
	}
	require.NotZero(t, own, "the journal has nothing from the agent")
	require.Empty(t, complaints(entries, program))
	t.Logf("journal of %s: %d entries, %d of the agent, none at level warning or above", unit, len(entries), own)
}

package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var errJournal = errors.New("not an entry of the journal")

// warning is the journal's name for level 4; what is more urgent has a lower number.
const warning = 4

// entry is one line of the journal.
type entry struct {
	identifier string // program that wrote it
	priority   int
	message    string
}

// parseJournal reads the output of journalctl --output=json --all: one JSON object per line, in which a message that is
// not printable text is a list of bytes.
func parseJournal(text []byte) ([]entry, error) {
	var entries []entry
	for line := range strings.Lines(string(text)) {
		var fields struct {
			Identifier string          `json:"SYSLOG_IDENTIFIER"`
			Priority   string          `json:"PRIORITY"`
			Message    json.RawMessage `json:"MESSAGE"`
		}
		err := json.Unmarshal([]byte(line), &fields)
		if err != nil {
			return nil, fmt.Errorf("parse journal line %q: %w", line, err)
		}
		e := entry{identifier: fields.Identifier}
		e.priority, err = strconv.Atoi(fields.Priority)
		if err != nil {
			return nil, fmt.Errorf("parse priority of journal line %q: %w", line, err)
		}
		e.message, err = parseMessage(fields.Message)
		if err != nil {
			return nil, fmt.Errorf("parse journal line %q: %w", line, err)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

func parseMessage(raw json.RawMessage) (string, error) {
	var text string
	if json.Unmarshal(raw, &text) == nil && text != "" {
		return text, nil
	}
	var numbers []int
	err := json.Unmarshal(raw, &numbers)
	if err != nil || len(numbers) == 0 {
		return "", fmt.Errorf("%w: message %q", errJournal, raw)
	}
	for _, n := range numbers {
		text += string([]byte{byte(n)})
	}
	return text, nil
}

// complaints are the entries of a unit at level warning and above: those of systemd by the journal's own priority, those
// of the agent by the level in its text, for which the priority is always the same. What is no log line at all, such as
// a panic's, is one too.
func complaints(entries []entry, program string) []string {
	var found []string
	for _, e := range entries {
		fields := strings.SplitN(e.message, "\t", 3)
		fine := len(fields) == 3 && (fields[1] == "info" || fields[1] == "debug" || isStarved(fields[2]))
		if e.identifier != program {
			fine = true
		}
		if !fine || e.priority <= warning {
			found = append(found, fmt.Sprintf("%s<%d>: %s", e.identifier, e.priority, e.message))
		}
	}
	return found
}

// isStarved reports whether a message says that the agent has not answered itself within ten seconds: an emulated machine
// on a busy host takes that long at times, which is no fault of the agent's.
func isStarved(message string) bool {
	return strings.Contains(message, "Failed to scrape Prometheus endpoint") &&
		strings.Contains(message, `"prometheus/agent"`) && strings.Contains(message, "context deadline exceeded")
}

// parseProperties reads the output of systemctl show: "Key=value" lines.
func parseProperties(text []byte) map[string]string {
	properties := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "="); ok {
			properties[key] = value
		}
	}
	return properties
}

func TestJournalComplaints(t *testing.T) {
	text := `{"SYSLOG_IDENTIFIER":"systemd","PRIORITY":"6","MESSAGE":"Started tallyman.service."}
{"SYSLOG_IDENTIFIER":"tallyman","PRIORITY":"6","MESSAGE":"2026-11-21T13:57:06.494Z\tinfo\tservice.go:259\tStarting"}
{"SYSLOG_IDENTIFIER":"tallyman","PRIORITY":"6","MESSAGE":"t\twarn\tFailed to scrape Prometheus endpoint {\"id\": \"prometheus/agent\", \"error\": \"context deadline exceeded\"}"}
{"SYSLOG_IDENTIFIER":"tallyman","PRIORITY":"6","MESSAGE":[116,9,105,110,102,111,9,195,164,1]}
`
	good, err := parseJournal([]byte(text))
	require.NoError(t, err)
	require.Len(t, good, 4)
	require.Equal(t, entry{"tallyman", 6, "t\tinfo\tä\x01"}, good[3])
	require.Empty(t, complaints(good, "tallyman"))

	f := func(line string) {
		t.Helper()
		more, err := parseJournal([]byte(text + line))
		require.NoError(t, err)
		require.Len(t, complaints(more, "tallyman"), 1)
	}
	f(`{"SYSLOG_IDENTIFIER":"systemd","PRIORITY":"4","MESSAGE":"tallyman.service: Failed with result 'exit-code'."}`)
	f(`{"SYSLOG_IDENTIFIER":"tallyman","PRIORITY":"6","MESSAGE":"2026-11-21T13:57:06.494Z\twarn\tservice.go:259\tOh"}`)
	f(`{"SYSLOG_IDENTIFIER":"tallyman","PRIORITY":"6","MESSAGE":"t\twarn\tFailed to scrape Prometheus endpoint {\"id\": \"prometheus/agent\", \"error\": \"connection refused\"}"}`)
	f(`{"SYSLOG_IDENTIFIER":"tallyman","PRIORITY":"6","MESSAGE":"panic: runtime error"}`)
	f(`{"SYSLOG_IDENTIFIER":"tallyman","PRIORITY":"3","MESSAGE":"t\tinfo\tx"}`)

	for _, line := range []string{"-- No entries --", `{"PRIORITY":"6"}`, `{"MESSAGE":"x"}`, `{"PRIORITY":"6","MESSAGE":null}`} {
		_, err = parseJournal([]byte(line))
		require.Error(t, err, line)
	}
}

func TestParseProperties(t *testing.T) {
	got := parseProperties([]byte("Result=success\nEnvironment=A=b\nMainPID=0\n\n"))
	require.Equal(t, map[string]string{"Result": "success", "Environment": "A=b", "MainPID": "0"}, got)
}

// An entry that parses has a message.
func FuzzParseJournal(f *testing.F) {
	f.Add([]byte(`{"SYSLOG_IDENTIFIER":"tallyman","PRIORITY":"6","MESSAGE":"x"}`))
	f.Add([]byte(`{"PRIORITY":"6","MESSAGE":[1,2,300]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		entries, err := parseJournal(text)
		if err != nil {
			return
		}
		for _, e := range entries {
			if e.message == "" {
				t.Errorf("an entry of %q has no message", text)
			}
		}
	})
}

package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

const (
	// answerWithin bounds one request to the recorder.
	answerWithin = 20 * time.Second
	// cutWithin is the two minutes after a trigger, one for a trigger that joins, and
	// one for a machine that is busy.
	cutWithin = 4 * time.Minute
)

var (
	errNotYet  = errors.New("not yet")
	errTooMany = errors.New("too many")
)

// recorderAgent is an agent whose flight recorder is asked over HTTP.
type recorderAgent struct {
	*agent
	url string // of the recorder, without a slash at the end
}

// startRecorder starts an agent and knows where its recorder answers.
func startRecorder(t *testing.T, s settings) *recorderAgent {
	t.Helper()
	a := startAgent(t, s)
	return &recorderAgent{agent: a, url: a.recorder}
}

// directory is where the recorder keeps everything, unless a test says otherwise.
func (a *recorderAgent) directory() string { return filepath.Join(a.state, "recorder") }

// captureDir is where finished captures are.
func (a *recorderAgent) captureDir() string { return filepath.Join(a.directory(), "captures") }

// query is the part of a URL after the question mark.
type query map[string]string

// ask reads a JSON answer. The path begins with /api/.
func (a *recorderAgent) ask(path string, q query, into any) error {
	return askJSON(a.url+path, q, into)
}

func askJSON(address string, q query, into any) error {
	values := url.Values{}
	for key, value := range q {
		values.Set(key, value)
	}
	if len(values) > 0 {
		address += "?" + values.Encode()
	}
	body, err := get(address)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("parse answer of %s: %w", address, err)
	}
	return nil
}

// recordedContainer is one of /api/entities.
type recordedContainer struct {
	ID, Name, Image, State string
	Start, Stop            float64
	ExitCode               *int
	OOMKilled              bool
	Degraded               *struct {
		Reason, Process string
		Since           float64
	}
	Tags map[string]string
}

func (a *recorderAgent) container(id string) (recordedContainer, error) {
	var c recordedContainer
	err := a.ask("/api/entities/"+id, nil, &c)
	return c, err
}

// recordedEvent is one of /api/events.
type recordedEvent struct {
	T                         float64
	Name, Container, Severity string
	Body                      string
	Attributes                map[string]any
}

// recorded returns the events of a container, or of all, oldest first.
func (a *recorderAgent) recorded(container string, kinds ...string) ([]recordedEvent, error) {
	q := query{"limit": "10000", "order": "oldest"}
	if container != "" {
		q["container"] = container
	}
	if len(kinds) > 0 {
		q["kind"] = strings.Join(kinds, ",")
	}
	var answer struct{ Events []recordedEvent }
	err := a.ask("/api/events", q, &answer)
	return answer.Events, err
}

// only returns the single event of that name of a container.
func (a *recorderAgent) only(container, name string) (recordedEvent, error) {
	events, err := a.recorded(container, name)
	switch {
	case err != nil:
		return recordedEvent{}, err
	case len(events) == 0:
		return recordedEvent{}, fmt.Errorf("event %s of container %.12s: %w", name, container, errMissing)
	case len(events) > 1:
		return recordedEvent{}, fmt.Errorf("event %s of container %.12s: %d of them: %w", name, container, len(events), errTwice)
	}
	return events[0], nil
}

// capture is one of /api/captures.
type capture struct {
	ID, State, Reason, Verdict, Error string
	From, To                          float64
	Bytes                             int64
	Containers                        []string
	Triggers                          []struct {
		T                           float64
		Kind, Container, Name, Text string
	}
}

func (a *recorderAgent) captures() ([]capture, error) {
	var answer struct{ Captures []capture }
	err := a.ask("/api/captures", nil, &answer)
	return answer.Captures, err
}

// captureOf returns the capture that has a trigger of a container, or in whose
// trigger a text is.
func (a *recorderAgent) captureOf(part string) (capture, error) {
	all, err := a.captures()
	if err != nil {
		return capture{}, err
	}
	for _, c := range all {
		for _, trigger := range c.Triggers {
			if trigger.Container == part || strings.Contains(trigger.Text, part) {
				return c, nil
			}
		}
	}
	return capture{}, fmt.Errorf("capture of %s among %d: %w", part, len(all), errMissing)
}

// finished waits until a capture is written and returns its file.
func (a *recorderAgent) finished(t *testing.T, id string) string {
	t.Helper()
	testkit.Eventually(t, cutWithin, func() error {
		var c capture
		if err := a.ask("/api/captures/"+id, nil, &c); err != nil {
			return err
		}
		if c.State == "failed" {
			t.Fatalf("capture %s: %s", id, c.Error)
		}
		if c.State != "ready" {
			return fmt.Errorf("capture %s is %s: %w", id, c.State, errNotYet)
		}
		return nil
	})
	return filepath.Join(a.captureDir(), id+".tmcap")
}

// recorderStatus is /api/status.
type recorderStatus struct {
	Mode, Health string
	Messages     []string
	Oldest       float64
}

func (a *recorderAgent) status() (recorderStatus, error) {
	var s recorderStatus
	err := a.ask("/api/status", nil, &s)
	return s, err
}

// recorderStats is what tests need of /api/agent.
type recorderStats struct {
	Mode    string
	Metrics struct {
		Series, Samples uint64
		Dropped         map[string]uint64
		Bytes           map[string]uint64
	}
	Events struct {
		Count   uint64
		Dropped map[string]uint64
	}
	Queue struct {
		Length  int
		Dropped map[string]uint64
	}
	Recovery struct {
		Took     float64
		Lost     string
		Repaired []string
	}
}

func (a *recorderAgent) stats() (recorderStats, error) {
	var s recorderStats
	err := a.ask("/api/agent", nil, &s)
	return s, err
}

// samples are the points of one series, by the second at which they were asked for.
type samples map[int64]float64

// span is a stretch of time in whole seconds, both ends in it.
type span struct{ from, to int64 }

// matrix asks for a range with a step of one second.
func (a *recorderAgent) matrix(expr string, s span) ([]samples, error) {
	return matrixOf(a.url, expr, s)
}

func matrixOf(base, expr string, s span) ([]samples, error) {
	var answer struct {
		Data struct {
			Result []struct{ Values [][2]any }
		}
	}
	err := askJSON(base+"/api/v1/query_range", query{
		"query": expr, "start": strconv.FormatInt(s.from, 10), "end": strconv.FormatInt(s.to, 10), "step": "1",
	}, &answer)
	if err != nil {
		return nil, err
	}
	var all []samples
	for _, series := range answer.Data.Result {
		one := samples{}
		for _, pair := range series.Values {
			t, isTime := pair[0].(float64)
			text, isText := pair[1].(string)
			value, err := strconv.ParseFloat(text, 64)
			if !isTime || !isText || err != nil {
				return nil, fmt.Errorf("parse sample %v of %s: %w", pair, expr, errors.Join(err, errStatus))
			}
			one[int64(t)] = value
		}
		all = append(all, one)
	}
	return all, nil
}

// value is what a query gives now; no series is errMissing.
func (a *recorderAgent) value(expr string) (float64, error) {
	var answer struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := a.ask("/api/v1/query", query{"query": expr}, &answer); err != nil {
		return 0, err
	}
	if n := len(answer.Data.Result); n != 1 {
		return 0, fmt.Errorf("%s has %d series: %w", expr, n, errMissing)
	}
	text, _ := answer.Data.Result[0].Value[1].(string)
	return strconv.ParseFloat(text, 64)
}

// hasPast returns nil once seconds of a container are recorded.
func (a *recorderAgent) hasPast(id string, seconds float64) error {
	// Of all series: in its first seconds a container may have no name yet, and with it others.
	// The uptime tells for how long: points are fewer while nothing changes.
	of := fmt.Sprintf("_over_time(container_uptime_seconds{container_id=%q}[10m])", id)
	n, err := a.value("max(max" + of + ") - min(min" + of + ")")
	if err == nil && n < seconds {
		err = fmt.Errorf("%v seconds of container %.12s are recorded: %w", n, id, errNotYet)
	}
	return err
}

// control runs tallymanctl and returns what it prints.
func control(t *testing.T, args ...string) string {
	t.Helper()
	out, err := runControl(t.Context(), args...)
	require.NoError(t, err, "tallymanctl %s: %s", strings.Join(args, " "), out)
	return out
}

func runControl(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, controlPath(), args...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func controlPath() string { return filepath.Join(filepath.Dir(os.Getenv(binaryEnv)), "tallymanctl") }

// sender sends OTLP to an agent over one connection.
type sender struct {
	client *http.Client
	base   string
}

func newSender(t *testing.T, a *agent) *sender {
	t.Helper()
	s := &sender{client: &http.Client{Transport: &http.Transport{}, Timeout: answerWithin}, base: "http://" + a.otlpHTTP}
	t.Cleanup(s.client.CloseIdleConnections)
	return s
}

func (s *sender) metrics(md pmetric.Metrics) error {
	body, err := pmetricotlp.NewExportRequestFromMetrics(md).MarshalProto()
	if err != nil {
		return err
	}
	return s.post("/v1/metrics", body)
}

func (s *sender) logs(ld plog.Logs) error {
	body, err := plogotlp.NewExportRequestFromLogs(ld).MarshalProto()
	if err != nil {
		return err
	}
	return s.post("/v1/logs", body)
}

func (s *sender) post(path string, body []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-protobuf")
	response, err := s.client.Do(request)
	if err != nil {
		return err // has verb and URL
	}
	defer response.Body.Close()
	_, err = readAll(response)
	return err
}

// seconds is a moment as the API has it.
func seconds(at time.Time) float64 { return float64(at.UnixMilli()) / 1000 }

// moment is the way back.
func moment(seconds float64) time.Time { return time.UnixMilli(int64(seconds * 1000)) }

func nowMillis() int64 { return time.Now().UnixMilli() }

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/recorder/api"
	"github.com/tallymanhq/tallyman/internal/recorder/capture"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/state"
	"github.com/tallymanhq/tallyman/internal/recorder/entity"
	"github.com/tallymanhq/tallyman/internal/recorder/eventstore"
	"github.com/tallymanhq/tallyman/internal/recorder/evidence"
	"github.com/tallymanhq/tallyman/internal/recorder/metricstore"
	"github.com/tallymanhq/tallyman/internal/recorder/serve"
	"github.com/tallymanhq/tallyman/internal/recorder/web"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// within is how long anything may take that takes a second on an idle machine.
const within = 30 * time.Second

// The containers of the tests.
const (
	workerID = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	dbID     = "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"
)

// agent is a recorder without a receiver: the real stores and the real engine.
type agent struct {
	t       testing.TB
	dir     string // of the captures
	metrics *metricstore.Store
	events  *eventstore.Store
	table   *entity.Table
	engine  *capture.Engine
	done    chan capture.Capture
	began   time.Time
}

func newAgent(t testing.TB) *agent {
	t.Helper()
	dir := t.TempDir()
	a := &agent{t: t, dir: filepath.Join(dir, "captures"), done: make(chan capture.Capture, 10), began: time.Now().Add(-time.Minute)}
	var err error
	a.metrics, _, err = metricstore.Open(metricstore.Options{Dir: filepath.Join(dir, "metrics"), Every: -1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.metrics.Close()) })
	a.events, _, err = eventstore.Open(eventstore.Options{Dir: filepath.Join(dir, "events")})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.events.Close()) })
	a.table, _, err = entity.Open(entity.Options{})
	require.NoError(t, err)
	view, err := web.New()
	require.NoError(t, err)
	a.engine, _, err = capture.Open(capture.Options{
		Dir: a.dir, Host: bundle.Host{Name: "host-7", Agent: "0.4.0"}, Camera: state.NewCamera(state.Options{Roots: hostfs.NewRoots("/")}),
		Metrics: evidence.Metrics(a.metrics), Events: evidence.Events(a.events), Story: evidence.Story(a.metrics, a.events),
		Entities: evidence.Entities(a.table, nil, a.metrics, a.events), Assets: view.Report(),
		Done: func(c capture.Capture) { a.done <- c }, Failed: func(f capture.Failure) { t.Error(f.ID, f.Err) },
	})
	require.NoError(t, err)
	a.engine.Start()
	t.Cleanup(a.engine.Close)
	return a
}

// tell hands the agent an event of a container, as long after the begin.
func (a *agent) tell(after time.Duration, id, event string, attributes map[string]any) {
	a.t.Helper()
	logs := plog.NewLogs()
	resource := logs.ResourceLogs().AppendEmpty()
	describe(resource.Resource().Attributes(), id)
	scope := resource.ScopeLogs().AppendEmpty()
	scope.Scope().SetName("github.com/tallymanhq/tallyman/receiver/cgroupreceiver")
	record := scope.LogRecords().AppendEmpty()
	record.SetEventName(event)
	record.SetTimestamp(pcommon.NewTimestampFromTime(a.began.Add(after)))
	record.Body().SetStr(event + "!")
	require.NoError(a.t, record.Attributes().FromRaw(attributes))
	require.Zero(a.t, a.events.Append(logs).Dropped)
	a.table.ObserveLogs(logs)
}

// measure hands the agent a sample of a container.
func (a *agent) measure(after time.Duration, id string, v float64) {
	a.t.Helper()
	md := pmetric.NewMetrics()
	resource := md.ResourceMetrics().AppendEmpty()
	describe(resource.Resource().Attributes(), id)
	m := resource.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName("container.memory.usage")
	m.SetUnit("By")
	p := m.SetEmptyGauge().DataPoints().AppendEmpty()
	p.SetTimestamp(pcommon.NewTimestampFromTime(a.began.Add(after)))
	p.SetDoubleValue(v)
	require.Empty(a.t, a.metrics.Write(a.t.Context(), md).Dropped)
	a.table.ObserveMetrics(md)
}

func describe(attributes pcommon.Map, id string) {
	attributes.PutStr("container.id", id)
	attributes.PutStr("container.name", map[string]string{workerID: "worker", dbID: "db"}[id])
	attributes.PutStr("docker.compose.project", "shop")
}

// incident is a minute in which worker loses a process and runs on without it.
func (a *agent) incident() {
	a.t.Helper()
	a.tell(0, workerID, "container.start", map[string]any{"container.pid": 100})
	a.tell(0, dbID, "container.start", map[string]any{"container.pid": 101})
	for n := range 60 {
		a.measure(time.Duration(n)*time.Second, workerID, float64(n)*1e6)
		a.measure(time.Duration(n)*time.Second, dbID, 5e6)
	}
	victim := map[string]any{"process.executable.name": "python", "process.pid": 211, "container.survived": true}
	a.tell(50*time.Second, workerID, "container.oom_kill", victim)
	victim["degraded.reason"] = "oom"
	a.tell(51*time.Second, workerID, "container.degraded", victim)
}

// serve is the agent's HTTP server, on the endpoint.
func (a *agent) serve(endpoint, token string) string {
	a.t.Helper()
	server, err := api.New(api.Options{
		Endpoints: []string{endpoint}, Token: token, Captures: serve.Captures(a.engine), Entities: serve.Entities(a.table), Events: serve.Events(a.events),
		Engine: a.metrics.Engine(), Queryable: a.metrics.Queryable(), Metadata: serve.Metadata(a.metrics.Families),
	})
	require.NoError(a.t, err)
	require.NoError(a.t, server.Start(a.t.Context()))
	a.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		require.NoError(a.t, server.Shutdown(ctx))
	})
	return server.Addresses()[0]
}

// opening is a running tallymanctl capture open.
type opening struct {
	t      testing.TB
	said   string
	url    string
	client *http.Client
	ended  chan error
	cancel context.CancelFunc
}

// openNow opens a capture in this process and waits for its address.
func openNow(t testing.TB, args ...string) *opening {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	o := &opening{t: t, ended: make(chan error, 1), cancel: cancel, client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: within}}
	go func() {
		cmd := newRoot()
		cmd.SetArgs(append([]string{"capture", "open"}, args...))
		cmd.SetOut(writer)
		err := cmd.ExecuteContext(ctx)
		_ = writer.CloseWithError(err)
		o.ended <- err
	}()
	for !strings.Contains(o.said, "http://") {
		part := make([]byte, 1000)
		n, err := reader.Read(part)
		require.NoError(t, err, o.said)
		o.said += string(part[:n])
	}
	go func() { _, _ = io.Copy(io.Discard, reader) }()
	t.Cleanup(func() { cancel(); _ = reader.Close() })
	o.url = strings.TrimSuffix(strings.TrimSpace(o.said[strings.Index(o.said, "http://"):]), "/")
	return o
}

// end interrupts the command.
func (o *opening) end() {
	o.t.Helper()
	o.cancel()
	require.NoError(o.t, <-o.ended)
}

func (o *opening) ask(path string, change ...func(*http.Request)) (*http.Response, string) {
	o.t.Helper()
	request, err := http.NewRequestWithContext(o.t.Context(), http.MethodGet, o.url+path, nil)
	require.NoError(o.t, err)
	for _, f := range change {
		f(request)
	}
	response, err := o.client.Do(request)
	require.NoError(o.t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(o.t, errors.Join(err, response.Body.Close()))
	return response, string(body)
}

// get asks for JSON and fails the test if there is none.
func (o *opening) get(path string, into any, query ...string) {
	o.t.Helper()
	values := url.Values{}
	for i := 0; i < len(query); i += 2 {
		values.Add(query[i], query[i+1])
	}
	response, body := o.ask(path + "?" + values.Encode())
	require.Equal(o.t, http.StatusOK, response.StatusCode, body)
	require.NoError(o.t, json.Unmarshal([]byte(body), into), body)
}

// TestCaptureEndToEnd: something happens, somebody asks the agent for a capture over
// HTTP, and the file is listed, shown, opened, exported and redacted.
func TestCaptureEndToEnd(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	a := newAgent(t)
	a.incident()
	code, out, problem := call(t, "capture", "now", "--address", a.serve("127.0.0.1:0", ""), "--reason", "slow checkout", "--container", workerID)
	require.Equal(t, exitOK, code, problem)
	id := strings.TrimSpace(out)
	select {
	case made := <-a.done:
		require.Equal(t, id, made.ID)
		for _, missing := range made.Manifest.Missing {
			// There is neither an engine nor a cgroup of these containers.
			require.Regexp(t, "^inspect$|^state of ", missing.What, missing.Why)
		}
	case <-time.After(within):
		t.Fatal("no capture")
	}

	_, out, _ = call(t, "capture", "ls", "--dir", a.dir)
	require.Contains(t, out, id)
	code, out, problem = call(t, "capture", "show", "--dir", a.dir, id)
	require.Equal(t, exitOK, code, problem)
	require.Contains(t, out, "slow checkout")

	o := openNow(t, "--dir", a.dir, id)
	require.Contains(t, o.said, "slow checkout")
	a.checkOpened(o, id)
	unpacked, err := os.ReadDir(temp)
	require.NoError(t, err)
	require.Len(t, unpacked, 1)
	o.end()
	unpacked, err = os.ReadDir(temp)
	require.NoError(t, err)
	require.Empty(t, unpacked, "nothing stays behind")

	to := filepath.Join(t.TempDir(), "out")
	code, _, problem = call(t, "capture", "export", "--dir", a.dir, "--to", to, id)
	require.Equal(t, exitOK, code, problem)
	blocks, err := metricstore.OpenBlocks(filepath.Join(to, "metrics"))
	require.NoError(t, err)
	require.NoError(t, blocks.Close())
	code, _, problem = call(t, "capture", "redact", "--dir", a.dir, "--without-events", id)
	require.Equal(t, exitOK, code, problem)
	o = openNow(t, filepath.Join(a.dir, id+"-redacted.tmcap"))
	var events struct{ Events []api.Event }
	o.get("/api/events", &events)
	require.Empty(t, events.Events)
	response, _ := o.ask(reportPath)
	require.Equal(t, http.StatusNotFound, response.StatusCode, "redact leaves the report out")
	o.end()
}

// checkOpened asks for everything that the pages of an opened capture need.
func (a *agent) checkOpened(o *opening, id string) {
	t := a.t
	t.Helper()
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Values [][2]any
			}
		}
	}
	seconds := func(at time.Time) string { return fmt.Sprint(at.Unix()) }
	o.get("/api/v1/query_range", &answer, "query", `container_memory_usage_bytes{container_name="worker"}`,
		"start", seconds(a.began.Add(10*time.Second)), "end", seconds(a.began.Add(20*time.Second)), "step", "1")
	require.Len(t, answer.Data.Result, 1)
	require.Equal(t, workerID, answer.Data.Result[0].Metric["container_id"])
	require.Len(t, answer.Data.Result[0].Values, 11)
	o.get("/api/v1/query", &answer, "query", "container_memory_usage_bytes")
	require.Len(t, answer.Data.Result, 2, "the clock stands at the end of the window")

	var entities struct{ Entities []api.Entity }
	o.get("/api/entities", &entities)
	require.Len(t, entities.Entities, 2)
	states := map[string]string{}
	for _, e := range entities.Entities {
		states[e.Name] = e.State
	}
	require.Equal(t, map[string]string{"worker": "broken", "db": "running"}, states)
	var detail api.EntityDetail
	o.get("/api/entities/"+workerID, &detail)
	require.Equal(t, "python", detail.Degraded.Process)
	require.Equal(t, 211, detail.Degraded.PID)
	require.True(t, detail.OOMKilled)

	var events struct{ Events []api.Event }
	o.get("/api/events", &events, "kind", "container.oom_kill", "container", workerID)
	require.Len(t, events.Events, 1)
	require.Equal(t, "container.oom_kill!", events.Events[0].Body)

	var status api.Status
	o.get("/api/status", &status)
	require.Equal(t, "capture", status.Mode)
	require.Equal(t, "host-7", status.Host)
	require.Equal(t, id, status.Capture.ID)
	require.Positive(t, status.Capture.Bytes)
	require.Equal(t, status.Capture.To, status.Now)
	var files struct{ Files []string }
	o.get("/api/state", &files)
	require.Contains(t, files.Files, "state/processes.json")

	response, body := o.ask("/")
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.Contains(t, body, "<script", "the web view")
	response, body = o.ask(reportPath)
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.Contains(t, body, "slow checkout")
	require.Contains(t, response.Header.Get("Content-Security-Policy"), "sandbox allow-scripts")
	response, _ = o.ask("/files/entities.json")
	require.Equal(t, http.StatusNotFound, response.StatusCode, "only the report")
	response, _ = o.ask("/", func(r *http.Request) { r.Host = "evil.example" })
	require.Equal(t, http.StatusForbidden, response.StatusCode, "DNS rebinding")
	response, _ = o.ask("/api/captures", func(r *http.Request) {
		r.Method = http.MethodPost
		r.Header.Set("Content-Type", "application/json")
	})
	require.Equal(t, http.StatusForbidden, response.StatusCode, "read-only")
}

// TestCaptureNowAtTheAgent asks the real server, on a socket and with a token.
func TestCaptureNowAtTheAgent(t *testing.T) {
	a := newAgent(t)
	socket := a.serve("unix://"+filepath.Join(t.TempDir(), "recorder.sock"), "")
	code, out, problem := call(t, "capture", "now", "--address", socket, "--last", "30m", "--host")
	require.Equal(t, exitOK, code, problem)
	require.Regexp(t, `^\d{8}T\d{6}\.\d{3}Z-manual\n$`, out)
	code, _, problem = call(t, "capture", "now", "--address", socket, "--last", "45m")
	require.Equal(t, exitFailed, code)
	require.Contains(t, problem, "answers 400")
	require.Contains(t, problem, "30m0s")

	const token = "correct horse battery staple"
	guarded := a.serve("127.0.0.1:0", strings.ReplaceAll(token, " ", "-"))
	code, _, problem = call(t, "capture", "now", "--address", guarded)
	require.Equal(t, exitFailed, code)
	require.Contains(t, problem, "answers 401")
	t.Setenv("TALLYMAN_RECORDER_TOKEN", strings.ReplaceAll(token, " ", "-"))
	code, _, problem = call(t, "capture", "now", "--address", guarded)
	require.Equal(t, exitOK, code, problem)
}

// TestCaptureOpenPart opens a capture of which most is missing, and says what.
func TestCaptureOpenPart(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	o := openNow(t, "--dir", shelf(t), "one")
	require.Regexp(t, `^OOM kill \[2J of worker\.\nNothing was recorded .*away\)\.\nDropped .*\nNot in this capture: metrics \(none\)\.\nhttp://127\.0\.0\.1:\d+/\n$`, o.said)
	response, body := o.ask(reportPath)
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.Contains(t, body, "the report")
	_, body = o.ask("/api/state/oom/kmsg.txt")
	require.Contains(t, body, "Killed process 211")
	var answer struct{ Data struct{ Result []any } }
	o.get("/api/v1/query", &answer, "query", "up")
	require.Empty(t, answer.Data.Result)
	o.end()
}

func TestCaptureOpenRefuses(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	dir := shelf(t)
	for _, listen := range []string{"0.0.0.0:80", ":80", "192.0.2.1:80", "example.com:80", "nonsense"} {
		code, _, problem := call(t, "capture", "open", "--dir", dir, "--listen", listen, "one")
		require.Equal(t, exitUsage, code)
		require.Contains(t, problem, "--listen")
	}
	_, err := callCapture(t.Context(), "open", "--dir", dir, "two")
	require.ErrorIs(t, err, bundle.ErrMalformed)
	_, err = callCapture(t.Context(), "open", "--dir", dir, "three")
	require.ErrorIs(t, err, capture.ErrNoCapture)
	// An address that is taken.
	o := openNow(t, "--dir", dir, "one")
	_, err = callCapture(t.Context(), "open", "--dir", dir, "--listen", strings.TrimPrefix(o.url, "http://"), "one")
	require.ErrorContains(t, err, "address already in use")
	o.end()
	left, err := os.ReadDir(temp)
	require.NoError(t, err)
	require.Empty(t, left)
}

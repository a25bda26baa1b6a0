package serve

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/recorder/api"
	"github.com/tallymanhq/tallyman/internal/recorder/capture"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/entity"
	"github.com/tallymanhq/tallyman/internal/recorder/eventstore"
	"github.com/tallymanhq/tallyman/internal/recorder/metricstore"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// window is that of the tests' captures.
func window() bundle.Window { return bundle.Window{From: second(-30), To: second(90)} }

func manifest() *bundle.Manifest {
	return &bundle.Manifest{
		Format: 1, ID: "20261122-oom-worker", Created: second(95), Verdict: "OOM kill of python.", Window: window(),
		Host: bundle.Host{Name: "host-7", Agent: "0.4.0"}, Scope: bundle.Scope{Containers: []string{workerID, apiID}},
		Triggers: []bundle.Trigger{{Kind: "oom", At: second(80), Container: bundle.Container{ID: workerID, Name: "worker"}, Reason: "killed"}},
	}
}

// unpackedCapture cuts the stores as a capture does. It has the stats of the agent and
// some state, and the list of containers as the engine writes it.
func unpackedCapture(t testing.TB, r *rig) string {
	t.Helper()
	dir := t.TempDir()
	for n := 0; n <= 90; n++ {
		r.now = second(n)
		r.measure("worker", workerID, float64(n))
		if n <= 40 {
			r.measure("db", dbID, 1)
		}
	}
	w := window()
	_, err := r.metrics.Cut(t.Context(), metricstore.Window(w), nil, filepath.Join(dir, bundle.MetricsDir))
	require.NoError(t, err)
	_, err = r.events.Cut(t.Context(), eventstore.Window(w), nil, filepath.Join(dir, bundle.EventsDir))
	require.NoError(t, err)
	var list []capture.Entity
	for _, id := range []string{workerID, apiID} {
		e, ok := r.table.Lookup(id)
		require.True(t, ok)
		list = append(list, capture.Entity{
			Container: bundle.Container{ID: e.ID, Name: e.Name, Project: e.Project}, Tags: map[string]string{"token": "***"},
			Start: e.Start, Stop: e.Stop,
		})
	}
	text, err := json.Marshal(list)
	require.NoError(t, err)
	put(t, dir, bundle.EntitiesName, string(text))
	put(t, dir, bundle.AgentName, `{"version":"0.4.0","metrics":{"series":12}}`)
	put(t, dir, bundle.StateDir+"/processes.json", `[]`)
	put(t, dir, bundle.KernelName, "Killed process 211\n")
	put(t, dir, bundle.ReportName, "<p>")
	return dir
}

func put(t testing.TB, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
}

func open(t testing.TB, dir string, m *bundle.Manifest) *Opened {
	t.Helper()
	opened, err := OpenCapture(dir, m)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, opened.Close()) })
	return opened
}

// get asks a server with the options.
func get(t testing.TB, o api.Options, path string, query ...string) (int, string) {
	t.Helper()
	o.Endpoints = []string{"127.0.0.1:0"}
	server, err := api.New(o)
	require.NoError(t, err)
	values := url.Values{}
	for i := 0; i < len(query); i += 2 {
		values.Add(query[i], query[i+1])
	}
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path+"?"+values.Encode(), nil)
	request.Host = "localhost"
	answer := httptest.NewRecorder()
	server.Handler().ServeHTTP(answer, request)
	return answer.Code, answer.Body.String()
}

func TestOpenCapture(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	r := newRig(t)
	story(r)
	opened := open(t, unpackedCapture(t, r), manifest())
	ask := func(path string, query ...string) string {
		t.Helper()
		code, body := get(t, opened.Options, path, query...)
		require.Equal(t, http.StatusOK, code, body)
		return body
	}
	require.Contains(t, ask("/api/v1/query", "query", `container_cpu_usage{container_name="worker"}`), `"value":[1795316490,"90"]`, "now is the end of the window")
	require.Contains(t, ask("/api/v1/label/container_name/values"), `["db","worker"]`)
	require.Contains(t, ask("/api/events", "kind", "container.oom_kill"), `"process.pid":211`)

	var status api.Status
	require.NoError(t, json.Unmarshal([]byte(ask("/api/status")), &status))
	require.Equal(t, "capture", status.Mode)
	require.True(t, status.ReadOnly)
	require.Equal(t, second(90), status.Now.Time)
	require.Equal(t, "host-7", status.Host)
	require.Equal(t, "0.4.0", status.Version)
	require.Equal(t, api.HealthOK, status.Health)
	require.Empty(t, status.Messages)
	require.Equal(t, "OOM kill of python.", status.Capture.Verdict)
	require.Equal(t, second(80), status.Capture.Created.Time)
	require.Contains(t, ask("/api/captures"), manifest().ID)
	require.Contains(t, ask("/api/agent"), `"series":12`)
	require.JSONEq(t, `{"files":["agent/stats.json","oom/kmsg.txt","state/processes.json"]}`, ask("/api/state"))
	require.Equal(t, "Killed process 211\n", ask("/api/state/oom/kmsg.txt"))
	for _, name := range []string{"report.html", "entities.json", "metrics", "events/00000001.tev"} {
		_, err := opened.Options.State.Open(name)
		require.ErrorIs(t, err, fs.ErrNotExist, name)
		_, err = fs.ReadDir(opened.Options.State, name)
		require.ErrorIs(t, err, fs.ErrNotExist, name)
	}
	_, err := opened.Options.State.Open("../x")
	require.ErrorIs(t, err, fs.ErrInvalid)
}

// TestOpenedContainers knows two runs of worker although the list has one, how the
// first ended, what the second runs without, and db, which has metrics alone.
func TestOpenedContainers(t *testing.T) {
	r := newRig(t)
	story(r)
	source := open(t, unpackedCapture(t, r), manifest()).Options.Entities
	list, _ := source.List(api.EntityFilter{})
	require.Equal(t, []string{"worker broken", "api running", "db running", "worker ended"}, names(list))
	require.Equal(t, "python", list[0].Degraded.Process)
	require.True(t, list[0].OOMKilled)
	require.Equal(t, "container.degraded", list[0].LastEvent.Name)
	require.Equal(t, second(90), list[0].LastSeen.Time)
	require.Equal(t, "***", list[0].Tags["token"])
	require.Equal(t, second(40), list[2].LastSeen.Time)
	require.False(t, list[3].OOMKilled, "that was the second run")
	require.Equal(t, 3, *list[3].ExitCode)
	require.Equal(t, second(60), list[3].Stop.Time)
	detail, ok := source.Get(workerID)
	require.True(t, ok)
	require.Len(t, detail.Incarnations, 2)
}

// TestOpenedTable opens a capture with a table as the recorder writes it, which is
// taken as it is.
func TestOpenedTable(t *testing.T) {
	r := newRig(t)
	story(r)
	for _, name := range []string{bundle.EntitiesName, bundle.EntityLines} {
		dir := unpackedCapture(t, r)
		require.NoError(t, os.Remove(filepath.Join(dir, bundle.EntitiesName)))
		var text bytes.Buffer
		require.NoError(t, r.table.Write(&text, func(e *entity.Entity) bool { return e.ID == workerID }))
		put(t, dir, name, text.String())
		opened := open(t, dir, manifest())
		list, _ := opened.Options.Entities.List(api.EntityFilter{})
		require.Equal(t, []string{"worker broken", "worker ended"}, names(list))
		require.Equal(t, 3, *list[1].ExitCode)
		require.Equal(t, "worker", list[0].Tags["container.name"])
	}
}

// TestOpenedLater opens a capture of which a container ended after its window.
func TestOpenedLater(t *testing.T) {
	r := newRig(t)
	story(r)
	dir := unpackedCapture(t, r)
	put(t, dir, bundle.EntitiesName, `[{"id":"`+apiID+`","name":"api","start":"`+second(1).Format(time.RFC3339)+`","stop":"`+second(300).Format(time.RFC3339)+`"}]`)
	list, _ := open(t, dir, manifest()).Options.Entities.List(api.EntityFilter{Name: "api"})
	require.Equal(t, []string{"api running"}, names(list))
}

func TestOpenCaptureWithoutMembers(t *testing.T) {
	m := manifest()
	m.Missing = []bundle.Missing{{What: "metrics", Why: "this agent has none"}}
	m.Gaps = []bundle.Gap{{Window: window(), Why: "the agent was away"}}
	m.Drops = map[string]uint64{"events: full": 3}
	opened := open(t, t.TempDir(), m)
	f := func(want, path string, query ...string) {
		t.Helper()
		code, body := get(t, opened.Options, path, query...)
		require.Equal(t, http.StatusOK, code, body)
		require.JSONEq(t, want, body)
	}
	f(`{"status":"success","data":{"resultType":"vector","result":[]}}`, "/api/v1/query", "query", "sum(up)")
	f(`{"status":"success","data":{"resultType":"scalar","result":[1795316490,"2"]}}`, "/api/v1/query", "query", "1+1")
	f(`{"status":"success","data":{"resultType":"vector","result":[]}}`, "/api/v1/query", "query", "max_over_time(up[1h:] @ 0 offset -5m)")
	f(`{"status":"success","data":[]}`, "/api/v1/labels")
	f(`{"truncated":false,"events":[]}`, "/api/events")
	f(`{"now":1795316490,"truncated":false,"entities":[]}`, "/api/entities")
	f(`{"files":[]}`, "/api/state")
	code, _ := get(t, opened.Options, "/api/live")
	require.Equal(t, http.StatusNotFound, code)
	status := opened.Options.Agent.Status()
	require.Equal(t, api.HealthWarn, status.Health)
	require.Equal(t, []string{
		"Nothing was recorded from 02:59:30 to 03:01:30 UTC (the agent was away).",
		"Dropped in this time: 3 (events: full).",
		"Not in this capture: metrics (this agent has none).",
	}, status.Messages)
	require.Equal(t, "0.4.0", opened.Options.Agent.Agent().Version)

	for range 50 {
		m.Missing = append(m.Missing, bundle.Missing{What: "inspect", Why: "busy"})
	}
	status = open(t, t.TempDir(), m).Options.Agent.Status()
	require.Len(t, status.Messages, 3)
	require.Equal(t, "Not in this capture: metrics (this agent has none), inspect (busy), inspect (busy), 48 more.", status.Messages[2])
	_, err := OpenCapture(filepath.Join(t.TempDir(), "no"), m)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// TestOpenDamagedCapture damages one member after the other.
func TestOpenDamagedCapture(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	r := newRig(t)
	story(r)
	f := func(what string, pattern string) {
		t.Helper()
		dir := unpackedCapture(t, r)
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		require.NoError(t, err)
		require.Len(t, files, 1)
		require.NoError(t, os.WriteFile(files[0], []byte("nonsense"), 0o600))
		status := open(t, dir, manifest()).Options.Agent.Status()
		require.Equal(t, api.HealthBad, status.Health, what)
		require.Len(t, status.Messages, 1)
		require.Contains(t, status.Messages[0], "The "+what+" of this capture cannot be read: ")
		require.False(t, strings.HasSuffix(status.Messages[0], ".."))
	}
	f("metrics", "metrics/*/index")
	f("events", "events/*.tev")
	f("containers", "entities.json")
}

package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

func same200(t *testing.T, got reply, want string) {
	t.Helper()
	if diff := cmp.Diff(want, got.body); diff != "" || got.code != http.StatusOK {
		t.Errorf("%d -want +got\n%s", got.code, diff)
	}
}

const workerJSON = `{"id":"4f0c","name":"worker","image":"shop/worker:1.4","service":"worker","project":"shop","state":"broken",` +
	`"start":1700000000,"stop":1700000001.500,"exitCode":137,"oomKilled":true,` +
	`"degraded":{"reason":"oom","since":1700000000,"process":"worker","pid":211},"restarts":2,"incarnation":3,` +
	`"lastEvent":{"t":1700000000,"name":"container.oom_kill","body":"OOM"},"tags":{"host.name":"h"}`

const bareJSON = `{"id":"bare","name":"","image":"","service":"","project":"","state":"running","oomKilled":false,` +
	`"restarts":0,"incarnation":0,"tags":{}`

func TestEntities(t *testing.T) {
	entities := newFakeEntities()
	r := newRig(t, func(o *Options) {
		o.Entities = entities
		o.Now = func() time.Time { return t0 }
	})
	same200(t, r.get("/api/entities"), `{"now":1700000000,"truncated":false,"entities":[`+workerJSON+"},"+bareJSON+`}]}`)
	require.Equal(t, EntityFilter{Limit: maxEntities}, entities.filter)
	same200(t, r.get("/api/entities?limit=1&from=1700000000&to=1700000001&state=running,ended&state=broken&text=a&name=b&project=c"),
		`{"now":1700000000,"truncated":true,"entities":[`+workerJSON+`}]}`)
	require.Equal(t, EntityFilter{
		From: t0, To: t0.Add(time.Second), States: []string{"running", "ended", "broken"}, Text: "a", Name: "b", Project: "c", Limit: 1,
	}, entities.filter)
	same200(t, r.get("/api/entities/4f0c"), workerJSON+`,"incarnations":[]}`)
	for _, id := range []string{"unknown", "..%2Fx", ".x", strings.Repeat("a", 129)} {
		require.Equal(t, http.StatusNotFound, r.get("/api/entities/"+id).code, id)
	}
	for _, query := range []string{"state=dead", "from=x", "from=2&to=1", "limit=x", "limit=-1"} {
		require.Equal(t, http.StatusBadRequest, r.get("/api/entities?"+query).code, query)
	}
	require.EqualValues(t, 2, r.server.Stats().Queries.Total, "a list that may be large takes no turn")
}

// TestEntityBytes has containers with more tags than one answer may have.
func TestEntityBytes(t *testing.T) {
	entities := newFakeEntities()
	entities.list = nil
	for i := range 100 {
		entities.list = append(entities.list, Entity{ID: fmt.Sprint(i), Tags: map[string]string{"json": strings.Repeat(`"`, 1000)}})
	}
	r := newRig(t, func(o *Options) { o.Entities, o.Limits.EventBytes = entities, 10_000 })
	got := r.get("/api/entities")
	require.Equal(t, http.StatusOK, got.code)
	require.Contains(t, got.body, `"truncated":true`)
	require.Equal(t, 5, strings.Count(got.body, `"id":`), "2 KiB each, quotes escaped")
	require.Less(t, len(got.body), 14_000)
	require.True(t, json.Valid([]byte(got.body)))
	require.Contains(t, r.get("/api/entities?limit=2").body, `"truncated":true`)
	entities.list = entities.list[:3]
	require.Contains(t, r.get("/api/entities").body, `"truncated":false`)
}

func TestEvents(t *testing.T) {
	events := &fakeEvents{list: []Event{
		{
			T: At(t0), Name: "container.oom_kill", Container: "4f0c", Severity: "ERROR", Body: "OOM",
			Attributes: map[string]any{"pid": int64(211), "nan": math.NaN(), "deep": []any{math.Inf(1), map[string]any{"x": math.Inf(-1)}}},
			Resource:   map[string]any{"container.name": "worker"},
		},
		{T: At(t0.Add(time.Millisecond)), Name: "b", Attributes: map[string]any{"no": func() {}}},
		{Name: "c", T: At(t0)},
	}}
	r := newRig(t, func(o *Options) { o.Events = events })
	oom := `{"t":1700000000,"name":"container.oom_kill","container":"4f0c","severity":"ERROR","body":"OOM",` +
		`"attributes":{"deep":["+Inf",{"x":"-Inf"}],"nan":"NaN","pid":211}`
	same200(t, r.get("/api/events"), `{"truncated":false,"events":[`+oom+`},`+
		`{"t":1700000000.001,"name":"b","attributes":{"error":"json: unsupported type: func()"}},`+
		`{"t":1700000000,"name":"c","attributes":{}}]}`)
	require.Equal(t, EventQuery{Newest: true}, events.query)
	same200(t, r.get("/api/events?limit=1&resource=true&order=oldest&kind=a,b&container=c&from=1700000000&to=1700000001"),
		`{"truncated":true,"events":[`+oom+`,"resource":{"container.name":"worker"}}]}`)
	require.Equal(t, EventQuery{From: t0, To: t0.Add(time.Second), Kinds: []string{"a", "b"}, Containers: []string{"c"}, Resource: true}, events.query)
	require.True(t, math.IsNaN(events.list[0].Attributes["nan"].(float64)), "the store's own map was changed")
	for _, query := range []string{"order=x", "from=x", "from=2&to=1", "limit=x", "resource=x"} {
		require.Equal(t, http.StatusBadRequest, r.get("/api/events?"+query).code, query)
	}
	events.err = errors.New("read a segment")
	got := r.get("/api/events")
	require.Equal(t, http.StatusInternalServerError, got.code)
	require.Equal(t, "internal", got.kind(t))
}

// TestEventBounds has a limit of number and one of size that the client cannot raise.
func TestEventBounds(t *testing.T) {
	events := &fakeEvents{list: make([]Event, 100)}
	r := newRig(t, func(o *Options) { o.Events, o.Limits.Events = events, 10 })
	got := r.get("/api/events?limit=1000")
	require.Equal(t, 10, strings.Count(got.body, `"t":`))
	require.Contains(t, got.body, `"truncated":true`)
	small := newRig(t, func(o *Options) { o.Events, o.Limits.EventBytes = events, 100 })
	got = small.get("/api/events?limit=1000")
	require.Less(t, len(got.body), 300)
	require.Contains(t, got.body, `"truncated":true`)
}

// stuckEvents scans until its context ends.
type stuckEvents struct {
	fakeEvents
	entered, left chan struct{}
}

// Scan waits.
func (s *stuckEvents) Scan(ctx context.Context, _ EventQuery, _ func(Event) bool) error {
	close(s.entered)
	<-ctx.Done()
	close(s.left)
	return nil // a store that forgets to say so
}

func TestScanEndsWithRequest(t *testing.T) {
	events := &stuckEvents{entered: make(chan struct{}), left: make(chan struct{})}
	r := newRig(t, func(o *Options) { o.Events = events })
	ctx, cancel := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"/api/events", nil)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() {
		response, err := r.client.Do(request)
		if err == nil {
			_ = response.Body.Close()
		}
		done <- err
	}()
	comes(t, events.entered, "scan")
	cancel()
	comes(t, events.left, "end of the scan")
	require.ErrorIs(t, comes(t, done, "end"), context.Canceled)
}

func TestCaptures(t *testing.T) {
	captures := newFakeCaptures()
	r := newRig(t, func(o *Options) {
		o.Captures = captures
		o.Now = func() time.Time { return t0 }
	})
	ready := `{"id":"ready","state":"ready","reason":"","verdict":"","created":1700000000,"bytes":0,"pinned":false,"containers":[],"triggers":[]}`
	same200(t, r.get("/api/captures"), `{"captures":[`+ready+`,{"id":"young","state":"recording","reason":"","verdict":"","bytes":0,"pinned":false,"containers":[],"triggers":[]}]}`)
	same200(t, r.get("/api/captures/ready"), ready)
	require.Equal(t, http.StatusNotFound, r.get("/api/captures/unknown").code)

	got := r.ask(http.MethodPost, "/api/captures", `{"reason":"slow","containers":["4f0c"],"last":"15m"}`, asJSON)
	require.Equal(t, http.StatusAccepted, got.code, got.body)
	require.Equal(t, "/api/captures/new", got.header.Get("Location"))
	require.Contains(t, got.body, `"id":"new","state":"recording","reason":"slow"`)
	got = r.ask(http.MethodPost, "/api/capture", `{"scope":"host","from":1699999000.5,"to":1699999100}`, asJSON)
	require.Equal(t, http.StatusAccepted, got.code, got.body)
	got = r.ask(http.MethodPost, "/api/capture", `{}`, asJSON)
	require.Equal(t, http.StatusAccepted, got.code, got.body)
	require.Equal(t, []CaptureRequest{
		{Reason: "slow", Containers: []string{"4f0c"}, Scope: "default", From: t0.Add(-15 * time.Minute), To: t0},
		{Scope: "host", From: time.UnixMilli(1699999000500).UTC(), To: time.Unix(1699999100, 0).UTC()},
		{Scope: "default"},
	}, captures.started())

	for _, body := range []string{
		``, `[]`, `{`, `{"scope":"world"}`, `{"last":"0s"}`, `{"last":"-1m"}`, `{"last":"x"}`, `{"last":"1m","to":1}`,
		`{"from":2,"to":1}`, `{"from":"x"}`, `{"containers":["../x"]}`, `{"reason":"` + strings.Repeat("x", 501) + `"}`,
	} {
		require.Equal(t, http.StatusBadRequest, r.ask(http.MethodPost, "/api/captures", body, asJSON).code, body)
	}
	require.Len(t, captures.started(), 3)
	captures.startErr = fmt.Errorf("start a capture: %w", ErrBusy)
	require.Equal(t, http.StatusServiceUnavailable, r.ask(http.MethodPost, "/api/captures", `{}`, asJSON).code)
	// What the recorder says of the time or the containers is what the client is told.
	captures.startErr = fmt.Errorf("make capture: it is 7h0m0s long, at most 30m0s: %w", ErrInvalid)
	got = r.ask(http.MethodPost, "/api/captures", `{"last":"7h"}`, asJSON)
	require.Equal(t, http.StatusBadRequest, got.code)
	require.Contains(t, got.body, "it is 7h0m0s long, at most 30m0s")
	captures.startErr = fmt.Errorf("make capture: no such container: %w", ErrNotFound)
	require.Equal(t, http.StatusNotFound, r.ask(http.MethodPost, "/api/captures", `{"containers":["shop-web_1"]}`, asJSON).code)
	captures.startErr = ErrFull
	got = r.ask(http.MethodPost, "/api/captures", `{}`, asJSON)
	require.Equal(t, http.StatusInsufficientStorage, got.code)
	require.JSONEq(t, `{"status":"error","errorType":"full","error":"the disk is full"}`, got.body)

	require.Equal(t, http.StatusNoContent, r.ask(http.MethodDelete, "/api/captures/ready", "").code)
	require.Equal(t, http.StatusConflict, r.ask(http.MethodDelete, "/api/captures/pinned", "").code)
	require.Contains(t, r.ask(http.MethodPut, "/api/captures/ready/pin", "").body, `"pinned":true`)
	require.Contains(t, r.ask(http.MethodDelete, "/api/captures/ready/pin", "").body, `"pinned":false`)
	require.Equal(t, []string{"start", "start", "start", "start", "start", "start", "start", "delete ready", "delete pinned", "pin ready true", "pin ready false"}, captures.calls())
	for _, path := range []string{"/api/captures/..%2F..%2Fetc", "/api/captures/.hidden", "/api/captures/a%22b/pin"} {
		require.Equal(t, http.StatusNotFound, r.ask(http.MethodDelete, path, "").code, path)
	}
	require.Len(t, captures.calls(), 11, "a name that is none reached the store")
}

func TestDownload(t *testing.T) {
	captures := newFakeCaptures()
	r := newRig(t, func(o *Options) { o.Captures = captures })
	got := r.get("/api/captures/ready/download", header("Accept-Encoding", "gzip"))
	require.Equal(t, http.StatusOK, got.code)
	require.Equal(t, string(captures.bundle), got.body)
	require.Equal(t, "application/zip", got.header.Get("Content-Type"))
	require.Equal(t, `attachment; filename="ready.tmcap"`, got.header.Get("Content-Disposition"))
	require.Equal(t, `"abc"`, got.header.Get("ETag"))
	require.Empty(t, got.header.Get("Content-Encoding"))

	part := r.get("/api/captures/ready/download", header("Range", "bytes=5-7"), header("If-Range", `"abc"`))
	require.Equal(t, http.StatusPartialContent, part.code)
	require.Equal(t, "567", part.body)
	require.Equal(t, http.StatusNotModified, r.get("/api/captures/ready/download", header("If-None-Match", `"abc"`)).code)
	require.Equal(t, http.StatusConflict, r.get("/api/captures/young/download").code)
	require.Equal(t, http.StatusNotFound, r.get("/api/captures/unknown/download").code)
	require.Equal(t, http.StatusInternalServerError, r.get("/api/captures/broken/download").code)
	require.Equal(t, http.StatusMethodNotAllowed, r.ask(http.MethodPost, "/api/captures/ready/download", "").code)
}

func TestState(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(outside, []byte("secret"), 0o600))
	r := newRig(t, func(o *Options) {
		o.State = fstest.MapFS{
			"state/host.json": {Data: []byte(`{"a":1}`)},
			"oom/kmsg.txt":    {Data: []byte("<script>")},
			"state/page.html": {Data: []byte("<script>")},
		}
	})
	same200(t, r.get("/api/state"), `{"files":["oom/kmsg.txt","state/host.json","state/page.html"]}`)
	got := r.get("/api/state/state/host.json")
	same200(t, got, `{"a":1}`)
	require.Equal(t, "application/json", got.header.Get("Content-Type"))
	for _, path := range []string{"/api/state/oom/kmsg.txt", "/api/state/state/page.html"} {
		got = r.get(path)
		same200(t, got, "<script>")
		require.Equal(t, "text/plain; charset=utf-8", got.header.Get("Content-Type"))
	}
	for _, path := range []string{"state", "nothing", "..%2F" + filepath.Base(outside), "state%2F..%2F..%2Fx", "%2Fetc%2Fpasswd"} {
		require.Equal(t, http.StatusNotFound, r.get("/api/state/"+path).code, path)
	}
	live := newRig(t, nil)
	require.Equal(t, http.StatusNotFound, live.get("/api/state").code)
}

func TestStatusAndAgent(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.Agent = fakeAgent{}
		o.Now = func() time.Time { return t0 }
	})
	same200(t, r.get("/api/status"), `{"mode":"live","host":"h","version":"0.4.0","now":1700000000,"oldest":1700000000,"readOnly":false,"health":"warn","messages":["m"]}`)
	got := r.get("/api/agent")
	require.Contains(t, got.body, `"metrics":{"series":12,`)
	require.Contains(t, got.body, `"dropped":{"series_limit":1}`)
	require.Contains(t, got.body, `"api":{"requests":2,"denied":{"connections":0,"host":0,"origin":0,"token":0}`)
	require.NotContains(t, got.body, "null")
	require.Equal(t, http.StatusNotFound, newRig(t, nil).get("/api/agent").code)
}

// TestMissingSources answers 404 with a reason, not a panic.
func TestMissingSources(t *testing.T) {
	r := newRig(t, nil)
	for _, path := range []string{
		"/api/", "/api/v1/query?query=1", "/api/entities", "/api/entities/x", "/api/events", "/api/captures",
		"/api/captures/x", "/api/captures/x/download", "/api/state/x", "/api/agent",
	} {
		got := r.get(path)
		require.Equal(t, http.StatusNotFound, got.code, path)
		require.Equal(t, "not_found", got.kind(t), path)
	}
	require.Equal(t, http.StatusNotFound, r.ask(http.MethodPost, "/api/captures", "{}", asJSON).code)
}

func TestMoment(t *testing.T) {
	for _, text := range []string{"1700000000", "1700000000.123", "-0.001"} {
		var m Moment
		require.NoError(t, m.UnmarshalJSON([]byte(text)))
		got, err := m.MarshalJSON()
		require.NoError(t, err)
		require.Equal(t, text, string(got))
	}
	var m Moment
	require.Error(t, m.UnmarshalJSON([]byte(`"x"`)))
	require.Error(t, m.UnmarshalJSON([]byte(`1e300`)))
}

package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
)

// TestAnswers compares whole answers with what Prometheus writes.
func TestAnswers(t *testing.T) {
	r := newRig(t, func(o *Options) {
		withStore(t, o)
		o.Metadata = fixedMetadata{"up": {{Type: "gauge", Help: "h"}, {Type: "counter"}}, "x": {}}
	})
	f := func(path, want string) {
		t.Helper()
		got := r.get(path)
		if diff := cmp.Diff(want, got.body); diff != "" || got.code != http.StatusOK {
			t.Errorf("%s: %d -want +got\n%s", path, got.code, diff)
		}
		require.Equal(t, "application/json", got.header.Get("Content-Type"))
	}
	vector := func(result string) string {
		return `{"status":"success","data":{"resultType":"vector","result":[` + result + `]}}`
	}
	f("/api/v1/query?query=up&time=1700000010.5", vector(
		`{"metric":{"__name__":"up","job":"a"},"value":[1700000010.500,"10"]},{"metric":{"__name__":"up","job":"b"},"value":[1700000010.500,"10"]}`))
	// Series b ended at 30: the marker hides it, though it is within the look-back.
	f("/api/v1/query?query=up", vector(`{"metric":{"__name__":"up","job":"a"},"value":[1700000059,"59"]}`))
	f("/api/v1/query?query=nothing", vector(""))
	f("/api/v1/query?query=odd{is=%22nan%22}", vector(`{"metric":{"__name__":"odd","is":"nan"},"value":[1700000059,"NaN"]}`))
	f("/api/v1/query?query=-odd{is=%22inf%22}", vector(`{"metric":{"is":"inf"},"value":[1700000059,"-Inf"]}`))
	f("/api/v1/query?query=odd{is=~%22quoted.*%22}", vector(`{"metric":{"__name__":"odd","is":"quoted \"\\\n"},"value":[1700000059,"-Inf"]}`))
	f("/api/v1/query?query=hist", vector(`{"metric":{"__name__":"hist"},"histogram":[1700000059,`+
		`{"count":"4","sum":"9.5","buckets":[[3,"-0.001","0.001","1"],[0,"1","2","1"],[0,"2","4","2"]]}]}`))
	f("/api/v1/query?query=1%2B1", `{"status":"success","data":{"resultType":"scalar","result":[1700000059,"2"]}}`)
	f("/api/v1/query?query=%22text%22", `{"status":"success","data":{"resultType":"string","result":[1700000059,"text"]}}`)
	f("/api/v1/query?query=up{job=%22a%22}[2s]", `{"status":"success","data":{"resultType":"matrix","result":[`+
		`{"metric":{"__name__":"up","job":"a"},"values":[[1700000058,"58"],[1700000059,"59"]]}]}}`)
	f("/api/v1/query_range?query=up&start=1700000028&end=1700000034&step=2", `{"status":"success","data":{"resultType":"matrix","result":[`+
		`{"metric":{"__name__":"up","job":"a"},"values":[[1700000028,"28"],[1700000030,"30"],[1700000032,"32"],[1700000034,"34"]]},`+
		`{"metric":{"__name__":"up","job":"b"},"values":[[1700000028,"28"]]}]}}`)
	f("/api/v1/query?query=up&time=1700000010&limit=1", `{"status":"success","data":{"resultType":"vector","result":[`+
		`{"metric":{"__name__":"up","job":"a"},"value":[1700000010,"10"]}]},"warnings":["results truncated due to limit"]}`)
	f("/api/v1/series?match[]=up", `{"status":"success","data":[{"__name__":"up","job":"a"},{"__name__":"up","job":"b"}]}`)
	f("/api/v1/series?match[]=up&match[]={job=%22b%22}", `{"status":"success","data":[{"__name__":"up","job":"a"},{"__name__":"up","job":"b"}]}`)
	f("/api/v1/series?match[]=nothing", `{"status":"success","data":[]}`)
	f("/api/v1/series?match[]=up&limit=1", `{"status":"success","data":[{"__name__":"up","job":"a"}],"warnings":["results truncated due to limit"]}`)
	f("/api/v1/labels", `{"status":"success","data":["__name__","is","job"]}`)
	f("/api/v1/labels?match[]=up&match[]=hist", `{"status":"success","data":["__name__","job"]}`)
	f("/api/v1/labels?limit=1", `{"status":"success","data":["__name__"],"warnings":["results truncated due to limit"]}`)
	f("/api/v1/label/job/values", `{"status":"success","data":["a","b"]}`)
	f("/api/v1/label/U__job/values?match[]=up{job=%22b%22}", `{"status":"success","data":["b"]}`)
	f("/api/v1/label/is/values", `{"status":"success","data":["inf","nan","quoted \"\\\n"]}`)
	f("/api/v1/label/none/values", `{"status":"success","data":[]}`)
	f("/api/v1/metadata", `{"status":"success","data":{"up":[{"type":"gauge","unit":"","help":"h"},{"type":"counter","unit":"","help":""}],"x":[]}}`)
	f("/api/v1/metadata?metric=up&limit_per_metric=1", `{"status":"success","data":{"up":[{"type":"gauge","unit":"","help":"h"}]}}`)
	f("/api/v1/metadata?limit=1&limit_per_metric=1", `{"status":"success","data":{"up":[{"type":"gauge","unit":"","help":"h"}]}}`)
	f("/api/v1/format_query?query=sum(up)by(job)", `{"status":"success","data":"sum by (job) (up)"}`)
	f("/api/v1/rules", `{"status":"success","data":{"groups":[]}}`)
	f("/api/v1/alerts", `{"status":"success","data":{"alerts":[]}}`)
	f("/api/v1/query_exemplars?query=up", `{"status":"success","data":[]}`)
}

type fixedMetadata map[string][]MetricMetadata

// Metadata returns one or all.
func (m fixedMetadata) Metadata(metric string) map[string][]MetricMetadata {
	if metric == "" {
		return m
	}
	return fixedMetadata{metric: m[metric]}
}

func TestQueryErrors(t *testing.T) {
	r := newRig(t, func(o *Options) { withStore(t, o); o.Limits.BodyBytes = 1000 })
	f := func(path string, code int, kind string) {
		t.Helper()
		got := r.get(path)
		if got.code != code || got.kind(t) != kind {
			t.Errorf("%s: %d %s, want %d %s", path, got.code, got.body, code, kind)
		}
	}
	for _, path := range []string{
		"/api/v1/query", "/api/v1/query?query=up[", "/api/v1/query?query=up&time=x", "/api/v1/query?query=up&limit=-1",
		"/api/v1/query?query=up&timeout=x", "/api/v1/query?query=up&timeout=0", "/api/v1/query?query=up&lookback_delta=x",
		"/api/v1/query_range?query=up&start=2&end=1&step=1", "/api/v1/query_range?query=up&start=1&end=2",
		"/api/v1/query_range?query=up&start=1&end=2&step=0", "/api/v1/query_range?query=up&start=1&end=2&step=0.0001",
		"/api/v1/query_range?query=up&start=1&end=20000&step=1", "/api/v1/query_range?query=up&start=-9e15&end=9e15&step=9e9",
		"/api/v1/query_range?query=up[1m]&start=1&end=2&step=1", "/api/v1/query_range?query=up&end=2&step=1",
		"/api/v1/series", "/api/v1/series?match[]={job=%22%22}", "/api/v1/labels?start=x", "/api/v1/label/%FF/values",
		"/api/v1/metadata?limit=x", "/api/v1/query?query=%zz", "/api/v1/query_exemplars",
	} {
		f(path, http.StatusBadRequest, "bad_data")
	}
	f("/api/v1/query?query=up%2Bon()up&time=1700000010", http.StatusUnprocessableEntity, "execution")
	f("/api/v1/query?query=sum_over_time(up[1h:1ms])", http.StatusUnprocessableEntity, "execution") // too many samples
	f("/api/v1/targets", http.StatusNotFound, "not_found")

	got := r.ask(http.MethodPut, "/api/v1/query", "")
	require.Equal(t, http.StatusMethodNotAllowed, got.code)
	require.Equal(t, "GET, POST", got.header.Get("Allow"))
	require.Equal(t, "method_not_allowed", got.kind(t))

	form := header("Content-Type", "application/x-www-form-urlencoded")
	got = r.ask(http.MethodPost, "/api/v1/query", url.Values{"query": {"1"}}.Encode(), form)
	require.Equal(t, http.StatusOK, got.code, got.body)
	got = r.ask(http.MethodPost, "/api/v1/query", "query="+strings.Repeat("1", 1001), form)
	require.Equal(t, http.StatusRequestEntityTooLarge, got.code)
	require.Equal(t, "too_large", got.kind(t))
}

// TestRange sees enough points for several pieces, read by Prometheus' own types.
func TestRange(t *testing.T) {
	r := newRig(t, func(o *Options) { withStore(t, o) })
	got := r.get("/api/v1/query_range?query=up&start=1700000000&end=1700000059&step=10ms&stats=all")
	var answer struct {
		Data struct {
			Result model.Matrix
			Stats  struct {
				Samples struct{ TotalQueryableSamples int }
			}
		}
	}
	require.NoError(t, json.Unmarshal([]byte(got.body), &answer))
	require.Len(t, answer.Data.Result, 2)
	require.Len(t, answer.Data.Result[0].Values, 5901)
	require.Len(t, answer.Data.Result[1].Values, 3000) // until its marker
	require.Positive(t, answer.Data.Stats.Samples.TotalQueryableSamples)
}

func TestBuildInfo(t *testing.T) {
	text, err := os.ReadFile("../../../go.mod")
	require.NoError(t, err)
	found := regexp.MustCompile(`github\.com/prometheus/prometheus v0\.(\d)(\d\d)\.(\d+)`).FindSubmatch(text)
	require.NotNil(t, found)
	minor := strings.TrimPrefix(string(found[2]), "0")
	require.Equal(t, fmt.Sprintf("%s.%s.%s", found[1], minor, found[3]), engineVersion)
	got := newRig(t, nil).get("/api/v1/status/buildinfo")
	require.Contains(t, got.body, `"version":"`+engineVersion+`"`)
}

// TestQueryEndsWithRequest leaves while the query runs.
func TestQueryEndsWithRequest(t *testing.T) {
	var store *stuckStore
	r := newRig(t, func(o *Options) { store = withStuckStore(o) })
	for _, path := range []string{"/api/v1/query?query=up", "/api/v1/query_range?query=up&start=1&end=2&step=1"} {
		ctx, cancel := context.WithCancel(t.Context())
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+path, nil)
		require.NoError(t, err)
		done := make(chan error, 1)
		go func() {
			response, err := r.client.Do(request)
			if err == nil {
				_ = response.Body.Close()
			}
			done <- err
		}()
		comes(t, store.entered, "query")
		cancel()
		comes(t, store.left, "end of the query")
		require.ErrorIs(t, comes(t, done, "end of the request"), context.Canceled)
	}
	eventually(t, func() bool { return r.server.Stats().Queries.Canceled == 2 }, "both are counted")
}

func TestQueryTime(t *testing.T) {
	r := newRig(t, func(o *Options) {
		withStuckStore(o)
		o.Limits.QueryTime = 300 * time.Millisecond
	})
	got := r.get("/api/v1/query?query=up&timeout=1h") // the client may only shorten it
	require.Equal(t, http.StatusServiceUnavailable, got.code, got.body)
	require.Equal(t, "timeout", got.kind(t))
	got = r.get("/api/v1/series?match[]=up")
	require.Equal(t, "timeout", got.kind(t))
	require.EqualValues(t, 2, r.server.Stats().Queries.TimedOut)
}

func TestQueryClientTimeout(t *testing.T) {
	r := newRig(t, func(o *Options) { withStuckStore(o) })
	got := r.get("/api/v1/query?query=up&timeout=50ms")
	require.Equal(t, "timeout", got.kind(t), got.body)
}

// TestConcurrentQueries has one that runs, one that waits and one too many.
func TestConcurrentQueries(t *testing.T) {
	var store *stuckStore
	r := newRig(t, func(o *Options) {
		store = withStuckStore(o)
		o.Limits.Queries, o.Limits.Waiting = 1, 1
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{}, 2)
	send := func() {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"/api/v1/query?query=up", nil)
		if err == nil {
			var response *http.Response
			if response, err = r.client.Do(request); err == nil {
				_ = response.Body.Close()
			}
		}
		done <- struct{}{}
	}
	go send()
	comes(t, store.entered, "first query")
	go send()
	eventually(t, func() bool { return r.server.Stats().Queries.Waiting == 1 }, "the second waits")
	require.Empty(t, store.entered, "the second runs, too")
	got := r.get("/api/v1/query?query=up")
	require.Equal(t, http.StatusServiceUnavailable, got.code)
	require.Equal(t, "unavailable", got.kind(t))
	require.Equal(t, "1", got.header.Get("Retry-After"))
	stats := r.server.Stats().Queries
	require.EqualValues(t, 1, stats.Rejected)
	require.EqualValues(t, 1, stats.Running)
	cancel()
	comes(t, done, "end")
	comes(t, done, "end")
	eventually(t, func() bool { s := r.server.Stats().Queries; return s.Running == 0 && s.Waiting == 0 }, "all have left")
}

// TestShutdownEndsQueries shows that a query does not hold the agent up.
func TestShutdownEndsQueries(t *testing.T) {
	var store *stuckStore
	o := Options{Endpoints: []string{"127.0.0.1:0"}}
	store = withStuckStore(&o)
	server, err := New(o)
	require.NoError(t, err)
	require.NoError(t, server.Start(t.Context()))
	url := server.Addresses()[0]
	done := make(chan struct{})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	go func() {
		defer close(done)
		if response, err := client.Get(url + "/api/v1/query?query=up"); err == nil {
			_ = response.Body.Close()
		}
	}()
	comes(t, store.entered, "query")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, server.Shutdown(ctx), context.DeadlineExceeded)
	comes(t, store.left, "end of the query")
	comes(t, done, "end of the request")
}

// TestFrozenClock asks an opened capture for "now".
func TestFrozenClock(t *testing.T) {
	r := newRig(t, func(o *Options) {
		withStore(t, o)
		o.Opened = &Capture{ID: "c", To: At(t0.Add(7 * time.Second))}
	})
	require.Contains(t, r.get("/api/v1/query?query=up{job=%22a%22}").body, `"value":[1700000007,"7"]`)
	require.Contains(t, r.get("/api/status").body, `"mode":"capture","host":"","version":"","now":1700000007,"readOnly":true`)
}

package api

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

// grafana asks as Grafana's Prometheus data source does, by what is public of it
// (pkg/promlib, packages/grafana-prometheus of release 12): queries as a form in a POST,
// resources as a POST with the parameters in the address, and again as a GET if the
// answer was 405 or 400. No header tells that it comes from a page.
type grafana struct{ *rig }

func (g grafana) query(path string, values url.Values) reply {
	return g.ask(http.MethodPost, path, values.Encode(), header("Content-Type", "application/x-www-form-urlencoded"))
}

func (g grafana) resource(path string, values url.Values) reply {
	g.t.Helper()
	if len(values) > 0 {
		path += "?" + values.Encode()
	}
	got := g.ask(http.MethodPost, path, "", header("Content-Type", "application/x-www-form-urlencoded"))
	if got.code == http.StatusMethodNotAllowed || got.code == http.StatusBadRequest {
		got = g.get(path)
	}
	return got
}

// data decodes what is below "data", strictly: a member of another type is an error.
func data[T any](t *testing.T, got reply) T {
	t.Helper()
	require.Equal(t, http.StatusOK, got.code, got.body)
	var answer struct {
		Status string `json:"status"`
		Data   T      `json:"data"`
	}
	require.NoError(t, json.Unmarshal([]byte(got.body), &answer), got.body)
	require.Equal(t, "success", answer.Status)
	return answer.Data
}

// result is what queries answer. Its values are pairs of a number and a text.
type result struct {
	ResultType string          `json:"resultType"`
	Result     json.RawMessage `json:"result"`
}

type grafanaSeries struct {
	Metric map[string]string `json:"metric"`
	Value  [2]any            `json:"value"`
	Values [][2]any          `json:"values"`
}

func newGrafana(t *testing.T) grafana {
	return grafana{newRig(t, func(o *Options) {
		withStore(t, o)
		o.Metadata = fixedMetadata{"up": {{Type: "gauge", Help: "h"}}}
	})}
}

// TestGrafanaHealth is the button "Save & test".
func TestGrafanaHealth(t *testing.T) {
	g := newGrafana(t)
	two := data[result](t, g.query("/api/v1/query", url.Values{"query": {"1+1"}, "time": {"4"}}))
	require.Equal(t, "scalar", two.ResultType)
	require.JSONEq(t, `[4,"2"]`, string(two.Result))
	build := data[map[string]any](t, g.resource("/api/v1/status/buildinfo", nil))
	require.Equal(t, engineVersion, build["version"])
	require.NotContains(t, build, "features", "it would be taken for Mimir, with rules that can be written")
	rules := data[struct{ Groups []any }](t, g.resource("/api/v1/rules", nil))
	require.NotNil(t, rules.Groups)
}

// TestGrafanaPanels are what a dashboard and Explore ask for.
func TestGrafanaPanels(t *testing.T) {
	g := newGrafana(t)
	instant := data[result](t, g.query("/api/v1/query", url.Values{"query": {`up{job="a"}`}, "time": {"1700000010.123"}}))
	require.Equal(t, "vector", instant.ResultType)
	var series []grafanaSeries
	require.NoError(t, json.Unmarshal(instant.Result, &series))
	require.Equal(t, []grafanaSeries{{Metric: map[string]string{"__name__": "up", "job": "a"}, Value: [2]any{1700000010.123, "10"}}}, series)

	ranged := data[result](t, g.query("/api/v1/query_range", url.Values{
		"query": {`up{job="a"}`}, "start": {"1700000010"}, "end": {"1700000010.5"}, "step": {"0.25"}, "timeout": {"60s"},
	}))
	require.Equal(t, "matrix", ranged.ResultType)
	require.NoError(t, json.Unmarshal(ranged.Result, &series))
	require.Equal(t, [][2]any{{1700000010.0, "10"}, {1700000010.25, "10"}, {1700000010.5, "10"}}, series[0].Values)

	none := data[result](t, g.query("/api/v1/query_range", url.Values{"query": {"nothing"}, "start": {"1"}, "end": {"2"}, "step": {"1"}}))
	require.JSONEq(t, `[]`, string(none.Result))
	require.Empty(t, data[[]any](t, g.query("/api/v1/query_exemplars", url.Values{"query": {"up"}, "start": {"1"}, "end": {"2"}})))

	// What is wrong is shown to the user by its type and text.
	wrong := g.query("/api/v1/query_range", url.Values{"query": {"up("}, "start": {"1"}, "end": {"2"}, "step": {"1"}})
	require.Equal(t, http.StatusBadRequest, wrong.code)
	require.Equal(t, "bad_data", wrong.kind(t))
}

// TestGrafanaEditor are the completions, the metrics browser and variables.
func TestGrafanaEditor(t *testing.T) {
	g := newGrafana(t)
	span := func(more ...string) url.Values {
		values := url.Values{"start": {"1700000000"}, "end": {"1700000060"}, "limit": {"40000"}}
		for i := 0; i < len(more); i += 2 {
			values.Add(more[i], more[i+1])
		}
		return values
	}
	require.Equal(t, []string{"__name__", "is", "job"}, data[[]string](t, g.resource("/api/v1/labels", span())))
	require.Equal(t, []string{"__name__", "job"}, data[[]string](t, g.resource("/api/v1/labels", span("match[]", `{__name__="up"}`))))
	require.Equal(t, []string{"__name__", "job"}, data[[]string](t, g.get("/api/v1/labels?"+span("match[]", "up").Encode())))
	// Some versions send the parameters as a form.
	require.Equal(t, []string{"__name__", "job"}, data[[]string](t, g.query("/api/v1/labels", span("match[]", "up"))))
	require.Equal(t, []string{"hist", "odd", "up"}, data[[]string](t, g.resource("/api/v1/label/__name__/values", span())))
	require.Equal(t, []string{"a", "b"}, data[[]string](t, g.resource("/api/v1/label/job/values", span("match[]", `up{job!=""}`))))
	require.Empty(t, data[[]string](t, g.resource("/api/v1/label/U__with_2e_dots/values", span())))
	series := data[[]map[string]string](t, g.resource("/api/v1/series", span("match[]", `{__name__!=""}`)))
	require.Len(t, series, 6)
	series = data[[]map[string]string](t, g.resource("/api/v1/series", span("match[]", "up", "match[]", `odd{is="nan"}`)))
	require.Len(t, series, 3)
	// The time bounds what is found: nothing was before.
	early := url.Values{"start": {"1600000000"}, "end": {"1600000060"}, "match[]": {"up"}}
	require.Empty(t, data[[]map[string]string](t, g.resource("/api/v1/series", early)))
	metadata := data[map[string][]map[string]string](t, g.resource("/api/v1/metadata", url.Values{"limit": {"40000"}}))
	require.Equal(t, map[string][]map[string]string{"up": {{"type": "gauge", "unit": "", "help": "h"}}}, metadata)
	require.Equal(t, "sum(up)", data[string](t, g.resource("/api/v1/format_query", url.Values{"query": {"sum( up )"}})))
}

// TestGrafanaMissing is what Prometheus has and we have not: the answer is JSON that
// Grafana takes for "not there", never a page.
func TestGrafanaMissing(t *testing.T) {
	g := newGrafana(t)
	for _, path := range []string{
		"/api/v1/parse_query", "/api/v1/targets", "/api/v1/status/config", "/api/v1/status/tsdb", "/api/v1/notifications",
		"/api/v1/write", "/api/v1/read", "/api/v1/alertmanagers",
	} {
		got := g.resource(path, url.Values{"query": {"up"}})
		require.Equal(t, http.StatusNotFound, got.code, path)
		require.Equal(t, "not_found", got.kind(t), path)
	}
}

// TestGrafanaElsewhere reaches us by a name, with a token in a header of its own.
func TestGrafanaElsewhere(t *testing.T) {
	r := newRig(t, func(o *Options) {
		withStore(t, o)
		o.Token, o.AllowedHosts = goodToken, []string{"recorder.example.org"}
	})
	bearer := header("Authorization", "Bearer "+goodToken)
	got := r.get("/api/v1/query?query=1", bearer, host("recorder.example.org:9480"))
	require.Equal(t, http.StatusOK, got.code, got.body)
	require.Equal(t, http.StatusUnauthorized, r.get("/api/v1/query?query=1", host("recorder.example.org:9480")).code)
	got = r.get("/api/v1/query?query=1", bearer, host("other.example.org"))
	require.Equal(t, http.StatusForbidden, got.code)
	require.Contains(t, got.body, "allowed_hosts", "it says what to do")
}

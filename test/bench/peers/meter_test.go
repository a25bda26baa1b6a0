package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// serve answers each request with what text returns then.
func serve(t *testing.T, text func(*http.Request) string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, text(r))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestCollectorIsWarmAfterTwoEqualPasses(t *testing.T) {
	containers, members, points := 3, 3, 0
	url := serve(t, func(*http.Request) string {
		return fmt.Sprintf("# TYPE otelcol_cgroup_containers gauge\notelcol_cgroup_containers %d\n"+
			"# TYPE otelcol_netns_members gauge\notelcol_netns_members %d\n"+
			"# TYPE otelcol_receiver_accepted_metric_points counter\n"+
			"otelcol_receiver_accepted_metric_points{receiver=\"cgroup\",transport=\"\"} %d\n"+
			"otelcol_receiver_accepted_metric_points{receiver=\"other\",transport=\"\"} %[3]d7\n", containers, members, points)
	})
	m := &scraped{page: url, receiver: "cgroup", gauges: []string{"otelcol_cgroup_containers", "otelcol_netns_members"}}
	f := func(warm bool) {
		t.Helper()
		if err := m.warm(t.Context(), 3); (err == nil) != warm {
			t.Errorf("containers %d, members %d, points %d: %v", containers, members, points, err)
		}
	}
	f(false)
	points = 80
	f(false) // one pass
	points = 170
	f(false) // another size
	points = 260
	f(true)
	f(true) // no new pass
	points = 350 + 90
	f(true) // two passes at once
	containers = 4
	f(false)
	containers, members = 3, 2
	f(false)
	members = 3
	f(false) // what a pass has is not known any more
	for range 3 {
		points += 90
		_ = m.warm(t.Context(), 3)
	}
	f(true)

	require.NoError(t, m.mark(t.Context()))
	m.since = time.Now().Add(-30 * time.Second)
	points += 90 * 20
	got, err := m.passes(t.Context(), 3)
	require.NoError(t, err)
	require.InDelta(t, 40, got, 1)
	containers = 4
	_, err = m.passes(t.Context(), 3)
	require.ErrorIs(t, err, errNotWarm, "somebody started a container meanwhile")
}

// Without a gauge of containers and with passes of any size, the points tell
// how often each container was read.
func TestCollectorWithKnownPoints(t *testing.T) {
	count := 0
	url := serve(t, func(*http.Request) string {
		return fmt.Sprintf("otelcol_receiver_accepted_metric_points{receiver=\"docker_stats\"} %d\n", count)
	})
	m := dockerStatsMeter(setting{network: "bridge"}).(*scraped)
	m.page = url
	for _, part := range []int{12, 12 * 6, 12 * 6} {
		count += part
		require.ErrorIs(t, m.warm(t.Context(), 7), errNotWarm)
	}
	count += 12
	require.NoError(t, m.warm(t.Context(), 7))

	require.NoError(t, m.mark(t.Context()))
	m.since = time.Now().Add(-time.Minute)
	count += 12 * 7 * 30 / 2
	got, err := m.passes(t.Context(), 7)
	require.NoError(t, err)
	require.InDelta(t, 15, got, 0.5)
}

func TestCadvisorIsWarmWithTwoSamplesOfEach(t *testing.T) {
	answer := `{}`
	var last string
	m := &sampled{page: serve(t, func(r *http.Request) string {
		last = r.FormValue("last")
		return answer
	})}
	require.ErrorIs(t, m.warm(t.Context(), 2), errNotWarm)
	answer = `{"aa": 2}`
	require.ErrorIs(t, m.warm(t.Context(), 2), errNotWarm)
	answer = `{"aa": 2, "bb": 1}`
	require.ErrorIs(t, m.warm(t.Context(), 2), errNotWarm)
	answer = `{"aa": 2, "bb": 3}`
	require.NoError(t, m.warm(t.Context(), 2))
	require.Equal(t, warmSpan.String(), last)
	answer = `{"aa": 2, "bb": 3, "cc": 3}`
	require.ErrorIs(t, m.warm(t.Context(), 2), errNotWarm)
	answer = `<html>`
	require.ErrorContains(t, m.warm(t.Context(), 2), "parse")
}

func TestCadvisorPassesAreOfTheKeptSpan(t *testing.T) {
	m := &sampled{page: serve(t, func(*http.Request) string { return `{"aa": 70, "bb": 80}` })}
	require.NoError(t, m.mark(t.Context()))
	m.since = time.Now().Add(-time.Hour)
	got, err := m.passes(t.Context(), 2)
	require.NoError(t, err)
	require.InDelta(t, 75/keptSpan.Minutes(), got, 1e-9)
}

func TestGetTellsStatus(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	_, err := get(t.Context(), server.URL)
	require.ErrorIs(t, err, errStatus)
}

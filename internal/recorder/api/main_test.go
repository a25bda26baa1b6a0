package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// within is how long anything may take that takes milliseconds on an idle machine.
const within = 20 * time.Second

// rig is a server that listens on loopback.
type rig struct {
	t      testing.TB
	server *Server
	url    string
	client *http.Client
}

func newRig(t testing.TB, change func(*Options)) *rig {
	t.Helper()
	o := Options{Endpoints: []string{"127.0.0.1:0"}}
	if change != nil {
		change(&o)
	}
	server, err := New(o)
	require.NoError(t, err)
	require.NoError(t, server.Start(t.Context()))
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return &rig{t: t, server: server, url: server.Addresses()[0], client: &http.Client{Transport: transport, Timeout: within}}
}

// reply is an answer that has been read.
type reply struct {
	code   int
	header http.Header
	body   string
}

// ask sends a request; change may alter it.
func (r *rig) ask(method, path, body string, change ...func(*http.Request)) reply {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, strings.NewReader(body))
	require.NoError(r.t, err)
	for _, f := range change {
		f(request)
	}
	response, err := r.client.Do(request)
	require.NoError(r.t, err)
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	require.NoError(r.t, err)
	return reply{response.StatusCode, response.Header, string(text)}
}

func (r *rig) get(path string, change ...func(*http.Request)) reply {
	r.t.Helper()
	return r.ask(http.MethodGet, path, "", change...)
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func asJSON(r *http.Request) { r.Header.Set("Content-Type", "application/json") }

func host(name string) func(*http.Request) {
	return func(r *http.Request) { r.Host = name }
}

// kind returns the errorType of an answer.
func (r reply) kind(t testing.TB) string {
	t.Helper()
	var e struct{ Status, ErrorType, Error string }
	require.NoError(t, json.Unmarshal([]byte(r.body), &e), r.body)
	require.Equal(t, "error", e.Status)
	require.NotEmpty(t, e.Error)
	return e.ErrorType
}

// t0 is the first second of the stored samples.
var t0 = time.Unix(1_700_000_000, 0).UTC()

// withStore adds an engine and a database with: up{job="a"} = 0..59 each second, the
// same for job b until second 30 and then a staleness marker, odd with what is no
// number, and a native histogram.
func withStore(t testing.TB, o *Options) {
	t.Helper()
	options := tsdb.DefaultOptions()
	options.StripeSize = 64 // the default takes memory for millions of series
	db, err := tsdb.Open(t.TempDir(), nil, nil, options, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	app := db.Appender(t.Context())
	write := func(at int, v float64, set ...string) {
		_, err := app.Append(0, labels.FromStrings(set...), t0.Add(time.Duration(at)*time.Second).UnixMilli(), v)
		require.NoError(t, err)
	}
	for i := range 60 {
		write(i, float64(i), "__name__", "up", "job", "a")
		if i < 30 {
			write(i, float64(i), "__name__", "up", "job", "b")
		}
		_, err := app.AppendHistogram(0, labels.FromStrings("__name__", "hist"), t0.Add(time.Duration(i)*time.Second).UnixMilli(), smallHistogram(), nil)
		require.NoError(t, err)
	}
	write(30, math.Float64frombits(value.StaleNaN), "__name__", "up", "job", "b")
	write(59, math.NaN(), "__name__", "odd", "is", "nan")
	write(59, math.Inf(1), "__name__", "odd", "is", "inf")
	write(59, math.Inf(-1), "__name__", "odd", "is", `quoted "\`+"\n")
	require.NoError(t, app.Commit())
	o.Queryable, o.Engine = db, newEngine()
	o.Now = func() time.Time { return t0.Add(59 * time.Second) }
}

func newEngine() *promql.Engine {
	return promql.NewEngine(promql.EngineOpts{
		MaxSamples: 100_000, Timeout: within, EnableAtModifier: true, EnableNegativeOffset: true,
		NoStepSubqueryIntervalFn: func(int64) int64 { return 30_000 },
	})
}

func smallHistogram() *histogram.Histogram {
	return &histogram.Histogram{
		Schema: 0, Count: 4, Sum: 9.5, ZeroThreshold: 0.001, ZeroCount: 1,
		PositiveSpans:   []histogram.Span{{Offset: 1, Length: 2}},
		PositiveBuckets: []int64{1, 1},
	}
}

// stuckStore answers no query before its context ends.
type stuckStore struct{ entered, left chan struct{} }

func withStuckStore(o *Options) *stuckStore {
	s := &stuckStore{make(chan struct{}, 100), make(chan struct{}, 100)}
	o.Queryable, o.Engine = s, newEngine()
	return s
}

func (s *stuckStore) wait(ctx context.Context) error {
	s.entered <- struct{}{}
	<-ctx.Done()
	s.left <- struct{}{}
	return ctx.Err()
}

// comes waits for a message, and fails the test if there is none.
func comes[T any](t testing.TB, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(within):
		t.Fatalf("no %s within %v", what, within)
		panic("unreachable")
	}
}

// Querier always has one.
func (s *stuckStore) Querier(_, _ int64) (storage.Querier, error) {
	return stuckQuerier{storage.NoopQuerier(), s}, nil
}

type stuckQuerier struct {
	storage.Querier
	store *stuckStore
}

// Select waits.
func (q stuckQuerier) Select(ctx context.Context, _ bool, _ *storage.SelectHints, _ ...*labels.Matcher) storage.SeriesSet {
	return storage.ErrSeriesSet(q.store.wait(ctx))
}

func eventually(t testing.TB, condition func() bool, what string) {
	t.Helper()
	testkit.Eventually(t, within, func() error {
		if condition() {
			return nil
		}
		return fmt.Errorf("not yet: %s", what)
	})
}

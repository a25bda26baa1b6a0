package api

import (
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
)

func TestParseTime(t *testing.T) {
	f := func(text string, want time.Time) {
		t.Helper()
		got, err := parseTime(text)
		if err != nil || !got.Equal(want) {
			t.Errorf("%q is %v (%v), want %v", text, got, err, want)
		}
	}
	f("0", time.Unix(0, 0))
	f("1700000000.123", time.UnixMilli(1700000000123))
	f("-0.001", time.UnixMilli(-1))
	f("1.4356e9", time.Unix(1435600000, 0))
	f("2015-06-03T13:21:58.555Z", time.Unix(1433337718, 555e6))
	f("2015-06-03T14:21:58.555+01:00", time.Unix(1433337718, 555e6))
	f(minTime.Format(time.RFC3339Nano), minTime)
	f(maxTime.Format(time.RFC3339Nano), maxTime)
	for _, text := range []string{"", "x", "NaN", "Inf", "-Inf", "1e300", "-1e300", "30s", "2015-06-03"} {
		if got, err := parseTime(text); err == nil {
			t.Errorf("%q was taken as %v", text, got)
		}
	}
}

func TestParseDuration(t *testing.T) {
	f := func(text string, want time.Duration) {
		t.Helper()
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("%q is %v (%v), want %v", text, got, err, want)
		}
	}
	f("15", 15*time.Second)
	f("0.25", 250*time.Millisecond)
	f("1h30m", 90*time.Minute)
	f("100ms", 100*time.Millisecond)
	for _, text := range []string{"", "x", "NaN", "Inf", "1e10", "9223372036.854775808", "9999999999999w"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("%q was taken as %v", text, got)
		}
	}
}

func TestList(t *testing.T) {
	p := &params{Values: url.Values{"a": {"x,y", "", ",z"}, "many": slices.Repeat([]string{"v"}, maxList+1)}}
	if got := p.list("a"); !slices.Equal(got, []string{"x", "y", "z"}) {
		t.Errorf("got %q", got)
	}
	if p.list("b") != nil || p.failure != nil {
		t.Errorf("a list that is not there: %v", p.failure)
	}
	if p.list("many") != nil || p.failure == nil {
		t.Errorf("%d values were taken", maxList+1)
	}
}

func TestMatchers(t *testing.T) {
	for text, good := range map[string]bool{
		`up`: true, `{job="a"}`: true, `{job=~".+"}`: true,
		`{job=""}`: false, `{job=~".*"}`: false, `{`: false, `rate(up[1m])`: false, ``: false,
	} {
		p := &params{Values: url.Values{"match[]": {text}}}
		p.matchers(parser.NewParser(parser.Options{}))
		if (p.failure == nil) != good {
			t.Errorf("%q: %v", text, p.failure)
		}
	}
}

func FuzzTime(f *testing.F) {
	for _, seed := range []int64{0, 1, -1, 999, 1700000000123, -62135596800000, 253402300799999} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, millis int64) {
		millis %= 1 << 50 // seconds as float64 are exact to a quarter of a millisecond up to the year 37,000
		text := string(appendMillis(nil, millis))
		got, err := parseTime(text)
		if err != nil || got.UnixMilli() != millis {
			t.Errorf("%d was written as %s and read as %v (%v)", millis, text, got, err)
		}
	})
}

func FuzzDuration(f *testing.F) {
	for _, seed := range []string{"1", "-1", "1h", "NaN", "9223372036.85", "1e-12", "0x1p-2", "1_0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := parseDuration(text)
		if err != nil && d != 0 {
			t.Errorf("%q: %v together with %v", text, d, err)
		}
		want, notNumber := strconv.ParseFloat(text, 64)
		if err == nil && notNumber == nil && math.Abs(d.Seconds()-want) > 1e-6*max(1, math.Abs(want)) {
			t.Errorf("%q is %v", text, d)
		}
	})
}

// FuzzParameters sends any parameters to any endpoint: the answer is always JSON and
// one of those that are documented, never a panic or an internal error.
func FuzzParameters(f *testing.F) {
	paths := []string{
		"/api/v1/query", "/api/v1/query_range", "/api/v1/series", "/api/v1/labels", "/api/v1/label/job/values",
		"/api/v1/metadata", "/api/v1/format_query", "/api/v1/query_exemplars", "/api/entities", "/api/events",
	}
	for i := range paths {
		for _, raw := range []string{
			"", "query=up&time=1700000059", "query=up&start=1700000000&end=1700000059&step=15", "match[]=up&limit=1",
			"query=up[&time=x", "from=1&to=0", "kind=a,b&container=c&limit=-1", "%zz", "a;b", "start=NaN&end=Inf&step=0",
			"query=up%5B1h:1ms%5D", "query=up%5B1h:%5D", "query=up&start=-9e15&end=9e15&step=9e9", "state=running&limit=1&order=oldest",
		} {
			f.Add(uint8(i), raw)
		}
	}
	o := Options{Endpoints: []string{"127.0.0.1:0"}, Entities: newFakeEntities(), Events: &fakeEvents{}}
	o.Limits.QueryTime = time.Second
	withStore(f, &o)
	server, err := New(o)
	if err != nil {
		f.Fatal(err)
	}
	known := []int{200, 400, 422, 503}
	f.Fuzz(func(t *testing.T, which uint8, raw string) {
		r := &http.Request{
			Method: http.MethodGet, Host: "localhost", Header: http.Header{}, Body: http.NoBody,
			URL: &url.URL{Path: paths[int(which)%len(paths)], RawQuery: raw},
		}
		w := httptest.NewRecorder()
		server.Handler().ServeHTTP(w, r.WithContext(t.Context()))
		if !slices.Contains(known, w.Code) {
			t.Errorf("%s?%s: %d %s", r.URL.Path, raw, w.Code, w.Body)
		}
		if !json.Valid(w.Body.Bytes()) || !strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") {
			t.Errorf("%s?%s: %s is no JSON", r.URL.Path, raw, w.Body)
		}
	})
}

// TestFailureTexts are what a user of Explore reads.
func TestFailureTexts(t *testing.T) {
	f := func(raw, want string, read func(*params)) {
		t.Helper()
		values, err := url.ParseQuery(raw)
		if err != nil {
			t.Fatal(err)
		}
		p := &params{Values: values}
		read(p)
		if p.failure == nil || p.failure.code != http.StatusBadRequest || p.failure.err.Error() != want {
			t.Errorf("%s: %v, want %s", raw, p.failure, want)
		}
	}
	at := func(p *params) { p.time("start", time.Time{}) }
	f("start=x", `invalid parameter "start": parse "x": not a valid timestamp`, at)
	f("start=NaN", `invalid parameter "start": time NaN: out of range`, at)
	f("", `invalid parameter "start": parse "": not a valid timestamp`, func(p *params) { p.needTime("start") })
	f("step=x", `invalid parameter "step": parse "x": not a valid duration`, func(p *params) { p.duration("step") })
	f("step=1e300", `invalid parameter "step": parse "1e300" as a duration: out of range`, func(p *params) { p.duration("step") })
	f("limit=-1", `invalid parameter "limit": must not be negative`, func(p *params) { p.count("limit") })
	f("order=x", `invalid parameter "order": "x" is none of newest, oldest`, func(p *params) { p.oneOf("order", "newest", "oldest") })
	f("from=2&to=1", `invalid parameter "to": it is before from`, func(p *params) { p.span("from", "to", [2]time.Time{}) })
	// The first one that is wrong is told.
	f("a=x&b=y", `invalid parameter "a": parse "x": not a valid timestamp`, func(p *params) {
		p.time("a", time.Time{})
		p.time("b", time.Time{})
	})
}

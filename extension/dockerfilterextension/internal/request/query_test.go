package request

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/vectors"
)

// Each query becomes the canonical one, or is refused.
func TestQuery(t *testing.T) {
	f := func(path, want string) {
		t.Helper()
		r, refusal, _ := Parse([]byte(vectors.PlainHead("GET", path)))
		if refusal != nil {
			if !strings.HasPrefix(want, "!") || string(refusal.Reason) != want[1:] || refusal.Status != 400 {
				t.Errorf("%s: %v, want %s", path, refusal, want)
			}
			return
		}
		base, _, _ := strings.Cut(path, "?")
		if _, got := r.Upstream("", r.Ref); got != base+want {
			t.Errorf("%s: %s, want %s", path, got, base+want)
		}
	}
	const list, logs, stats = "/containers/json", "/containers/x/logs", "/containers/x/stats"
	f(list+"?", "")
	f(list+"?all=1", "?all=1")
	f(list+"?all=true", "?all=1")
	f(list+"?all=True", "?all=1")
	f(list+"?all=0", "?all=0")
	f(list+"?all=FALSE", "?all=0")
	f(list+"?limit=-1&all=1", "?all=1&limit=-1")
	f(list+"?limit=0", "?limit=0")
	f(list+"?limit=", "")
	f(list+"?unknown=1&x=%00&x=2&trunc_cmd=0", "")
	f(list+"?size=0", "")
	f(list+"?size=1", "?size=1")
	f(list+"?filters=", "")
	f(list+"?filters={}", "")
	f(logs+"?tail=&since=&stdout=1&stderr=0", "?stderr=0&stdout=1")
	f(logs+"?tail=all&since=0&until=1700000000.123456789&timestamps=1&follow=1&details=0", "?follow=1&since=0&tail=all&timestamps=1&until=1700000000.123456789")
	f(logs+"?tail=-1", "?tail=-1")
	f(stats+"?stream=false&one-shot=1", "?one-shot=1&stream=0")
	f("/events?since=0", "?since=0")
	f("/networks/x?scope=local&verbose=false", "?scope=local")
	f("/images/json?manifests=0&shared-size=0&identity=false&digests=1", "")
	f("/system/df?type=volume&type=container", "?type=container&type=volume")
	f("/services/x?insertDefaults=true", "?insertDefaults=1")
	f("/version?all=1", "")
	f("/containers/x/json?size=1", "?size=1")

	for _, query := range []string{
		"all", "all=", "all=2", "all=yes", "all=%31%31", "all= 1", "all=+1", "all=1&all=1", "all=0&all=1", "limit=-2", "limit=01", "limit=1.0", "limit=+1",
		"limit=99999999999999999999", "limit=1e3", "=1", "&", "all=1&", "&all=1", "a=1&&b=2", "%61ll=1", "all%00=1", "x=%", "x=%4", "x=%zz", "all=1%", "size=maybe", "[]=1",
	} {
		f(list+"?"+strings.ReplaceAll(query, " ", "%20"), "!query")
	}
	f(logs+"?since=-1", "!query")
	f(logs+"?since=1.", "!query")
	f(logs+"?since=1.1234567891", "!query")
	f(logs+"?since=10m", "!query")
	f(logs+"?since=2024-01-01T00:00:00Z", "!query")
	f(logs+"?tail=ALL", "!query")
	f(logs+"?details=1", "!query")
	f("/tasks/x/logs?details=true", "!query")
	f("/networks/x?scope=world", "!query")
	f("/networks/x?verbose=1", "!cost")
	f("/images/json?manifests=1", "!cost")
	f("/images/json?shared-size=true", "!cost")
	f("/images/json?identity=1", "!cost")
	f("/images/x/json?manifests=1", "!cost")
	f("/system/df?verbose=1", "!cost")
	f("/system/df?type=volume&type=volume", "!query")
	f("/system/df?type=secrets", "!query")
	f("/containers/x/top?ps_args=-ef", "!query")
	f("/containers/x/top?ps_args=", "!query")
	f("/containers/x/top?ps_args=-eo%20pid,ppid,uid,comm", "!query")
	f("/networks/"+strings.Repeat("!", 4000), "!query") // 12,000 bytes in canonical form
}

func TestNeedsSizes(t *testing.T) {
	f := func(path string, want bool) {
		t.Helper()
		if r, refusal, _ := Parse([]byte(vectors.PlainHead("GET", path))); refusal != nil || r.NeedsSizes != want {
			t.Errorf("%s: %v, %v", path, r.NeedsSizes, refusal)
		}
	}
	f("/containers/json?size=1", true)
	f("/containers/x/json?size=true", true)
	f("/containers/json?size=0", false)
	f("/containers/json?all=1", false)
	f("/info?size=1", false)
}

func TestFilters(t *testing.T) {
	f := func(filters string, want map[string][]string, canonical string) {
		t.Helper()
		r, refusal, _ := Parse([]byte(vectors.PlainHead("GET", "/containers/json?filters="+string(appendEscaped(nil, filters)))))
		if refusal != nil {
			t.Errorf("%s: %v", filters, refusal)
			return
		}
		if diff := cmp.Diff(want, r.Query.Filters); diff != "" {
			t.Errorf("%s: %s", filters, diff)
		}
		_, got := r.Upstream("", "")
		query, _ := unescape(strings.TrimPrefix(got, "/containers/json"))
		if query != canonical {
			t.Errorf("%s goes upstream as %s, want %s", filters, query, canonical)
		}
	}
	type m = map[string][]string
	f(`{"label":["b","a","b"],"id":["x"]}`, m{"id": {"x"}, "label": {"a", "b"}}, `?filters={"id":{"x":true},"label":{"a":true,"b":true}}`)
	f(`{"label":{"b":true,"a":true}}`, m{"label": {"a", "b"}}, `?filters={"label":{"a":true,"b":true}}`)
	f(` { "status" : [ "running" ] } `, m{"status": {"running"}}, `?filters={"status":{"running":true}}`)
	f(`{"label":["\u0061=\"é\""]}`, m{"label": {`a="é"`}}, `?filters={"label":{"a=\"é\"":true}}`)
	f(`{"label":[],"status":{}}`, nil, "")
	f(`{}`, nil, "")
	f("", nil, "")

	for _, filters := range []string{
		`{bad`, `{`, `[]`, `"x"`, `null`, `true`, `1`, `{}x`, `{}{}`, `{"label":["a"]`, `{"label":["a"],}`, `{"label":"a"}`, `{"label":null}`, `{"label":true}`,
		`{"label":[1]}`, `{"label":[null]}`, `{"label":[["a"]]}`, `{"label":{"a":false}}`, `{"label":{"a":1}}`, `{"label":{"a":"true"}}`,
		`{"label":["a"],"label":["b"]}`, `{"label":["a"],"l\u0061bel":["b"]}`, `{"label":{"a":true,"a":true}}`, `{"nosuch":["a"]}`, `{"Label":["a"]}`,
		`{"annotation":["a"]}`, `{"label":["a\u0000"]}`, `{"label":["a\n"]}`, "{\"label\":[\"\xff\"]}", `{"label":["\ud800"]}`, `{label:["a"]}`, `{'label':['a']}`, `{"":["a"]}`,
	} {
		r, refusal, _ := Parse([]byte(vectors.PlainHead("GET", "/containers/json?filters="+string(appendEscaped(nil, filters)))))
		if refusal == nil || refusal.Reason != ReasonQuery || refusal.Status != 400 {
			t.Errorf("%s: %v, %v", filters, refusal, r.Query.Filters)
		}
	}
}

// Each list knows its filters and not those of another.
func TestFilterNames(t *testing.T) {
	for _, spec := range Operations() {
		known := filterKeys[spec.Operation]
		for _, name := range slices.Concat(slices.Collect(maps.Values(filterKeys))...) {
			if len(known) == 0 {
				continue
			}
			_, refusal, _ := Parse([]byte(vectors.PlainHead("GET", spec.Route+`?filters={"`+name+`":["x"]}`)))
			if (refusal == nil) != slices.Contains(known, name) {
				t.Errorf("%s with filter %s: %v", spec.Operation, name, refusal)
			}
		}
	}
}

// What the caller changes is what goes upstream.
func TestChangedQuery(t *testing.T) {
	r, refusal, _ := Parse([]byte(vectors.PlainHead("GET", `/containers/json?limit=5&size=1&filters={"before":["web"]}`)))
	if refusal != nil {
		t.Fatal(refusal)
	}
	if limit, ok := r.Query.Value("limit"); limit != "5" || !ok {
		t.Errorf("limit %q, %v", limit, ok)
	}
	r.Query.Drop("limit")
	r.Query.Drop("nosuch")
	r.Query.SetBool("all", true)
	r.Query.SetBool("nosuch", true)
	r.Query.Filters["before"] = []string{"\xff&x=y"}
	method, got := r.Upstream("1.44", "ignored")
	want := "/v1.44/containers/json?all=1&filters=%7B%22before%22%3A%7B%22%EF%BF%BD%26x%3Dy%22%3Atrue%7D%7D&size=1"
	if method != "GET" || got != want {
		t.Errorf("%s %s, want %s", method, got, want)
	}
	if _, ok := r.Query.Value("limit"); ok || !r.Query.Bool("all", false) || r.Query.Bool("other", false) || !r.Query.Bool("other", true) {
		t.Errorf("%+v", r.Query)
	}
	df, _, _ := Parse([]byte(vectors.PlainHead("GET", "/system/df?type=volume&type=image")))
	if diff := cmp.Diff([]string{"image", "volume"}, df.Query.Values("type")); diff != "" {
		t.Error(diff)
	}
}

// A reference that does not come from Parse cannot leave its segment.
func TestUpstreamEscapes(t *testing.T) {
	f := func(path, version, ref, want string) {
		t.Helper()
		r, _, _ := Parse([]byte(vectors.PlainHead("GET", path)))
		if _, got := r.Upstream(version, ref); got != want {
			t.Errorf("%s of %q: %s, want %s", path, ref, got, want)
		}
	}
	f("/containers/x/json", "1.41", "4f0c", "/v1.41/containers/4f0c/json")
	f("/images/x/json", "1.56", "r:5000/a@sha256:0", "/v1.56/images/r:5000/a@sha256:0/json")
	f("/networks/x", "", "a b?é#;", "/networks/a%20b%3F%C3%A9%23%3B")
	for _, ref := range []string{"", ".", "..", "a/../b", "../x", "a/", "a\r\n", "a\x00", "%2e", "a\x7f", "/", "a//b", "\xff"} {
		f("/containers/x/json", "1.41", ref, "")
		f("/images/x/json", "1.41", ref, "")
		f("/networks/x", "1.41", ref, "")
	}
	f("/containers/x/json", "1.41", "a?b", "")
	f("/containers/x/json", "1.41", "a b", "")
	f("/images/x/json", "1.41", "a?b", "")
	f("/images/x/json", "1.41", "a#b", "")
	f("/version", "1.41/../x", "", "")
	f("/version", "1.41 ", "", "")
	f("/secrets", "1.41", "x", "")
	f("/plugins/x/json", "1.41", "x", "")
	r, _, _ := Parse([]byte(vectors.PlainHead("HEAD", "/_ping")))
	if method, target := r.Upstream("", ""); method != "HEAD" || target != "/_ping" {
		t.Errorf("%s %s", method, target)
	}
}

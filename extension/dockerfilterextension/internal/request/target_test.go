package request

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/vectors"
)

func TestTargetForm(t *testing.T) {
	f := func(path string, reason Reason) {
		t.Helper()
		_, refusal := parseTarget(path)
		got := Reason("")
		if refusal != nil {
			got = refusal.Reason
		}
		if got != reason {
			t.Errorf("%.100q: %q, want %q", path, got, reason)
		}
	}
	for _, path := range []string{
		"/version", "/v1.24/version", "/v1.56/version", "/version?", "/x?%zz", "/anything/at/all", "/v", "/vv1.41/x",
		"/images/v1.41/json", "/images/sha256:0a1b/json", "/images/localhost:5000/a/b@sha256:00/json", "/volumes/a%20b",
		"/networks/%C3%A9t%C3%A9", "/networks/a+b(c)", "/networks/a%2Bb", "/" + strings.Repeat("a", MaxTarget-1),
	} {
		f(path, "")
	}
	for _, path := range []string{
		"", "version", "*", "http://docker/version", "docker:80", "/", "//", "//version", "/a//b", "/a/", "/./a", "/a/..", "/a/../b", "/a/.",
		"/a b", "/a\tb", "/a\x00", "/a\x7f", "/\xc3\xa9", "/a#b", "/a\\b", "/a;b", "/a?b;c", "/a?b#c", "/a?b\\c", "/" + strings.Repeat("a", MaxTarget),
		"/%61", "/version%0a", "/containers/a%2Fb/json", "/containers/a%20b/json", "/images/a%2Fb/json", "/networks%2Fx", "/volumes/x/%61",
		"/networks/%61", "/networks/%2e%2e", "/networks/%2E", "/networks/a%2fb", "/networks/a%2Fb", "/networks/a%25b", "/networks/a%00b", "/networks/a%0ab",
		"/networks/a%7fb", "/networks/a%7Eb", "/networks/a%", "/networks/a%4", "/networks/a%zz", "/networks/%FF", "/networks/%C2%85", "/networks/a{b",
		"/volumes/%5F", "/a{b", "/a\"b", "/a<b", "/a|b", "/a^b", "/a`b", "/a[b]",
		"/containers/-a/json", "/containers/.a/json", "/containers/_a/json", "/containers/a:b/json", "/containers/a@b/json", "/containers/a~b/json",
		"/images/-a/json", "/images/a/-b/json", "/images/a~b/json", "/nodes/a:b", "/services/.x", "/tasks/a@b/logs", "/plugins/a~/json",
	} {
		f(path, ReasonTarget)
	}
	for _, path := range []string{
		"/v1.23/version", "/v1.57/version", "/v1.99/x", "/v1.4/version", "/v1.411/version", "/v1.4x/version", "/v1/version", "/v2.41/version",
		"/v1.41", "/v1.41/v1.41/version", "/v1.41/v1.40/version", "/v1..41/x", "/v1.41.0/x", "/v01.41/x", "/v1.%341/version",
	} {
		f(path, ReasonVersion)
	}
}

func TestRoutes(t *testing.T) {
	f := func(path string, operation Operation, ref string) {
		t.Helper()
		r, _, _ := Parse([]byte(vectors.PlainHead("GET", path)))
		if r.Operation != operation || r.Ref != ref {
			t.Errorf("%s: %q of %q, want %q of %q", path, r.Operation, r.Ref, operation, ref)
		}
	}
	f("/images/json/json", ImageInspect, "json")
	f("/images/get/json", ImageInspect, "get")
	f("/images/a/history/json", ImageInspect, "a/history")
	f("/images/a/json/history", ImageHistory, "a/json")
	f("/images/v1.41/json", ImageInspect, "v1.41")
	f("/images/r:5000/a/b@sha256:0a/json", ImageInspect, "r:5000/a/b@sha256:0a")
	f("/containers/json/json", ContainerInspect, "json")
	f("/containers/json/stats", ContainerStats, "json")
	f("/networks/a%20b%3F", NetworkInspect, "a b?")
	f("/networks/%c3%A9", NetworkInspect, "é")
	f("/volumes/a+b", VolumeInspect, "a+b")
	f("/networks/json", NetworkInspect, "json")
	f("/plugins/vieux/sshfs:latest/json", PluginInspect, "vieux/sshfs:latest")
	f("/plugins/json", "", "")
	f("/services/web", ServiceInspect, "web")
	for _, path := range []string{
		"/containers", "/containers/x", "/containers/x/", "/containers/x/json/json", "/containers/x/y/json", "/containers/x/JSON", "/containers/x/jso",
		"/containers/x/archive", "/containers/x/export", "/containers/x/attach/ws", "/containers/x/changes", "/images", "/images/x", "/images/get", "/images/search",
		"/images/x/get", "/images/x/attestations", "/networks/x/y", "/volumes/x/json", "/info/x", "/swarm/unlockkey", "/secrets", "/configs", "/configs/x",
		"/distribution/x/json", "/debug/pprof/heap", "/grpc", "/session", "/plugins/x/y", "/nodes/x/y", "/tasks/x/log", "/services/x/logs/y", "/_ping/x", "/Version",
		"/system", "/system/df/x", "/build/prune", "/exec/x/json",
	} {
		f(path, "", "")
	}
}

// Every row of the table can be asked for with and without a version, goes
// upstream as it came, and belongs to no other row.
func TestEveryRow(t *testing.T) {
	refs := map[string]string{"container": "4f0c1d2e3a4b", "image": "registry.example/team/app:1.2", "name": "web%20one"}
	seen := map[Operation]bool{}
	for _, spec := range Operations() {
		if seen[spec.Operation] {
			t.Errorf("%s has two rows", spec.Operation)
		}
		seen[spec.Operation] = true
		_, placeholder, _ := spec.split()
		path := strings.Replace(spec.Route, "{"+placeholder+"}", refs[placeholder], 1)
		for _, version := range []string{"", "1.41"} {
			target := path
			if version != "" {
				target = "/v" + version + path
			}
			r, refusal, _ := Parse([]byte(vectors.PlainHead("GET", target)))
			if refusal != nil || r.Operation != spec.Operation || r.Version != version || (r.Ref != "") != (placeholder != "") {
				t.Errorf("%s: %+v, %v", target, r, refusal)
				continue
			}
			_, headRefusal, _ := Parse([]byte(vectors.PlainHead("HEAD", target)))
			if (headRefusal == nil) != spec.Head {
				t.Errorf("HEAD %s: %v", target, headRefusal)
			}
			method, upstream := r.Upstream(version, r.Ref)
			want := target
			switch spec.Operation {
			case PluginInspect:
				want = ""
			case ContainerTop:
				want += "?ps_args=-eo%20pid%2Cppid%2Cuid%2Ccomm"
			}
			if upstream != want || (method == "GET") == spec.Local {
				t.Errorf("%s goes upstream as %s %s", target, method, upstream)
			}
		}
	}
	if len(seen) != 28 {
		t.Errorf("%d operations, want the 28 of the constants", len(seen))
	}
}

// Parameters are in the order in which a canonical query has them, few enough
// for the bits of parseQuery, and filters have their names.
func TestTableIsInOrder(t *testing.T) {
	for _, spec := range Operations() {
		hasFilters := false
		for i, p := range spec.params {
			if i > 0 && spec.params[i-1].name >= p.name {
				t.Errorf("%s: %s before %s", spec.Operation, spec.params[i-1].name, p.name)
			}
			hasFilters = hasFilters || p.kind == filters
		}
		if len(spec.params) > 32 {
			t.Errorf("%s: %d parameters", spec.Operation, len(spec.params))
		}
		if hasFilters != (len(filterKeys[spec.Operation]) > 0) {
			t.Errorf("%s: filters %v, known names %v", spec.Operation, hasFilters, filterKeys[spec.Operation])
		}
	}
}

func TestVersionMessage(t *testing.T) {
	_, refusal, _ := Parse([]byte(vectors.PlainHead("GET", "/v1.22/containers/json")))
	if refusal == nil || !strings.HasPrefix(refusal.Message, "client version too old") || refusal.Status != 400 {
		t.Error(fmt.Sprint(refusal))
	}
}

package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

const root = "../.."

// The page in docs is what the sources say, and says something of every setting.
func TestPage(t *testing.T) {
	var got strings.Builder
	require.NoError(t, write(&got, root))
	want, err := os.ReadFile(root + "/docs/settings.md")
	require.NoError(t, err)
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("docs/settings.md is stale (make generate):\n%s", diff)
	}
	for line := range strings.Lines(got.String()) {
		if strings.HasPrefix(line, "| `") && strings.HasSuffix(strings.TrimSpace(line), "|  |") {
			t.Errorf("nothing is said of %s", line)
		}
	}
}

// One row of each kind is what a person writing YAML needs.
func TestRows(t *testing.T) {
	found := map[string]row{}
	comments := newComments(root)
	for _, p := range pages() {
		rows, err := settings(p.factory.CreateDefaultConfig(), comments)
		require.NoError(t, err)
		for _, r := range rows {
			r.text = ""
			found[p.factory.Type().String()+": "+r.key] = r
		}
	}
	for _, want := range []struct{ of, key, typ, fallback string }{
		{"cgroup", "collection_interval", "duration", "`10s`"}, // squashed, of another module
		{"cgroup", "classes", "list of text", "`[container]`"},
		{"cgroup", "include", "block", ""},
		{"cgroup", "include.runtime", "list of text", ""},
		{"container_tag", "cardinality", "text", "`high`"}, // an integer in Go
		{"container_tag", "aliases[]", "list of blocks", ""},
		{"container_tag", "aliases[].label", "map to text", ""},
		{"discovery", "rules[].config", "map to anything", ""},
		{"docker_filter", "limits.rps", "number", "`50`"},
		{"flight_recorder", "token", "text, secret", ""},
		{"uds_statsd", "create_directory", "true, false", "`false`"},
	} {
		if diff := cmp.Diff(row{want.key, want.typ, want.fallback, ""}, found[want.of+": "+want.key], cmp.AllowUnexported(row{})); diff != "" {
			t.Errorf("%s: %s", want.of, diff)
		}
	}
	for key := range found {
		if strings.HasSuffix(key, ": metrics") || strings.HasSuffix(key, ": events[]") {
			t.Errorf("%s is docs/metrics.md's", key)
		}
	}
}

func TestSentence(t *testing.T) {
	keys := map[string]string{"Size": "size", "Names": "names", "Unnamed": ""}
	for _, one := range []struct{ doc, want string }{
		{"Size is in bytes.\nSee [Other].\n", "in bytes. See Other."},
		{"Size bounds Names.", "bounds `names`."},
		{"Size and Names are one.", "`size` and `names` are one."},
		{"Unnamed|Sizes", `Unnamed\|Sizes`},
		{"", ""},
	} {
		require.Equal(t, one.want, sentence(one.doc, "Size", keys))
	}
}

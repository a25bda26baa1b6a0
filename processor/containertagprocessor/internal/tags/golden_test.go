package tags_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/tags"
)

func TestGolden(t *testing.T) {
	for _, f := range fixtures() {
		set := compile(t, f.options).Container(f.con, f.pod)
		compareGolden(t, f.name+".golden", describe(set))
	}
	compareGolden(t, "pod.golden", describe(compile(t, tags.Options{}).Pod(pod())))
}

func TestMarkdown(t *testing.T) {
	compareGolden(t, "table.md", tags.Markdown())
}

func describe(set *tags.Set) string {
	var text strings.Builder
	for _, a := range set.Attributes {
		if a.Values != nil {
			fmt.Fprintf(&text, "%s = %q\n", a.Key, a.Values)
		} else {
			fmt.Fprintf(&text, "%s = %s\n", a.Key, a.Value)
		}
	}
	for reason, n := range set.Cut.All() {
		if n > 0 {
			fmt.Fprintf(&text, "--- %s %d\n", reason, n)
		}
	}
	return text.String()
}

func compareGolden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if os.Getenv(testkit.UpdateEnv) == "1" {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o600))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (%s=1 updates it): -want +got\n%s", file, testkit.UpdateEnv, diff)
	}
}

// A name that is an attribute is not a folder of attributes, too: who keeps them as
// objects (Elasticsearch) refuses that. The semantic conventions ask for the same.
func TestNoNameIsAFolder(t *testing.T) {
	var names []string
	for _, found := range regexp.MustCompile("(?m)^\\| `([a-z_.0-9]+)`").FindAllStringSubmatch(tags.Markdown(), -1) {
		names = append(names, found[1])
	}
	require.Contains(t, names, "service.technology")
	for _, folder := range names {
		for _, name := range names {
			require.False(t, strings.HasPrefix(name, folder+"."), "%s lies below %s", name, folder)
		}
	}
}

// Every attribute of the table is at its level and those above it, with the
// same value, and no other is.
func TestLevels(t *testing.T) {
	rows := map[string][]tags.Level{}
	for _, r := range tags.Table() {
		rows[r.Attribute] = append(rows[r.Attribute], r.Level)
	}
	checked := map[string]bool{}
	for _, f := range fixtures() {
		all := compile(t, f.options).Container(f.con, f.pod)
		for _, level := range []tags.Level{tags.None, tags.Low, tags.Orchestrator, tags.High} {
			f.options.Cardinality = level
			set := compile(t, f.options).Container(f.con, f.pod)
			for _, a := range all.Attributes {
				levels, ok := rows[a.Key]
				if !ok {
					continue // named by somebody else: TestNamedLevels
				}
				got := slices.ContainsFunc(set.Attributes, func(b tags.Attribute) bool { return cmp.Equal(a, b) })
				may := slices.ContainsFunc(levels, func(l tags.Level) bool { return l <= level })
				must := !slices.ContainsFunc(levels, func(l tags.Level) bool { return l > level })
				if got && !may || !got && must {
					t.Errorf("%s at level %s: %s is there: %v", f.name, level, a.Key, got)
				}
				checked[a.Key] = true
			}
			if level == tags.None && len(set.Attributes) > 0 {
				t.Errorf("%s: %d attributes at level none", f.name, len(set.Attributes))
			}
		}
	}
	if len(checked) < 35 {
		t.Errorf("the fixtures have only %d attributes of the table", len(checked))
	}
}

// Attributes that others name have the level of who names them.
func TestNamedLevels(t *testing.T) {
	f := func(level tags.Level, want ...string) {
		t.Helper()
		con := ruled()
		con.Env["OTEL_RESOURCE_ATTRIBUTES"] = "color=blue,k8s.pod.name=x,mesos.task.id=m"
		con.Labels["com.datadoghq.ad.tags"] = `["stage:blue","+shard:7"]`
		set := compile(t, tags.Options{
			Cardinality: level,
			Labels:      tags.Rules{Allow: []string{"com.example.team"}, Attributes: map[string]string{"owner": "team"}},
			Env:         tags.Rules{Allow: []string{"TIER"}},
		}).Container(con, nil)
		got := byKey(set)
		for _, key := range []string{
			"team", "stage", "shard", "color", "container.label.com.example.team",
			"process.environment_variable.TIER", "mesos.task.id",
		} {
			if _, ok := got[key]; ok != slices.Contains(want, key) {
				t.Errorf("level %s: %s is there: %v", level, key, ok)
			}
		}
	}
	f(tags.Low, "team", "stage")
	f(tags.Orchestrator, "team", "stage", "mesos.task.id")
	f(tags.High, "team", "stage", "mesos.task.id", "shard", "color", "container.label.com.example.team", "process.environment_variable.TIER")
}

func TestLevelText(t *testing.T) {
	f := func(text string, want tags.Level, canonical string) {
		t.Helper()
		var l tags.Level
		require.NoError(t, l.UnmarshalText([]byte(text)))
		require.Equal(t, want, l)
		back, err := l.MarshalText()
		require.NoError(t, err)
		require.Equal(t, canonical, string(back))
	}
	f("none", tags.None, "none")
	f("low", tags.Low, "low")
	f("orch", tags.Orchestrator, "orchestrator")
	f("orchestrator", tags.Orchestrator, "orchestrator")
	f("high", tags.High, "high")
	var l tags.Level
	require.ErrorContains(t, l.UnmarshalText([]byte("medium")), `"medium"`)
}

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
	"go.yaml.in/yaml/v3"

	"github.com/tallymanhq/tallyman/test/soak/proc"
)

// defaultConfig is the configuration that is measured.
const defaultConfig = "../../../otelcol-config.yaml"

// Each row leaves something out of the default configuration, and what is left holds
// together: no pipeline is empty and no connector leads nowhere.
func TestRowsAreConfigurations(t *testing.T) {
	text, err := os.ReadFile(defaultConfig)
	require.NoError(t, err)
	for _, v := range variants() {
		got, err := leaveOut(text, v.without)
		require.NoError(t, err, v.name)
		var parts struct {
			Service    service        `yaml:"service"`
			Connectors map[string]any `yaml:"connectors"`
		}
		require.NoError(t, yaml.Unmarshal(got, &parts))
		require.Contains(t, parts.Service.Pipelines, "metrics", v.name)
		for id, p := range parts.Service.Pipelines {
			require.NotEmpty(t, p.Receivers, "%s: %s", v.name, id)
			require.NotEmpty(t, p.Exporters, "%s: %s", v.name, id)
			for _, name := range v.without {
				require.NotContains(t, append(append(p.Receivers, p.Processors...), p.Exporters...), name, v.name)
			}
		}
		for name := range parts.Connectors {
			require.False(t, parts.Service.dropHalf(name), "%s: %s", v.name, name)
		}
	}
	_, err = leaveOut(text, []string{"nothing/such"})
	require.ErrorIs(t, err, errNoSuch)
}

func TestLeaveOutCascades(t *testing.T) {
	const config = `
receivers: {a: {}, b: {}}
connectors: {c: {}}
exporters: {d: {}, e: {}}
service:
  extensions: [x]
  pipelines:
    metrics: {receivers: [a], exporters: [c, d]}
    metrics/far: {receivers: [c], exporters: [e]}
`
	got, err := leaveOut([]byte(config), []string{"e"})
	require.NoError(t, err)
	var parts struct {
		Service service `yaml:"service"`
	}
	require.NoError(t, yaml.Unmarshal(got, &parts))
	want := map[string]pipeline{"metrics": {Receivers: []string{"a"}, Exporters: []string{"d"}}}
	if diff := cmp.Diff(want, parts.Service.Pipelines); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestWithoutWritesACopy(t *testing.T) {
	dir := t.TempDir()
	same, err := without(defaultConfig, nil, dir)
	require.NoError(t, err)
	require.Equal(t, defaultConfig, same)
	other, err := without(defaultConfig, []string{"netns"}, dir)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "config.yaml"), other)
	text, err := os.ReadFile(other)
	require.NoError(t, err)
	require.Contains(t, string(text), "${env:TALLYMAN_STATE:-/var/lib/tallyman}/events.jsonl")
}

func TestFlags(t *testing.T) {
	o, err := parseFlags(nil)
	require.NoError(t, err)
	require.Len(t, o.rows, 2)
	o, err = parseFlags([]string{"-rows", "all"})
	require.NoError(t, err)
	require.Len(t, o.rows, len(variants()))
	f := func(want string, args ...string) {
		t.Helper()
		_, err := parseFlags(args)
		require.ErrorContains(t, err, want)
	}
	f("-rows", "-rows", "no such")
	f("containers", "-n", "0")
	f("containers", "-window", "1ms")
}

func TestTable(t *testing.T) {
	var out strings.Builder
	render(&out, []figures{{
		variant: variant{name: "all on"}, cpu: 1.234, user: 1, system: 0.234, wakeups: 77,
		usage: proc.Usage{RSS: 160e6, Anon: 100e6, File: 60e6, PSS: 159e6, Threads: 12}, descriptors: 700,
	}})
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 4)
	for _, line := range lines {
		require.Equal(t, strings.Count(lines[0], "|"), strings.Count(line, "|"), line)
	}
	require.Equal(t, "| all on | **1.23** | 1.00, 0.23 | 77 | **160** | 100, 60 | 159 | - | 12, 700 |", lines[2])
	require.Contains(t, lines[3], "| goal, all on | 1.00 | | | 150 |")
}

// The row lean is the overlay that docs/tuning.md gives.
func TestLeanIsAsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../../docs/tuning.md")
	require.NoError(t, err)
	_, block, ok := strings.Cut(string(page), "<!-- lean -->\n```yaml\n")
	require.True(t, ok)
	block, _, _ = strings.Cut(block, "```")
	documented, err := confmap.NewRetrievedFromYAML([]byte(block))
	require.NoError(t, err)
	want, err := documented.AsConf()
	require.NoError(t, err)
	row := variants()[slices.Index(names(), "lean")]
	got := confmap.New()
	for _, line := range row.set {
		retrieved, err := confmap.NewRetrievedFromYAML([]byte(line))
		require.NoError(t, err)
		part, err := retrieved.AsConf()
		require.NoError(t, err)
		require.NoError(t, got.Merge(part))
	}
	require.Equal(t, want.ToStringMap(), got.ToStringMap())
}

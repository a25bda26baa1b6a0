package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

func find(t *testing.T, name string) variant {
	t.Helper()
	for _, v := range variants() {
		if v.name == name {
			return v
		}
	}
	t.Fatalf("no row %s", name)
	return variant{}
}

func TestRender(t *testing.T) {
	mb := func(now, peak float64) memory { return memory{now * 1e6, peak * 1e6} }
	r := report{
		args: []string{"-n", "57"}, window: time.Minute, network: "bridge",
		day: "2026-01-31", cpu: "A CPU", cores: 2, kernel: "6.1", layout: "cgroup v2", docker: "20.10", commit: "abc + local changes",
		loadBefore: "0.10", loadAfter: "0.20", peers: []string{"cAdvisor v1", "docker_stats v2"},
		tables: []table{{containers: 57, idle: 0.125, rows: []row{
			{find(t, "cgroup"), []sample{
				{cpu: 0.3, others: 1, memory: mb(70, 71), passes: 60},
				{cpu: 0.25, others: 2.5, memory: mb(72, 73), passes: 59.9},
			}},
			{find(t, "netns"), nil},
			{find(t, "default"), []sample{{cpu: 1, memory: mb(90, 100), passes: 60, scrape: &scrape{0.0291, 291234}}}},
			{find(t, "cadvisor"), []sample{{cpu: 5, engine: 4, memory: mb(30, 31), passes: 40, scrape: &scrape{0.05, 1.4e6}}, {cpu: 6, engine: 4.5, passes: 40}}},
			{find(t, "docker_stats"), []sample{{cpu: 2, engine: 8.125, passes: 24}, {cpu: 1, engine: 8.625, memory: mb(40, 45), passes: 25}}},
		}}},
	}
	got := r.render()
	golden := filepath.Join("testdata", "section.md")
	if os.Getenv(testkit.UpdateEnv) == "1" {
		require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("section (%s=1 updates it), -want +got:\n%s", testkit.UpdateEnv, diff)
	}
}

func TestRatio(t *testing.T) {
	require.Equal(t, "1.0", ratio(3, 3))
	require.Equal(t, "9.9", ratio(9.94, 1))
	require.Equal(t, "12", ratio(12.4, 1))
	require.Equal(t, "-", ratio(1, 0))
}

func TestSpliceKeepsTheRest(t *testing.T) {
	page := "# Title\n\n" + sectionBegin + "\nold\n" + sectionEnd + "\n\nfoot\n"
	got, err := splice([]byte(page), "new\n")
	require.NoError(t, err)
	require.Equal(t, "# Title\n\n"+sectionBegin+"\n\nnew\n\n"+sectionEnd+"\n\nfoot\n", string(got))
	again, err := splice(got, "new\n")
	require.NoError(t, err)
	require.Equal(t, string(got), string(again))

	for _, broken := range []string{
		"", sectionBegin, sectionEnd, sectionEnd + sectionBegin, sectionBegin + sectionBegin + sectionEnd,
	} {
		_, err := splice([]byte(broken), "new\n")
		require.ErrorIs(t, err, errNoSection, broken)
	}
}

// The page of this repository has the marks that a run needs after half an hour.
func TestPageHasTheSection(t *testing.T) {
	text, err := os.ReadFile("../../../docs/benchmarks.md")
	require.NoError(t, err)
	_, err = splice(text, "new\n")
	require.NoError(t, err)
}

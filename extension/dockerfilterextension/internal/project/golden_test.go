package project_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/project"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// TestGolden compares what is left of each body of testdata for the default
// profile. The bodies of 1.41 are those of a real engine (TestPlantedOnEngine);
// 1.44 and 1.47 were made of them by hand, after the API's description. All
// secrets in them have the same middle.
func TestGolden(t *testing.T) {
	rules := compile(t, project.Options{})
	for _, b := range bodies(t) {
		out, stats, err := projectText(b.text, project.View{Kind: b.kind, Rules: rules})
		require.NoError(t, err, b.file)
		require.Equal(t, int64(len(out)), stats.Written)
		if strings.Contains(out, "hunter2") {
			t.Errorf("%s: a secret leaves: %s", b.file, out)
		}
		golden := strings.TrimSuffix(b.file, ".json") + ".golden"
		got := goldenText(t, out, stats)
		if os.Getenv(testkit.UpdateEnv) == "1" {
			require.NoError(t, os.WriteFile(golden, got, 0o600))
		}
		want, err := os.ReadFile(golden)
		require.NoError(t, err)
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s (%s=1 updates it): -want +got\n%s", golden, testkit.UpdateEnv, diff)
		}
	}
}

// goldenText is what was projected, indented, and what was counted.
func goldenText(t *testing.T, out string, stats project.Stats) []byte {
	t.Helper()
	var text bytes.Buffer
	for line := range strings.Lines(out) {
		require.NoError(t, json.Indent(&text, []byte(line), "", "  "))
	}
	counts, err := json.MarshalIndent(stats, "", "  ")
	require.NoError(t, err)
	text.WriteString("--- stats\n")
	text.Write(counts)
	text.WriteByte('\n')
	return text.Bytes()
}

// TestNoSecretInFixturesLeaves is TestGolden's search under every profile.
func TestNoSecretInFixturesLeaves(t *testing.T) {
	for name, options := range profiles() {
		rules := compile(t, options)
		for _, b := range bodies(t) {
			if !bytes.Contains(b.text, []byte("hunter2")) {
				continue
			}
			out, _, err := projectText(b.text, project.View{Kind: b.kind, Rules: rules})
			require.NoError(t, err, b.file)
			if strings.Contains(out, "hunter2") {
				t.Errorf("%s: %s: a secret leaves: %s", name, b.file, out)
			}
		}
	}
}

package e2e_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The tool is built beside the agent, from the same commit, and both agree
// that the agent runs here.
func TestControl(t *testing.T) {
	t.Parallel()
	agent := os.Getenv(binaryEnv)
	control := filepath.Join(filepath.Dir(agent), "tallymanctl")
	versionOf := func(path string) string {
		out, err := exec.Command(path, "--version").Output()
		require.NoError(t, err, "scripts/build.sh makes both")
		version, ok := strings.CutPrefix(string(out), filepath.Base(path)+" version ")
		require.True(t, ok, "%s", out)
		return version
	}
	require.Equal(t, versionOf(agent), versionOf(control))

	out, err := exec.Command(control, "doctor", "--json", "--state-dir", t.TempDir()).Output()
	var report struct {
		Checks []struct{ Name, Status, Error string }
	}
	require.NoError(t, json.Unmarshal(out, &report), "%v: %s", err, out)
	found := map[string]string{}
	for _, c := range report.Checks {
		found[c.Name] = c.Status
	}
	for _, name := range []string{"host.root", "cgroup.version", "disk.state"} {
		require.Equal(t, "pass", found[name], "%s: %s", name, out)
	}
}

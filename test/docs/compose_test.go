package docs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Compose files of pages and of deploy are such to docker-compose, where it is there, and
// nothing in them is privileged or has the engine's socket that need not.
func TestComposeFiles(t *testing.T) {
	t.Parallel()
	ours, err := filepath.Abs(filepath.Join(root, "deploy", "compose.yaml"))
	require.NoError(t, err)
	count := 0
	for _, d := range yamlDocuments(t) {
		if d.is != ofCompose {
			continue
		}
		count++
		require.NotRegexp(t, `privileged:\s*true`, d.text, d.place())
		file := filepath.Join(t.TempDir(), "compose.yaml")
		require.NoError(t, os.WriteFile(file, []byte(d.text), 0o600))
		if isOverlay(d.keys) {
			composed(t, d.place(), ours, file)
			continue
		}
		composed(t, d.place(), file)
	}
	require.GreaterOrEqual(t, count, 2)
	for _, pattern := range []string{"*compose*.yaml", "*/*compose*.yaml"} {
		files, err := filepath.Glob(filepath.Join(root, "deploy", pattern))
		require.NoError(t, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			require.NotRegexp(t, `privileged:\s*true`, string(text), file)
			file, err = filepath.Abs(file)
			require.NoError(t, err)
			composed(t, file, file)
		}
	}
}

// isOverlay is true for what is to be put over deploy/compose.yaml: a service without image.
func isOverlay(keys map[string]any) bool {
	services, _ := keys["services"].(map[string]any)
	for _, one := range services {
		service, _ := one.(map[string]any)
		if service["image"] == nil && service["build"] == nil {
			return true
		}
	}
	return false
}

func composed(t *testing.T, place string, files ...string) {
	t.Helper()
	if _, err := exec.LookPath("docker-compose"); err != nil {
		return
	}
	var arguments []string
	for _, file := range files {
		arguments = append(arguments, "-f", file)
	}
	cmd := exec.Command("docker-compose", append(arguments, "config", "-q")...)
	cmd.Dir = filepath.Dir(files[0]) // where Compose 1 looks for a seccomp profile
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s\n%s", place, out)
}

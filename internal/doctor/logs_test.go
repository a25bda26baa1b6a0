package doctor

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLogs(t *testing.T) {
	dir := t.TempDir()
	o := Options{DockerRoot: filepath.Join(dir, "docker"), PodsRoot: filepath.Join(dir, "pods")}
	look := func() Result { return named(t, o.checkLogs(t.Context())) }
	r := look()
	require.Equal(t, Warn, r.Status)
	require.Contains(t, r.Found, o.DockerRoot+"/containers")
	require.Contains(t, r.Found, o.PodsRoot)
	require.Contains(t, r.Remedy, "/var/lib/docker/containers")

	// One that is no folder is not missing: somebody mounted the wrong thing.
	require.NoError(t, os.WriteFile(o.PodsRoot, nil, 0o600))
	require.Equal(t, Warn, look().Status)
	require.Contains(t, look().Error, "not a directory")

	require.NoError(t, os.MkdirAll(filepath.Join(o.DockerRoot, "containers"), 0o700))
	require.Equal(t, Pass, look().Status)

	r = named(t, judgeLogs([]logFolder{{"/d", fs.ErrPermission}, {"/p", fs.ErrNotExist}}))
	require.Equal(t, Warn, r.Status)
	require.Contains(t, r.Remedy, "CAP_DAC_READ_SEARCH")
	require.NotEmpty(t, r.Error)
}

package doctor

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/ownthread"
	"github.com/tallymanhq/tallyman/internal/testkit"
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

	// A folder that is there says nothing: an engine makes an empty one for a wrong mount.
	require.NoError(t, os.Remove(o.PodsRoot))
	container := filepath.Join(o.DockerRoot, "containers", "0123")
	require.NoError(t, os.MkdirAll(filepath.Dir(container), 0o700))
	r = look()
	require.Equal(t, Unknown, r.Status)
	require.Contains(t, r.Found, o.DockerRoot+"/containers is empty")
	require.Contains(t, r.Remedy, "DOCKER_ROOT")

	// One with containers of another logging driver.
	require.NoError(t, os.Mkdir(container, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(container, "config.v2.json"), nil, 0o600))
	r = look()
	require.Equal(t, Warn, r.Status)
	require.Contains(t, r.Remedy, "json-file")

	require.NoError(t, os.WriteFile(filepath.Join(container, "0123-json.log"), nil, 0o600))
	require.Equal(t, Pass, look().Status)

	require.NoError(t, os.RemoveAll(o.DockerRoot))
	require.NoError(t, os.MkdirAll(filepath.Join(o.PodsRoot, "shop_web_1", "front"), 0o700))
	require.Equal(t, Warn, look().Status)
	require.NoError(t, os.WriteFile(filepath.Join(o.PodsRoot, "shop_web_1", "front", "0.log"), nil, 0o600))
	require.Equal(t, Pass, look().Status)

	r = named(t, judgeLogs([]logFolder{{path: "/d", err: fs.ErrPermission}, {path: "/p", err: fs.ErrNotExist}}))
	require.Equal(t, Warn, r.Status)
	require.Contains(t, r.Remedy, "CAP_DAC_READ_SEARCH")
	require.NotEmpty(t, r.Error)
}

// Files that may be listed and not read are no logs: looked at by a plain user.
func TestLogsOfOthers(t *testing.T) {
	testkit.NeedRoot(t)
	dir, err := os.MkdirTemp("", "tallyman-logs-") // t.TempDir is not for others
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	file := filepath.Join(dir, "containers", "0123", "0123-json.log")
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	var r Result
	ownthread.Do(func() {
		// Of this thread alone; with the user go its capabilities.
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65534, 65534); errno != 0 {
			err = errno
			return
		}
		r = Options{DockerRoot: dir, PodsRoot: filepath.Join(dir, "none")}.checkLogs(context.Background())
	})
	require.NoError(t, err)
	require.Equal(t, Warn, r.Status, "%+v", r)
	require.Contains(t, r.Error, "permission denied")
	require.Contains(t, r.Remedy, "CAP_DAC_READ_SEARCH")
}

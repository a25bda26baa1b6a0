package keeper

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A folder that others use, such as /tmp, is neither taken nor closed to them.
func TestForeignFolder(t *testing.T) {
	f := func(want error, names ...string) {
		t.Helper()
		dir := filepath.Join(t.TempDir(), "state")
		require.NoError(t, os.Mkdir(dir, 0o755))
		for _, name := range names {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
		}
		file, err := lock(dir)
		require.ErrorIs(t, err, want, names)
		info, statErr := os.Stat(dir)
		require.NoError(t, statErr)
		if want != nil {
			require.Equal(t, fs.FileMode(0o755), info.Mode().Perm(), "closed to others")
			return
		}
		require.Equal(t, fs.FileMode(0o700), info.Mode().Perm())
		require.NoError(t, file.Close())
	}
	f(nil)
	f(nil, "lost+found")
	f(nil, "LOCK", "raw")
	f(nil, "version", "LOCK", "what somebody put there")
	f(ErrForeign, "docker.sock")
	f(ErrForeign, "lost+found", "raw")
}

package testkit

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestUnsetOption(t *testing.T) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err := w.Write([]byte("CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=m\n"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	path := filepath.Join(t.TempDir(), "config.gz")
	require.NoError(t, os.WriteFile(path, packed.Bytes(), 0o600))
	require.False(t, isUnset(path, "CONFIG_A"))
	require.True(t, isUnset(path, "CONFIG_B"))
	require.False(t, isUnset(path, "CONFIG_C"))
	require.False(t, isUnset(path, "CONFIG_OTHER"), "not said")
	require.False(t, isUnset(filepath.Join(t.TempDir(), "none"), "CONFIG_B"), "not told")
}

package flightrecorderextension

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHostName(t *testing.T) {
	own, err := os.Hostname()
	require.NoError(t, err)
	for _, root := range []string{"", "/", t.TempDir()} {
		require.Equal(t, own, hostName(root), root)
	}
	root := t.TempDir()
	file := filepath.Join(root, "etc", "hostname")
	require.NoError(t, os.Mkdir(filepath.Dir(file), 0o755))
	for text, want := range map[string]string{
		"host-7\n": "host-7", "\n": own, strings.Repeat("a", longestHostName+1): own,
	} {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		require.Equal(t, want, hostName(root), "%.20q", text)
	}
	require.NoError(t, os.Remove(file))
	require.NoError(t, os.Mkdir(file, 0o755)) // as Compose makes one of a missing file
	require.Equal(t, own, hostName(root))
}

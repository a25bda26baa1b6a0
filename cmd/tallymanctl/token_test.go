package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestToken(t *testing.T) {
	state := t.TempDir()
	t.Setenv("TALLYMAN_STATE", state)
	path := filepath.Join(state, "recorder-token")

	code, out, err := call(t, "token", "--wait", "0s")
	require.Equal(t, exitFailed, code)
	require.Empty(t, out)
	require.Contains(t, err, path)
	require.Contains(t, err, "token_file")

	require.NoError(t, os.WriteFile(path, []byte("0123456789abcdef\n"), 0o600))
	code, out, err = call(t, "token")
	require.Equal(t, exitOK, code, err)
	require.Equal(t, "0123456789abcdef\n", out, "more than the token, or less")

	other := filepath.Join(t.TempDir(), "other")
	require.NoError(t, os.WriteFile(other, []byte("fedcba9876543210"), 0o600))
	code, out, _ = call(t, "token", "--file", other)
	require.Equal(t, exitOK, code)
	require.Equal(t, "fedcba9876543210\n", out)
	t.Setenv("TALLYMAN_TOKEN_FILE", other)
	code, out, _ = call(t, "token")
	require.Equal(t, exitOK, code)
	require.Equal(t, "fedcba9876543210\n", out, "the image's variable")

	for _, content := range []string{"", "\n", "two\nlines\n"} {
		require.NoError(t, os.WriteFile(other, []byte(content), 0o600))
		code, out, err = call(t, "token", "--file", other)
		require.Equal(t, exitFailed, code)
		require.Empty(t, out)
		require.Contains(t, err, other)
	}
}

// Who asks before the agent has made the file gets the token, too.
func TestTokenIsWaitedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	ready := path + ".new" // the agent's appears whole, too
	require.NoError(t, os.WriteFile(ready, []byte("0123456789abcdef\n"), 0o600))
	time.AfterFunc(3*tokenEvery, func() { _ = os.Rename(ready, path) })
	code, out, err := call(t, "token", "--file", path, "--wait", "1m")
	require.Equal(t, exitOK, code, err)
	require.Equal(t, "0123456789abcdef\n", out)
}

package unixsocket

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPutAside has somebody who is faster between the look at a stale socket and its
// removal: what is there now is not taken away.
func TestPutAside(t *testing.T) {
	dir := t.TempDir()
	path, private := filepath.Join(dir, "s"), filepath.Join(dir, "private")
	require.NoError(t, os.Mkdir(private, 0o700))
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	stale, err := os.Lstat(path)
	require.NoError(t, err)
	require.NoError(t, os.Rename(path, path+".kept")) // or its number would be given again
	next, err := net.Listen("unix", path)
	require.NoError(t, err)
	require.ErrorIs(t, putAside(path, private, stale), ErrInUse)
	conn, err := net.Dial("unix", path)
	require.NoError(t, err, "the new one is gone")
	require.NoError(t, conn.Close())
	require.NoError(t, next.Close())

	require.NoError(t, os.Rename(path+".kept", path))
	require.NoError(t, putAside(path, private, stale))
	_, err = os.Lstat(path)
	require.ErrorIs(t, err, os.ErrNotExist)
}

// TestAppearsReady has a socket that is reached under its name only once it was
// prepared, and one that could not be leaves nothing.
func TestAppearsReady(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	l, err := Listen(t.Context(), path, func(file string) error {
		_, err := os.Lstat(path)
		require.ErrorIs(t, err, os.ErrNotExist)
		return os.Chmod(file, 0o640)
	})
	require.NoError(t, err)
	info, err := os.Lstat(path)
	require.NoError(t, err)
	require.Equal(t, os.ModeSocket|0o640, info.Mode())
	require.NoError(t, l.Close())
	require.NoError(t, l.Remove())
	require.NoError(t, l.Remove(), "twice")

	_, err = Listen(t.Context(), path, func(string) error { return os.ErrPermission })
	require.ErrorIs(t, err, os.ErrPermission)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

// TestKeepsSuccessor has a name that another one has taken, with the same number of
// the file as likely as not.
func TestKeepsSuccessor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(t.Context(), path, func(string) error { return nil })
	require.NoError(t, err)
	require.NoError(t, l.Close())
	require.NoError(t, os.Remove(path))
	next, err := net.Listen("unix", path)
	require.NoError(t, err)
	require.NoError(t, l.Remove())
	_, err = os.Lstat(path)
	require.NoError(t, err)
	require.NoError(t, next.Close())
}

package api

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/unixsocket"
)

func overSocket(t *testing.T, path string) *http.Client {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: within}
}

// TestUnixSocket is guarded by its permissions: it needs no token and has no host.
func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "recorder.sock")
	r := newRig(t, func(o *Options) {
		o.Endpoints = append(o.Endpoints, "unix://"+path)
		o.SocketMode = 0o600
		o.Token = goodToken
	})
	require.Equal(t, []string{r.url, "unix://" + path}, r.server.Addresses())
	info, err := os.Lstat(path)
	require.NoError(t, err)
	require.Equal(t, os.ModeSocket|0o600, info.Mode())
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, left, 1, "the folder it was made in stays")

	client := overSocket(t, path)
	response, err := client.Get("http://any.name/api/status")
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.Equal(t, http.StatusUnauthorized, r.get("/api/status").code, "TCP does not need the token any more")

	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://any.name/api/status", nil)
	require.NoError(t, err)
	request.Header.Set("Origin", "http://evil.example")
	response, err = client.Do(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusForbidden, response.StatusCode)

	client.CloseIdleConnections()
	require.NoError(t, r.server.Shutdown(t.Context()))
	_, err = os.Lstat(path)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestDefaultSocketMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	newRig(t, func(o *Options) { o.Endpoints = append(o.Endpoints, "unix://"+path) })
	info, err := os.Lstat(path)
	require.NoError(t, err)
	require.Equal(t, os.ModeSocket|0o660, info.Mode())
}

// TestTakenSocket replaces what a crash left, and nothing else.
func TestTakenSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	start := func() error {
		server, err := New(Options{Endpoints: []string{"unix://" + path}})
		require.NoError(t, err)
		err = server.Start(t.Context())
		require.NoError(t, server.Shutdown(t.Context()))
		return err
	}
	other, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	other.SetUnlinkOnClose(false)
	require.ErrorIs(t, start(), unixsocket.ErrInUse)
	require.NoError(t, other.Close())
	require.NoError(t, start(), "a socket that nobody listens at")

	require.NoError(t, os.WriteFile(path, []byte("data"), 0o600))
	require.ErrorIs(t, start(), os.ErrExist)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "data", string(text))
}

// TestKeepsSuccessor shows that a server does not take away the socket of the one
// that was started after it.
func TestKeepsSuccessor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	server, err := New(Options{Endpoints: []string{"unix://" + path}})
	require.NoError(t, err)
	require.NoError(t, server.Start(t.Context()))
	require.NoError(t, os.Remove(path))
	next, err := net.Listen("unix", path)
	require.NoError(t, err)
	require.NoError(t, server.Shutdown(t.Context()))
	_, err = os.Lstat(path)
	require.NoError(t, err)
	require.NoError(t, next.Close())
}

// TestSocketLinks has links where the socket is to be: nothing behind them changes.
func TestSocketLinks(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	require.NoError(t, os.WriteFile(target, []byte("data"), 0o600))
	path := filepath.Join(dir, "s")
	require.NoError(t, os.Symlink(target, path))
	start := func() error {
		server, err := New(Options{Endpoints: []string{"unix://" + path}, SocketMode: 0o666})
		require.NoError(t, err)
		err = server.Start(t.Context())
		require.NoError(t, server.Shutdown(t.Context()))
		return err
	}
	require.ErrorIs(t, start(), os.ErrExist)
	require.NoError(t, os.Remove(target))
	require.ErrorIs(t, start(), os.ErrExist, "a link to nothing")
	_, err := os.Lstat(target)
	require.ErrorIs(t, err, os.ErrNotExist, "it was made behind the link")
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1, "a private folder stays")
}

// TestSocketInOpenFolder is refused: anybody could replace what is made there.
func TestSocketInOpenFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run", "tallyman")
	server, err := New(Options{Endpoints: []string{"unix://" + filepath.Join(dir, "s")}})
	require.NoError(t, err)
	require.NoError(t, server.Start(t.Context()), "a folder that is not there yet")
	require.NoError(t, server.Shutdown(t.Context()))
	require.NoError(t, os.Chmod(dir, 0o777))
	server, err = New(Options{Endpoints: []string{"unix://" + filepath.Join(dir, "s")}})
	require.NoError(t, err)
	require.ErrorIs(t, server.Start(t.Context()), os.ErrPermission)
	require.NoError(t, server.Shutdown(t.Context()))
	require.NoError(t, os.Chmod(dir, 0o777|os.ModeSticky))
	server, err = New(Options{Endpoints: []string{"unix://" + filepath.Join(dir, "s")}})
	require.NoError(t, err)
	require.NoError(t, server.Start(t.Context()), "such as /tmp")
	require.NoError(t, server.Shutdown(t.Context()))
}

// TestLongSocketPath is refused by the kernel with a word that says nothing.
func TestLongSocketPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("x", 107))
	server, err := New(Options{Endpoints: []string{"unix://" + dir + "/s"}})
	require.NoError(t, err)
	require.ErrorContains(t, server.Start(t.Context()), "the path is too long")
	require.NoError(t, server.Shutdown(t.Context()))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

package flightrecorderextension

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tallymanhq/tallyman/extension/flightrecorderextension/internal/metadata"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// A file that is not there is made, once, for its owner alone.
func TestTokenIsMade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "recorder-token")
	first, made, err := fileToken(path)
	require.NoError(t, err)
	require.True(t, made)
	require.Regexp(t, `^[A-Za-z0-9_-]{43}$`, first) // 32 bytes
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	again, made, err := fileToken(path)
	require.NoError(t, err)
	require.False(t, made)
	require.Equal(t, first, again)
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, left, 1, "the file that it was written to stays")

	require.NoError(t, os.Remove(path))
	other, _, err := fileToken(path)
	require.NoError(t, err)
	require.NotEqual(t, first, other)
}

// Agents that start at the same time have one token.
func TestTokenIsMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "recorder-token")
	const agents = 8
	var wait sync.WaitGroup
	tokens, made := make([]string, agents), make([]bool, agents)
	for i := range agents {
		wait.Go(func() {
			var err error
			tokens[i], made[i], err = fileToken(path)
			if err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	makers := 0
	for i := range agents {
		require.Equal(t, tokens[0], tokens[i])
		if made[i] {
			makers++
		}
	}
	require.Equal(t, 1, makers)
}

// A file of somebody else is not touched, and what is in it is never shown.
func TestWrongTokenFile(t *testing.T) {
	dir := t.TempDir()
	f := func(content, want string) {
		t.Helper()
		path := filepath.Join(dir, "token")
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		_, made, err := fileToken(path)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, path)
		require.NotContains(t, err.Error(), "hunter2")
		require.False(t, made)
		kept, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, content, string(kept))
	}
	f("", "empty")
	f("\n", "empty")
	f("hunter2", "the token has 7 characters, 16 are the least")
	f("hunter2 and a blank", "characters that a header cannot carry")
	f(strings.Repeat("hunter2", 1000), "no token")
	_, _, err := fileToken(filepath.Join(dir, "no", "token"))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, _, err = fileToken(dir)
	require.Error(t, err)
	require.NoError(t, os.Remove(filepath.Join(dir, "token")))
	require.NoError(t, os.Symlink(filepath.Join(dir, "elsewhere"), filepath.Join(dir, "token")))
	_, _, err = fileToken(filepath.Join(dir, "token"))
	require.Error(t, err, "a link to nothing")
	_, err = os.Lstat(filepath.Join(dir, "elsewhere"))
	require.ErrorIs(t, err, os.ErrNotExist, "it was made behind the link")
}

// Beyond loopback the token of a file is as good as one in the configuration. The log
// says where it is and never what it is, and nothing of it is a warning.
func TestTokenFile(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	cfg := config(t)
	cfg.Endpoint, cfg.TokenFile = "0.0.0.0:0", filepath.Join(t.TempDir(), "recorder-token")
	core, logged := observer.New(zap.InfoLevel)
	set := extensiontest.NewNopSettings(metadata.Type)
	set.Logger = zap.New(core)
	e := made(t, cfg, set).(*recorderExtension)
	require.NoError(t, e.Start(t.Context(), componenttest.NewNopHost()))
	t.Cleanup(func() { require.NoError(t, e.Shutdown(t.Context())) })
	token, err := readToken(cfg.TokenFile)
	require.NoError(t, err)

	said := logged.FilterMessageSnippet("tallymanctl token").All()
	require.Len(t, said, 1)
	require.Equal(t, cfg.TokenFile, said[0].ContextMap()["token_file"])
	require.Equal(t, true, said[0].ContextMap()["made"])
	for _, line := range logged.All() {
		require.LessOrEqual(t, line.Level, zap.InfoLevel, line.Message)
		require.NotContains(t, line.Message, token)
		require.NotContains(t, fmt.Sprint(line.ContextMap()), token)
	}

	url := strings.Replace(e.Addresses()[0], "[::]", "127.0.0.1", 1) + "/api/status"
	url = strings.Replace(url, "0.0.0.0", "127.0.0.1", 1)
	require.Equal(t, http.StatusUnauthorized, status(t, url, ""))
	require.Equal(t, http.StatusUnauthorized, status(t, url, token+"x"))
	require.Equal(t, http.StatusOK, status(t, url, token))
}

func status(t *testing.T, url, token string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	request.Close = true
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	return response.StatusCode
}

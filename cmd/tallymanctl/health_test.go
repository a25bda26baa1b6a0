package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// The exit code is what a probe looks at, the line what a person does.
func TestHealth(t *testing.T) {
	f := func(code int, answer string, wantCode int, want string) {
		t.Helper()
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			_, _ = w.Write([]byte(answer))
		}))
		defer server.Close()
		got, out, err := call(t, "health", "--address", server.URL)
		require.Equal(t, wantCode, got, err)
		if wantCode == exitOK {
			require.Equal(t, want+"\n", out)
			require.Empty(t, err)
			return
		}
		require.Empty(t, out)
		require.Equal(t, "tallymanctl: ask for health: "+want+"\n", err)
	}
	f(http.StatusOK, `{"status":"Server available","upSince":"2026-11-22T03:10:00.1Z","uptime":"2m3.4s"}`, exitOK, "Server available, up 2m3.4s")
	f(http.StatusOK, `{"status":"Server available"}`, exitOK, "Server available")
	f(http.StatusOK, "all good\n", exitOK, "all good")
	f(http.StatusServiceUnavailable, `{"status":"Server not available","upSince":"0001-01-01T00:00:00Z","uptime":""}`, exitFailed,
		"the agent is not ready: 503 Service Unavailable: Server not available")
}

func TestNoHealth(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close() // nobody has the port now
	code, out, err := call(t, "health", "--address", server.URL)
	require.Equal(t, exitFailed, code)
	require.Empty(t, out)
	require.Contains(t, err, "connection refused")

	held := make(chan struct{})
	server = httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-held }))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(held) })
	code, _, err = call(t, "health", "--address", server.URL, "--timeout", "50ms")
	require.Equal(t, exitFailed, code)
	require.Contains(t, err, "deadline exceeded")

	code, _, err = call(t, "health", "--timeout", "0s")
	require.Equal(t, exitUsage, code)
	require.Contains(t, err, "--timeout")
}

// A probe that was written wrongly is told apart from an agent that does not answer.
func TestHealthOfNoAddress(t *testing.T) {
	for _, address := range []string{"", "localhost:13133", "localhost", "http://", "http://:13133", "unix:///run/x", "http://a b/", "http://[::1"} {
		code, out, err := call(t, "health", "--address", address)
		require.Equal(t, exitUsage, code, address)
		require.Empty(t, out)
		require.Contains(t, err, "--address: ", address)
	}
}

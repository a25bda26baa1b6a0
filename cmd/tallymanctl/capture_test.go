package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
)

// callCapture runs a command below capture in this process.
func callCapture(ctx context.Context, args ...string) (string, error) {
	var out bytes.Buffer
	cmd := newCapture()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(io.Discard)
	err := cmd.ExecuteContext(ctx)
	return out.String(), err
}

// shelf makes a directory with one capture, "one", and a broken one.
func shelf(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	w, err := bundle.Create(filepath.Join(dir, "one.tmcap"), time.Unix(0, 0))
	require.NoError(t, err)
	require.NoError(t, w.Add("report.html", []byte("<!doctype html><p>the report</p>")))
	require.NoError(t, w.Add("oom/kmsg.txt", []byte("Killed process 211 password=hunter2\n")))
	at := time.Date(2026, 11, 22, 3, 12, 7, 0, time.UTC)
	_, err = w.Finish(&bundle.Manifest{
		ID: "one", Created: at, Verdict: "OOM kill\x1b[2J of worker.", Host: bundle.Host{Name: "host-7"},
		Window:   bundle.Window{From: at.Add(-10 * time.Minute), To: at.Add(2 * time.Minute)},
		Triggers: []bundle.Trigger{{Kind: "oom", At: at, Container: bundle.Container{Name: "worker"}, Reason: "killed"}},
		Missing:  []bundle.Missing{{What: "metrics", Why: "none"}}, Drops: map[string]uint64{"events: full": 3},
		Redactions: []bundle.Redaction{{Where: "state", What: "argument", Count: 2}},
		Gaps:       []bundle.Gap{{Window: bundle.Window{From: at, To: at}, Why: "away"}},
	})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "two.tmcap"), []byte("nonsense"), 0o600))
	return dir
}

func TestCaptureList(t *testing.T) {
	dir := shelf(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "one.pin"), nil, 0o600))
	out, err := callCapture(t.Context(), "ls", "--dir", dir)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, lines, 3)
	require.Regexp(t, `^one +\d KB +pinned +OOM kill \[2J of worker\.$`, lines[1], "no control characters")
	require.Regexp(t, `^two +1 KB +cannot be read$`, lines[2])
	out, err = callCapture(t.Context(), "ls", "--dir", filepath.Join(dir, "no"))
	require.NoError(t, err)
	require.Contains(t, out, "VERDICT")
}

func TestCaptureShow(t *testing.T) {
	dir := shelf(t)
	for _, name := range []string{"one", "one.tmcap", filepath.Join(dir, "one.tmcap")} {
		out, err := callCapture(t.Context(), "show", "--dir", dir, name)
		require.NoError(t, err)
		for _, part := range []string{
			"OOM kill", "host-7", "2026-11-22 03:02:07", "oom/kmsg.txt", "Missing: metrics: none", "Dropped: 3, events: full",
			"Masked in state: 2 (argument)", "away",
		} {
			require.Contains(t, out, part)
		}
	}
	out, err := callCapture(t.Context(), "show", "--json", "--dir", dir, "one")
	require.NoError(t, err)
	m, err := bundle.ParseManifest([]byte(out))
	require.NoError(t, err)
	require.Equal(t, "one", m.ID)
	_, err = callCapture(t.Context(), "show", "--dir", dir, "two")
	require.ErrorIs(t, err, bundle.ErrMalformed)
	_, err = callCapture(t.Context(), "show", "--dir", dir, "three")
	require.ErrorContains(t, err, "no such capture")
	_, err = callCapture(t.Context(), "show")
	require.Error(t, err)
	var done outcome
	require.False(t, errors.As(err, &done), "a wrong call is none of the command's outcomes")
}

func TestCaptureExportAndRedact(t *testing.T) {
	dir, to := shelf(t), filepath.Join(t.TempDir(), "new")
	_, err := callCapture(t.Context(), "export", "--dir", dir, "--to", to, "one")
	require.NoError(t, err)
	content, err := os.ReadFile(filepath.Join(to, "oom", "kmsg.txt"))
	require.NoError(t, err)
	require.Contains(t, string(content), "hunter2")
	_, err = callCapture(t.Context(), "export", "--dir", dir, "--to", to, "one")
	require.ErrorContains(t, err, "export capture", "what is there stays")

	out, err := callCapture(t.Context(), "redact", "--dir", dir, "one")
	require.NoError(t, err)
	path := filepath.Join(dir, "one-redacted.tmcap")
	require.Contains(t, out, path)
	r, err := bundle.Open(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	masked, err := r.ReadFile("oom/kmsg.txt")
	require.NoError(t, err)
	require.Equal(t, "Killed process 211 password=***\n", string(masked))
	require.False(t, r.Has("report.html"))
}

// recorder answers as the recorder's API does, and keeps the last request.
type recorder struct {
	status int
	body   string
	got    nowRequest
	auth   string
	host   string
}

// ServeHTTP implements [http.Handler].
func (r *recorder) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	r.auth, r.host = request.Header.Get("Authorization"), request.Host
	if request.URL.Path != "/api/captures" || json.NewDecoder(request.Body).Decode(&r.got) != nil {
		http.Error(w, "not what was agreed on", http.StatusTeapot)
		return
	}
	w.WriteHeader(r.status)
	_, _ = io.WriteString(w, r.body)
}

func TestCaptureNow(t *testing.T) {
	r := &recorder{status: http.StatusAccepted, body: `{"id":"20261122-manual","state":"recording"}`}
	server := httptest.NewServer(r)
	defer server.Close()
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte("hunter2\n"), 0o600))
	out, err := callCapture(t.Context(), "now", "--address", server.URL, "--token-file", token,
		"--container", "a", "--container", "b", "--last", "15m", "--reason", "slow", "--host")
	require.NoError(t, err)
	require.Equal(t, "20261122-manual\n", out)
	require.Equal(t, nowRequest{Reason: "slow", Containers: []string{"a", "b"}, Scope: "host", Last: "900s"}, r.got)
	require.Equal(t, "Bearer hunter2", r.auth)

	r.status, r.body = http.StatusServiceUnavailable, `{"status":"error","error":"too many captures at once"}`
	_, err = callCapture(t.Context(), "now", "--address", server.URL)
	require.ErrorContains(t, err, "the recorder answers 503: too many captures at once")
	r.body = "\x1bno json"
	_, err = callCapture(t.Context(), "now", "--address", server.URL)
	require.ErrorContains(t, err, "503:  no json")
	_, err = callCapture(t.Context(), "now", "--address", "http://127.0.0.1:1")
	require.ErrorContains(t, err, "ask for a capture")
	_, err = callCapture(t.Context(), "now", "--address", server.URL, "--token-file", token+"x")
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestCaptureNowOfAWindow(t *testing.T) {
	r := &recorder{status: http.StatusAccepted, body: `{"id":"x"}`}
	server := httptest.NewServer(r)
	defer server.Close()
	_, err := callCapture(t.Context(), "now", "--address", server.URL, "--from", "2026-11-22T03:10:00.5Z", "--to", "2026-11-22T03:20:00Z")
	require.NoError(t, err)
	require.Equal(t, nowRequest{Scope: "default", From: "1795317000.5", To: "1795317600"}, r.got)
	_, err = callCapture(t.Context(), "now", "--address", server.URL, "--to", "2026-11-22T03:20:00Z", "--last", "5m")
	require.NoError(t, err)
	require.Equal(t, nowRequest{Scope: "default", From: "1795317300", To: "1795317600"}, r.got)
	_, err = callCapture(t.Context(), "now", "--address", server.URL, "--from", "yesterday")
	require.ErrorContains(t, err, "--from: \"yesterday\": no time such as 03:10")
	_, err = callCapture(t.Context(), "now", "--address", server.URL, "--to", "25:00")
	require.ErrorContains(t, err, "--to")
	_, err = callCapture(t.Context(), "now", "--address", server.URL, "--from", "03:10", "--last", "5m")
	require.ErrorIs(t, err, errSpan)
}

func TestParseMoment(t *testing.T) {
	zone := time.FixedZone("two hours ahead", 2*3600)
	now := time.Date(2026, 11, 22, 5, 0, 0, 0, zone)
	f := func(want time.Time, text string) {
		t.Helper()
		got, err := parseMoment(text, now)
		require.NoError(t, err)
		require.True(t, want.Equal(got), "%v, want %v", got, want)
	}
	f(now, "")
	f(time.Date(2026, 11, 22, 3, 10, 0, 0, zone), "03:10")
	f(time.Date(2026, 11, 22, 3, 10, 7, 0, zone), "03:10:07")
	f(time.Date(2026, 11, 21, 23, 50, 0, 0, zone), "23:50")
	f(time.Date(2026, 11, 20, 3, 10, 0, 0, zone), "2026-11-20 03:10")
	f(time.Date(2026, 11, 20, 3, 10, 7, 0, zone), "2026-11-20T03:10:07")
	f(time.Date(2026, 11, 20, 3, 10, 7, 0, time.UTC), "2026-11-20T03:10:07Z")
}

func TestCaptureNowOverASocket(t *testing.T) {
	r := &recorder{status: http.StatusAccepted, body: `{"id":"x"}`}
	path := filepath.Join(t.TempDir(), "recorder.sock")
	listener, err := net.Listen("unix", path)
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(r)
	require.NoError(t, server.Listener.Close())
	server.Listener = listener
	server.Start()
	defer server.Close()
	out, err := callCapture(t.Context(), "now", "--address", "unix://"+path)
	require.NoError(t, err)
	require.Equal(t, "x\n", out)
	require.Equal(t, "localhost", r.host)
}

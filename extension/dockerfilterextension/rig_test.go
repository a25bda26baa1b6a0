package dockerfilterextension

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/metadata"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

const patience = 30 * time.Second

// rig is a running filter.
type rig struct {
	t      testing.TB
	socket string
	logs   *observer.ObservedLogs
	filter *filter
	// listening is called between listen and the first accept.
	listening func()
}

// start runs the extension in front of an engine.
func start(t testing.TB, upstream string, change func(*Config)) *rig {
	t.Helper()
	return startWith(t, upstream, componenttest.NewNopTelemetrySettings(), change)
}

func startWith(t testing.TB, upstream string, telemetry component.TelemetrySettings, change func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, socket: filepath.Join(openDir(t), "run", "docker.sock")}
	r.start(upstream, telemetry, change)
	return r
}

func (r *rig) start(upstream string, telemetry component.TelemetrySettings, change func(*Config)) {
	t := r.t
	t.Helper()
	cfg := createDefaultConfig().(*Config)
	cfg.Endpoint, cfg.Upstream, cfg.Socket.Mode = "unix://"+r.socket, upstream, "0666"
	cfg.DefaultProfile = "monitoring" // for this process, which is the agent otherwise
	if change != nil {
		change(cfg)
	}
	require.NoError(t, cfg.Validate())
	set := extensiontest.NewNopSettings(metadata.Type)
	set.TelemetrySettings = telemetry
	core, logs := observer.New(zapcore.InfoLevel)
	set.Logger, r.logs = zap.New(core), logs
	e, err := NewFactory().Create(t.Context(), set, cfg)
	require.NoError(t, err)
	r.filter = e.(*filter)
	r.filter.listening = r.listening
	require.NoError(t, e.Start(t.Context(), componenttest.NewNopHost()))
	t.Cleanup(func() { require.NoError(t, e.Shutdown(context.Background())) })
}

// raw opens a connection.
func (r *rig) raw() net.Conn {
	r.t.Helper()
	conn, err := net.Dial("unix", r.socket)
	require.NoError(r.t, err)
	r.t.Cleanup(func() { _ = conn.Close() })
	require.NoError(r.t, conn.SetDeadline(time.Now().Add(patience)))
	return conn
}

// send sends what a client says, and returns the answers' status codes.
func (r *rig) send(text string, answers int) []int {
	r.t.Helper()
	conn := r.raw()
	_, err := io.WriteString(conn, text)
	require.NoError(r.t, err)
	in := bufio.NewReader(conn)
	var codes []int
	for range answers {
		method, _, _ := strings.Cut(text, " ")
		response, err := http.ReadResponse(in, &http.Request{Method: method})
		require.NoError(r.t, err)
		codes = append(codes, response.StatusCode)
		if response.StatusCode >= http.StatusBadRequest {
			require.Equal(r.t, "application/json", response.Header.Get("Content-Type"))
		}
		if response.ContentLength >= 0 || response.StatusCode != http.StatusOK {
			_, err = io.Copy(io.Discard, response.Body)
			require.NoError(r.t, err)
		}
	}
	return codes
}

// get is a plain client.
func (r *rig) get(path string) (status int, body string) {
	r.t.Helper()
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", r.socket)
		},
	}}
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker"+path, nil)
	require.NoError(r.t, err)
	response, err := client.Do(request)
	require.NoError(r.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(r.t, err)
	return response.StatusCode, string(text)
}

// eventually waits for what another goroutine will do.
func (r *rig) eventually(f func() error) {
	r.t.Helper()
	testkit.Eventually(r.t, patience, f)
}

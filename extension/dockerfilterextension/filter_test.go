package dockerfilterextension

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/policy"
	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/vectors"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// While the engine is away clients are told so, and when it is back under the
// same path all goes on, events included.
func TestEngineRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "engine.sock")
	r := start(t, "unix://"+path, nil)
	away := func() {
		t.Helper()
		for _, p := range []string{"/_ping", "/version", "/containers/json", "/events"} {
			status, body := r.get(p)
			require.Equal(t, 502, status, p)
			require.JSONEq(t, `{"message":"the Docker engine does not answer"}`, body)
		}
	}
	away()
	for range 2 {
		e := newFakeEngineAt(t, path)
		r.eventually(func() error {
			if status, _ := r.get("/containers/json"); status != 200 {
				return fmt.Errorf("status %d: %w", status, errNotYet)
			}
			return nil
		})
		e.close()
		r.eventually(func() error {
			if status, _ := r.get("/containers/json"); status != 502 {
				return fmt.Errorf("status %d: %w", status, errNotYet)
			}
			return nil
		})
		away()
	}
}

// Under load, too: every answer is either there or an error, and none is of an
// engine that has been gone for long.
func TestEngineRestartUnderLoad(t *testing.T) {
	const engines, oldest = 5, 2 * time.Second
	path := filepath.Join(t.TempDir(), "engine.sock")
	r := start(t, "unix://"+path, func(c *Config) { c.Limits.RPS, c.Limits.Burst = 1e6, 1e6 })
	var closed [engines + 1]atomic.Pointer[time.Time]
	var newest, bad atomic.Int64
	done := make(chan struct{})
	load := func() {
		begin := time.Now()
		status, body := r.get("/info")
		_, rest, _ := strings.Cut(body, "host-")
		gen, err := strconv.Atoi(strings.TrimRight(rest, "\"}\n"))
		switch {
		case status == 502:
			bad.Add(1)
		case status != 200 || err != nil:
			t.Errorf("%d: %s", status, body)
		default:
			newest.Store(max(newest.Load(), int64(gen)))
			if at := closed[gen].Load(); at != nil && begin.Sub(*at) > oldest {
				t.Errorf("answer of an engine that went %v before", begin.Sub(*at))
			}
		}
	}
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					load()
				}
			}
		})
	}
	for gen := 1; gen <= engines; gen++ {
		e := newFakeEngineAt(t, path)
		e.setGeneration(gen)
		r.eventually(func() error {
			if newest.Load() < int64(gen) {
				return errNotYet
			}
			return nil
		})
		e.close()
		now, before := time.Now(), bad.Load()
		closed[gen].Store(&now)
		r.eventually(func() error {
			if bad.Load() < before+20 {
				return errNotYet
			}
			return nil
		})
	}
	close(done)
	clients.Wait()
}

// A client that does not read its events loses its stream, with a line that says
// so, and harms nobody.
func TestSlowClient(t *testing.T) {
	e := newFakeEngine(t)
	e.flood = 4000 // of 4 KiB: more than the ring and all buffers hold
	r := start(t, e.upstream, nil)
	conn := r.raw()
	_, err := io.WriteString(conn, vectors.PlainHead("GET", "/events"))
	require.NoError(t, err)
	r.eventually(func() error {
		e.mu.Lock()
		defer e.mu.Unlock()
		if !e.poured {
			return errNotYet
		}
		return nil
	})
	status, _ := r.get("/version")
	require.Equal(t, 200, status)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(body)), "\n")
	require.Less(t, len(lines), 4000)
	require.Contains(t, lines[len(lines)-1], "events were lost")
}

const connectEnv = "TALLYMAN_TEST_CONNECT"

// Nobody gets the rights of one who has connected and died (A104), whoever has the
// descriptor now.
func TestDeadPeer(t *testing.T) {
	if path := os.Getenv(connectEnv); path != "" {
		require.NoError(t, unix.Connect(3, &unix.SockaddrUnix{Name: path}))
		return // and ends
	}
	testkit.NeedRoot(t)
	e := newFakeEngine(t)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	file := os.NewFile(uintptr(fd), "client")
	defer file.Close()
	r := &rig{t: t, socket: filepath.Join(openDir(t), "run", "docker.sock")}
	r.listening = func() {
		own, err := os.Executable()
		require.NoError(t, err)
		cmd := exec.Command(own, "-test.run=^TestDeadPeer$")
		cmd.Env = append(os.Environ(), connectEnv+"="+r.socket)
		cmd.ExtraFiles = []*os.File{file}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
	}
	r.start(e.upstream, componenttest.NewNopTelemetrySettings(), limited)
	conn, err := net.FileConn(file)
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, vectors.PlainHead("GET", "/v1.41/containers/json"))
	require.NoError(t, err)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.Equal(t, 403, response.StatusCode)
	status, _ := r.getAs("/v1.41/containers/json", nil)
	require.Equal(t, 200, status, "as itself it may")
	fields := r.logs.FilterMessage("docker.api.access").All()[0].ContextMap()
	require.Equal(t, "unknown", fields["client.kind"])
	require.Equal(t, "gone", fields["client.unidentified"])
}

// Mode observe refuses nothing that is known, and says what it would refuse.
func TestObserve(t *testing.T) {
	testkit.NeedRoot(t)
	e := newFakeEngine(t)
	r := start(t, e.upstream, func(c *Config) {
		c.Mode, c.DefaultProfile = policy.ModeObserve, "none"
	})
	status, body := r.getAs("/containers/json", plainUser())
	require.Equal(t, 200, status, body)
	require.Contains(t, body, hiddenID, "nobody's view is limited")
	entries := r.logs.FilterMessage("docker.api.access").All()
	require.Len(t, entries, 1)
	fields := entries[0].ContextMap()
	require.Equal(t, "would_deny", fields["decision"])
	require.Equal(t, "client", fields["reason"])
	require.EqualValues(t, 65534, fields["client.uid"])
	require.Equal(t, "container.list", fields["operation"])
	status, _ = r.getAs("/secrets", plainUser())
	require.Equal(t, 403, status, "no mode lets through what is no known request")
}

// Who asks too much is told when to come back.
func TestQuota(t *testing.T) {
	testkit.NeedRoot(t)
	e := newFakeEngine(t)
	r := start(t, e.upstream, func(c *Config) { c.Limits.RPS, c.Limits.Burst = 0.001, 2 })
	var codes []int
	for range 3 {
		status, _ := r.getAs("/version", nil)
		codes = append(codes, status)
	}
	require.Equal(t, []int{200, 200, 429}, codes)
}

// A client that goes while its answer is awaited gets none: above all no empty
// one that looks whole.
func TestHalfClose(t *testing.T) {
	e := newFakeEngine(t)
	r := start(t, e.upstream, nil)
	conn := r.raw()
	_, err := io.WriteString(conn, vectors.PlainHead("GET", "/containers/json"))
	require.NoError(t, err)
	require.NoError(t, conn.(*net.UnixConn).CloseWrite())
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	if len(answer) > 0 { // it was there in time
		require.Contains(t, string(answer), visibleID)
	}
}

// What the engine would compare with what answers leave out is no filter here.
func TestFiltersThatProbe(t *testing.T) {
	e := newFakeEngine(t)
	r := start(t, e.upstream, nil)
	for path, want := range map[string]int{
		`/events?since=1&until=2&filters={"event":["health_status","exec_create: mysql -p"]}`: 400,
		`/events?since=1&until=2&filters={"event":["exec_create"]}`:                           200,
		`/events?since=1&until=2&filters={"event":["health_status: healthy"]}`:                200,
		`/containers/json?filters={"volume":["/srv/secret"]}`:                                 400,
		`/containers/json?filters={"volume":["data"]}`:                                        200,
	} {
		path, query, _ := strings.Cut(path, "filters=")
		status, body := r.get(path + "filters=" + url.QueryEscape(query))
		require.Equal(t, want, status, "%s%s: %s", path, query, body)
	}
}

// One client's connections are bounded, and so are all together.
func TestConnectionsAreBounded(t *testing.T) {
	c := newConnections()
	var open []net.Conn
	for i := range maxConnections {
		require.True(t, c.admit())
		a, b := net.Pipe()
		defer b.Close()
		open = append(open, a)
		require.Equal(t, i < maxOfClient, c.add(a, "one"), i)
	}
	require.False(t, c.admit())
	for _, conn := range open {
		c.changed(conn, http.StateActive)
		c.changed(conn, http.StateClosed)
	}
	require.Equal(t, newConnections(), c)
}

func TestMetrics(t *testing.T) {
	e := newFakeEngine(t)
	telemetry := componenttest.NewTelemetry()
	r := startWith(t, e.upstream, telemetry.NewTelemetrySettings(), nil)
	for _, path := range []string{"/containers/web/json", "/secrets"} {
		r.get(path)
	}
	metric, err := telemetry.GetMetric("otelcol_docker_filter_requests")
	require.NoError(t, err)
	seen := map[string]int64{}
	for _, p := range metric.Data.(metricdata.Sum[int64]).DataPoints {
		operation, _ := p.Attributes.Value("operation")
		decision, _ := p.Attributes.Value("decision")
		seen[operation.AsString()+" "+decision.AsString()] = p.Value
	}
	require.Equal(t, map[string]int64{"container.inspect filter": 1, " deny": 1}, seen)
	metric, err = telemetry.GetMetric("otelcol_docker_filter_redactions")
	require.NoError(t, err)
	points := metric.Data.(metricdata.Sum[int64]).DataPoints
	require.Len(t, points, 1)
	field, _ := points[0].Attributes.Value("field")
	require.True(t, strings.Contains(field.AsString(), "Env"), field.AsString())
	metric, err = telemetry.GetMetric("otelcol_docker_filter_upstream_duration")
	require.NoError(t, err)
	require.NotEmpty(t, metric.Data.(metricdata.Histogram[float64]).DataPoints)
}

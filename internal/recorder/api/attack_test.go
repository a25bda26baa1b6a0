package api

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/stretchr/testify/require"
)

// raw sends text and returns the first answer.
func (r *rig) raw(text string) reply {
	r.t.Helper()
	conn := dialRaw(r.t, r)
	_, err := conn.Write([]byte(text))
	require.NoError(r.t, err)
	method, _, _ := strings.Cut(text, " ")
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	require.NoError(r.t, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	require.NoError(r.t, err)
	return reply{response.StatusCode, response.Header, string(body)}
}

// TestStrangeHosts are what a client of Go's own does not send.
func TestStrangeHosts(t *testing.T) {
	r := newRig(t, nil)
	for _, head := range []string{
		"GET /api/status HTTP/1.0\r\n\r\n",
		"GET /api/status HTTP/1.1\r\nHost:\r\n\r\n",
		"GET http://evil.example/api/status HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"GET /api/status HTTP/1.1\r\nHost: 127.0.0.1.\r\n\r\n.evil.example",
		"GET /api/status HTTP/1.1\r\nHost: [localhost].evil.example\r\n\r\n",
		"GET /api/status HTTP/1.1\r\nHost: 0x7f000001\r\n\r\n",
		"GET /api/status HTTP/1.1\r\nHost: localhost:80:80\r\n\r\n",
	} {
		if strings.Contains(head, "127.0.0.1.\r") {
			require.Equal(t, http.StatusOK, r.raw(head).code, "an address with the dot of the root is one")
			continue
		}
		require.Equal(t, http.StatusForbidden, r.raw(head).code, head)
	}
	require.Equal(t, http.StatusBadRequest, r.raw("GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n").code)
	require.Equal(t, http.StatusForbidden, r.get("/api/status", header("Origin", "ftp://"+strings.TrimPrefix(r.url, "http://"))).code)
}

func TestAllowedHosts(t *testing.T) {
	for _, name := range []string{"", ".", "*", "*.example.org", "http://example.org", "a b", "me@example.org", ":80"} {
		_, err := New(Options{Endpoints: []string{"127.0.0.1:0"}, AllowedHosts: []string{name}})
		require.ErrorContains(t, err, "no name of a host", name)
	}
}

// TestTokenInAnyPath writes the paths of the API in ways that the guard could miss.
func TestTokenInAnyPath(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.Token = goodToken
		o.Agent = fakeAgent{}
		o.Web = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("page")) })
	})
	for _, path := range []string{
		"/api/agent", "//api/agent", "/./api/agent", "/x/../api/agent", "/api/./agent", "/api//agent", "/%61pi/agent",
		"/api%2Fagent", "/api/agent/", "/API/agent", "http://localhost/api/agent", "/api/login/../agent", "/api/login/", "/api",
	} {
		for _, method := range []string{"GET", "POST", "HEAD", "CONNECT", "OPTIONS", "TRACE"} {
			got := r.raw(method + " " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
			require.NotContains(t, got.body, "0.4.0", method+path)
			require.NotEqual(t, http.StatusInternalServerError, got.code, method+path)
		}
	}
}

// everyAnswer has a request for each kind of answer there is.
func everyAnswer() map[string]int {
	return map[string]int{
		"GET /":                                   200,
		"GET /api/status":                         200,
		"HEAD /api/status":                        200,
		"GET /api/nothing":                        404,
		"GET //api/status":                        307,
		"PUT /api/status":                         405,
		"OPTIONS /api/status":                     405,
		"OPTIONS *":                               400,
		"GET /api/v1/query?query=up":              200,
		"GET /api/v1/query?query=(":               400,
		"GET /api/v1/query?query=up%2Bon()up":     200,
		"GET /api/captures/ready/download":        200,
		"GET /api/captures/young/download":        409,
		"GET /api/captures/broken/download":       500,
		"GET /api/captures/..%2F..%2Fetc/passwd":  404,
		"GET /api/state/oom/kmsg.txt":             200,
		"GET /api/state/..%2Fx":                   404,
		"POST /api/captures":                      415,
		"GET /api/entities?state=x":               400,
		"GET /api/events":                         404,
		"GET /api/live":                           404,
		"GET http://evil.example/api/status":      403,
		"GET /api/captures/ready/download?a=../b": 200,
	}
}

// TestHeadersOfEveryAnswer has no exception.
func TestHeadersOfEveryAnswer(t *testing.T) {
	r := newRig(t, func(o *Options) {
		withStore(t, o)
		o.Captures, o.Entities = newFakeCaptures(), newFakeEntities()
		o.State = fstest.MapFS{"oom/kmsg.txt": {Data: []byte("<script>")}}
		o.Web = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("page")) })
	})
	for request, code := range everyAnswer() {
		method, path, _ := strings.Cut(request, " ")
		conn := dialRaw(t, r)
		_, err := conn.Write([]byte(method + " " + path + " HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n"))
		require.NoError(t, err)
		response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
		require.NoError(t, err, request)
		require.Equal(t, code, response.StatusCode, request)
		h := response.Header
		require.Equal(t, contentPolicy, h.Get("Content-Security-Policy"), request)
		require.Equal(t, "nosniff", h.Get("X-Content-Type-Options"), request)
		require.Equal(t, "DENY", h.Get("X-Frame-Options"), request)
		require.Equal(t, "no-referrer", h.Get("Referrer-Policy"), request)
		require.Equal(t, "same-origin", h.Get("Cross-Origin-Resource-Policy"), request)
		if strings.Contains(path, "/api/") && code != http.StatusTemporaryRedirect {
			require.Equal(t, "no-store", h.Get("Cache-Control"), request)
			require.NotContains(t, h.Get("Content-Type"), "html", request)
		}
		if strings.Contains(path, "ready/download") {
			require.Equal(t, `attachment; filename="ready.tmcap"`, h.Get("Content-Disposition"))
		}
		require.NoError(t, conn.Close())
	}
}

// hostile is what a program could call itself to get into somebody's page.
const hostile = "</script><img src=x onerror=alert(1)>\r\n\r\nevent: hello\ndata: {}\r\rdata: \u2028\"'"

// TestHostileText comes out as data only, in each kind of answer.
func TestHostileText(t *testing.T) {
	db, err := tsdb.Open(t.TempDir(), nil, nil, tsdb.DefaultOptions(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	app := db.Appender(t.Context())
	_, err = app.Append(0, labels.FromStrings("__name__", "up", "x", hostile), t0.UnixMilli(), 1)
	require.NoError(t, err)
	require.NoError(t, app.Commit())
	live, events := newFakeLive(), &fakeEvents{list: []Event{{T: At(t0), Name: hostile, Body: hostile, Attributes: map[string]any{hostile: hostile}}}}
	live.rows[0].ID = hostile
	r := newRig(t, func(o *Options) {
		o.Queryable, o.Engine, o.Now = db, newEngine(), func() time.Time { return t0 }
		o.Live, o.Events, o.Limits.LiveEvery = live, events, 5*time.Millisecond
		o.Entities = &fakeEntities{list: []Entity{{ID: "a", Name: hostile, Tags: map[string]string{hostile: hostile}}}}
	})
	for _, path := range []string{
		"/api/v1/query?query=up", "/api/v1/series?match[]=up", "/api/v1/label/x/values", "/api/entities", "/api/events",
		"/api/v1/query?query=%3C/script%3E", "/api/v1/query?query=%22%3C/script%3E%22", "/api/entities?state=%3C/script%3E",
	} {
		got := r.get(path)
		require.True(t, json.Valid([]byte(got.body)), got.body)
		require.Equal(t, "application/json", got.header.Get("Content-Type"), path)
		require.Equal(t, "nosniff", got.header.Get("X-Content-Type-Options"), path)
		if strings.HasPrefix(path, "/api/e") {
			require.NotContains(t, got.body, "<", path)
		}
	}
	v := r.watch()
	require.Contains(t, v.until("hello"), `event: hello\ndata`)
	events.emit(events.list[0], 0)
	for {
		m := v.next()
		require.Contains(t, []string{"rows", "events"}, m.name, "a message was smuggled in: %v", m)
		require.True(t, json.Valid([]byte(m.data)), m.data)
		if m.name == "events" {
			return
		}
	}
}

// TestPackedRequests are not unpacked: 10 MB of zeros in 10 kB.
func TestPackedRequests(t *testing.T) {
	captures := newFakeCaptures()
	r := newRig(t, func(o *Options) { withStore(t, o); o.Captures = captures })
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, err := z.Write(make([]byte, 10<<20))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	packed := header("Content-Encoding", "gzip")
	got := r.ask(http.MethodPost, "/api/captures", bomb.String(), asJSON, packed)
	require.Equal(t, http.StatusUnsupportedMediaType, got.code, got.body)
	got = r.ask(http.MethodPost, "/api/v1/query", bomb.String(), header("Content-Type", "application/x-www-form-urlencoded"), packed)
	require.Equal(t, http.StatusUnsupportedMediaType, got.code, got.body)
	require.Empty(t, captures.started())
	got = r.ask(http.MethodPost, "/api/captures", "{}", asJSON, header("Content-Encoding", "identity"))
	require.Equal(t, http.StatusAccepted, got.code)
}

// TestLargeBodies are bounded more tightly where no token is needed yet.
func TestLargeBodies(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Token = goodToken })
	got := r.ask(http.MethodPost, "/api/login", `{"token":"`+strings.Repeat("x", maxJSON)+`"}`, asJSON)
	require.Equal(t, http.StatusRequestEntityTooLarge, got.code)
	got = r.ask(http.MethodPost, "/api/login", strings.Repeat("[", maxJSON-1), asJSON)
	require.Equal(t, http.StatusBadRequest, got.code, "nested without end")
	require.EqualValues(t, 0, r.server.Stats().Denied["token"])
}

// TestUnreadAnswer has a client that asks for much and reads nothing: it keeps its turn
// among the queries no longer than a query may take.
func TestUnreadAnswer(t *testing.T) {
	events := &fakeEvents{list: slices.Repeat([]Event{{Body: strings.Repeat("x", 1<<20)}}, 24)}
	r := newRig(t, func(o *Options) {
		o.Events, o.Limits.EventBytes = events, 24<<20 // more than the kernel keeps for both ends
		o.Limits.QueryTime, o.Limits.Stall = 5*time.Second, time.Hour
		o.Limits.Queries = 1
	})
	conn := dialRaw(t, r)
	require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(4096))
	_, err := conn.Write([]byte("GET /api/events?limit=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n"))
	require.NoError(t, err)
	begin := make([]byte, len("HTTP/1.1 200"))
	_, err = io.ReadFull(conn, begin)
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 200", string(begin))
	eventually(t, func() bool { return r.server.Stats().Queries.Running == 0 }, "its turn has ended")
}

// countedLive counts the expensive calls.
type countedLive struct {
	*fakeLive
	snapshots int // only the hub's goroutine calls
}

// Snapshot counts.
func (c *countedLive) Snapshot() LiveView {
	c.snapshots++
	return c.fakeLive.Snapshot()
}

// TestLiveReconnects has somebody who comes back again and again: the large first
// message is made once between two ticks.
func TestLiveReconnects(t *testing.T) {
	live := &countedLive{fakeLive: newFakeLive()}
	r := newRig(t, func(o *Options) { o.Live, o.Limits.LiveEvery = live, time.Hour })
	stays := r.watch()
	hello := stays.until("hello")
	for range 20 {
		require.Equal(t, hello, r.watch().until("hello"))
	}
	require.NoError(t, r.server.Shutdown(t.Context()))
	require.Equal(t, 1, live.snapshots)
}

// TestLiveHelloIsOfTheTick: who comes later does not get what the first one got.
func TestLiveHelloIsOfTheTick(t *testing.T) {
	live := newFakeLive()
	r := newRig(t, func(o *Options) { o.Live, o.Limits.LiveEvery = live, 5*time.Millisecond })
	stays := r.watch()
	first := stays.until("hello")
	stays.until("rows")
	require.NotEqual(t, first, r.watch().until("hello"))
}

// TestLiveHelloIsFresh: nobody gets a first message from before everybody left.
func TestLiveHelloIsFresh(t *testing.T) {
	live := newFakeLive()
	r := newRig(t, func(o *Options) { o.Live, o.Limits.LiveEvery = live, time.Hour })
	conn := dialRaw(t, r)
	_, err := conn.Write([]byte("GET /api/live HTTP/1.1\r\nHost: localhost\r\n\r\n"))
	require.NoError(t, err)
	eventually(t, func() bool { return r.server.Stats().Live.Clients == 1 }, "it is there")
	require.NoError(t, conn.Close())
	eventually(t, func() bool { return r.server.Stats().Live.Clients == 0 }, "it is gone")
	live.mu.Lock()
	live.now = t0.Add(time.Minute)
	live.mu.Unlock()
	require.Contains(t, r.watch().until("hello"), `"t":1700000060`)
}

// TestStateLinks has a capture whose folder has a link out of it.
func TestStateLinks(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, []byte("secret"), 0o600))
	require.NoError(t, os.Symlink(secret, filepath.Join(dir, "link.txt")))
	require.NoError(t, os.Symlink(filepath.Dir(secret), filepath.Join(dir, "folder")))
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, root.Close()) })
	r := newRig(t, func(o *Options) { o.State = root.FS() })
	for _, path := range []string{"link.txt", "folder/secret", "folder", "..%2Fsecret", "folder%2Fsecret"} {
		got := r.get("/api/state/" + path)
		require.NotEqual(t, http.StatusOK, got.code, path)
		require.NotContains(t, got.body, `secret"`, path)
	}
	same200(t, r.get("/api/state"), `{"files":[]}`)
}

// TestWeakerCallback has a configuration that asks for certificates, and a callback in
// it that does not.
func TestWeakerCallback(t *testing.T) {
	certificate, roots := selfSigned(t)
	weak := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	r := newRig(t, func(o *Options) {
		o.TLS = &tls.Config{
			Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots,
			GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return weak, nil },
		}
	})
	require.Equal(t, http.StatusUnauthorized, overTLS(t, r, roots).StatusCode)
}

// TestOneRequestAtATime: HTTP/2 is not spoken, even where the configuration has it.
func TestOneRequestAtATime(t *testing.T) {
	certificate, roots := selfSigned(t)
	r := newRig(t, func(o *Options) {
		o.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	})
	response := overTLS(t, r, roots)
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.Equal(t, 1, response.ProtoMajor)
}

// overTLS asks without a certificate, by HTTP/2 if that is possible.
func overTLS(t *testing.T, r *rig, roots *x509.CertPool) *http.Response {
	t.Helper()
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true,
	}
	t.Cleanup(transport.CloseIdleConnections)
	response, err := (&http.Client{Transport: transport, Timeout: within}).Get(r.url + "/api/status")
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	return response
}

// TestQueryMemory has the engine's own limit, which the options give.
func TestQueryMemory(t *testing.T) {
	r := newRig(t, func(o *Options) {
		withStore(t, o)
		o.Engine = promql.NewEngine(promql.EngineOpts{MaxSamples: 50, Timeout: within})
	})
	for _, query := range []string{"up[1h]", "count_over_time(up[1h:1s])", "max_over_time(max_over_time(up[1h:1s])[1h:1s])"} {
		got := r.get("/api/v1/query?query=" + query)
		require.Equal(t, http.StatusUnprocessableEntity, got.code, query)
		require.Contains(t, got.body, "too many samples")
	}
}

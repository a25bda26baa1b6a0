package api

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const goodToken = "correct-horse-battery-staple"

// TestHost is DNS rebinding: a name of the attacker's that leads to us.
func TestHost(t *testing.T) {
	r := newRig(t, func(o *Options) { o.AllowedHosts = []string{"Recorder.example.org"} })
	f := func(name string, code int) {
		t.Helper()
		if got := r.get("/api/status", host(name)); got.code != code {
			t.Errorf("host %q: %d %s, want %d", name, got.code, got.body, code)
		}
	}
	for _, name := range []string{
		"localhost", "localhost:9480", "LOCALHOST", "localhost.", "127.0.0.1", "127.0.0.1:8080", "[::1]:9480", "[::1]",
		"192.0.2.7:9480", "recorder.example.org", "recorder.example.org:443",
	} {
		f(name, http.StatusOK)
	}
	for _, name := range []string{
		"evil.example", "evil.example:9480", "localhost.evil.example", "127.0.0.1.evil.example", "evil-localhost",
		"x.recorder.example.org",
	} {
		f(name, http.StatusForbidden)
	}
	require.EqualValues(t, 6, r.server.Stats().Denied["host"])
	require.Equal(t, "forbidden", r.get("/api/status", host("evil.example")).kind(t))
	require.Equal(t, http.StatusForbidden, r.get("/", host("evil.example")).code, "the page is served to any host")
}

// TestOrigin is a page of another site that calls us from a user's browser.
func TestOrigin(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.Captures = newFakeCaptures()
		o.Web = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("page")) })
	})
	own := strings.TrimPrefix(r.url, "http://")
	f := func(code int, path string, headers ...string) {
		t.Helper()
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if method == http.MethodPost && !strings.HasPrefix(path, "/api/captures") {
				continue
			}
			got := r.ask(method, path, "{}", asJSON, func(q *http.Request) {
				for i := 0; i < len(headers); i += 2 {
					q.Header.Add(headers[i], headers[i+1])
				}
			})
			if good := got.code < 300; good != (code < 300) || !good && got.code != code {
				t.Errorf("%s %s %q: %d %s, want %d", method, path, headers, got.code, got.body, code)
			}
		}
	}
	f(200, "/api/captures")
	f(200, "/api/captures", "Origin", r.url)
	f(200, "/api/captures", "Sec-Fetch-Site", "same-origin")
	f(200, "/api/captures", "Sec-Fetch-Site", "none")
	f(403, "/api/captures", "Origin", "http://evil.example")
	f(403, "/api/captures", "Origin", "http://localhost:3000")
	f(403, "/api/captures", "Origin", "null")
	f(403, "/api/captures", "Origin", "")
	f(403, "/api/captures", "Origin", "http://"+own+".evil.example")
	f(403, "/api/captures", "Origin", r.url, "Origin", "http://evil.example")
	f(403, "/api/captures", "Sec-Fetch-Site", "cross-site")
	f(403, "/api/captures", "Sec-Fetch-Site", "same-site")
	f(403, "/api/captures", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate")
	f(403, "/api/status", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate")
	f(200, "/", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate")
	f(403, "/", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors")
	require.EqualValues(t, 20, r.server.Stats().Denied["origin"])
}

// TestForms is the rest of request forgery: what a form can send without asking.
func TestForms(t *testing.T) {
	captures := newFakeCaptures()
	r := newRig(t, func(o *Options) { o.Captures = captures })
	for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"} {
		got := r.ask(http.MethodPost, "/api/captures", "{}", header("Content-Type", kind))
		require.Equal(t, http.StatusUnsupportedMediaType, got.code, kind)
	}
	require.Empty(t, captures.started())
}

func TestHeaders(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.Web = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("page")) })
	})
	for _, path := range []string{"/", "/api/status", "/api/nothing"} {
		h := r.get(path).header
		for _, part := range []string{"default-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "object-src 'none'", "form-action 'none'"} {
			require.Contains(t, h.Get("Content-Security-Policy"), part, path)
		}
		require.NotContains(t, h.Get("Content-Security-Policy"), "unsafe")
		require.Equal(t, "nosniff", h.Get("X-Content-Type-Options"), path)
		require.Equal(t, "DENY", h.Get("X-Frame-Options"), path)
		require.Equal(t, "no-referrer", h.Get("Referrer-Policy"), path)
		require.Equal(t, "same-origin", h.Get("Cross-Origin-Resource-Policy"), path)
		require.Equal(t, "same-origin", h.Get("Cross-Origin-Opener-Policy"), path)
		require.Empty(t, h.Get("Access-Control-Allow-Origin"), path)
	}
	require.Equal(t, "no-store", r.get("/api/status").header.Get("Cache-Control"))
}

func TestToken(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.Token = goodToken
		o.Web = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("page")) })
	})
	got := r.get("/api/status")
	require.Equal(t, http.StatusUnauthorized, got.code)
	require.Equal(t, "unauthorized", got.kind(t))
	require.Contains(t, got.header.Get("WWW-Authenticate"), "Bearer")
	for _, wrong := range []string{"", goodToken, "Bearer", "Bearer " + goodToken[1:], "Bearer " + goodToken + "x", "Basic " + goodToken} {
		require.Equal(t, http.StatusUnauthorized, r.get("/api/status", header("Authorization", wrong)).code, wrong)
	}
	require.Equal(t, http.StatusUnauthorized, r.get("/api/live").code)
	require.Equal(t, http.StatusUnauthorized, r.get("/%61pi/status").code)
	require.EqualValues(t, 9, r.server.Stats().Denied["token"])
	require.Equal(t, http.StatusOK, r.get("/api/status", header("Authorization", "Bearer "+goodToken)).code)
	require.Equal(t, http.StatusOK, r.get("/api/status", header("Authorization", "bearer "+goodToken)).code)
	require.Equal(t, "page", r.get("/").body, "the page that asks for the token")
}

func TestLogin(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Token = goodToken })
	wrong := r.ask(http.MethodPost, "/api/login", `{"token":"wrong"}`, asJSON)
	require.Equal(t, http.StatusUnauthorized, wrong.code)
	require.Empty(t, wrong.header.Get("Set-Cookie"))

	got := r.ask(http.MethodPost, "/api/login", `{"token":"`+goodToken+`"}`, asJSON)
	require.Equal(t, http.StatusNoContent, got.code, got.body)
	cookie, err := http.ParseSetCookie(got.header.Get("Set-Cookie"))
	require.NoError(t, err)
	require.True(t, cookie.HttpOnly)
	require.Equal(t, http.SameSiteStrictMode, cookie.SameSite)
	require.NotContains(t, cookie.Value, goodToken)
	with := func(value string) func(*http.Request) {
		return func(q *http.Request) { q.AddCookie(&http.Cookie{Name: sessionCookie, Value: value}) }
	}
	require.Equal(t, http.StatusOK, r.get("/api/status", with(cookie.Value)).code)
	require.Equal(t, http.StatusUnauthorized, r.get("/api/status", with(cookie.Value[1:])).code)
	require.Equal(t, http.StatusUnauthorized, r.get("/api/status", with("")).code)
	require.Equal(t, http.StatusForbidden, r.get("/api/status", with(cookie.Value), header("Origin", "http://evil.example")).code)

	out := r.ask(http.MethodPost, "/api/logout", "", with(cookie.Value))
	require.Equal(t, http.StatusNoContent, out.code)
	require.Contains(t, out.header.Get("Set-Cookie"), "Max-Age=0")
}

// TestRefusesToBeOpen is the most important of all.
func TestRefusesToBeOpen(t *testing.T) {
	start := func(o Options) error {
		server, err := New(o)
		if err != nil {
			return err
		}
		err = server.Start(t.Context())
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		require.NoError(t, server.Shutdown(ctx))
		return err
	}
	socket := "unix://" + filepath.Join(t.TempDir(), "s")
	for _, endpoint := range []string{"0.0.0.0:0", "[::]:0", ":0"} {
		require.ErrorIs(t, start(Options{Endpoints: []string{endpoint}}), ErrOpen, endpoint)
		require.ErrorIs(t, start(Options{Endpoints: []string{"127.0.0.1:0", socket, endpoint}}), ErrOpen, endpoint)
		oneSided := &tls.Config{Certificates: []tls.Certificate{{}}}
		require.ErrorIs(t, start(Options{Endpoints: []string{endpoint}, TLS: oneSided}), ErrOpen, endpoint)
		anyClient := &tls.Config{Certificates: []tls.Certificate{{}}, ClientAuth: tls.RequireAnyClientCert, ClientCAs: x509.NewCertPool()}
		require.ErrorIs(t, start(Options{Endpoints: []string{endpoint}, TLS: anyClient}), ErrOpen, endpoint)
	}
	_, err := os.Lstat(strings.TrimPrefix(socket, "unix://"))
	require.ErrorIs(t, err, os.ErrNotExist, "one endpoint was refused, another stays open")

	require.Error(t, start(Options{Endpoints: []string{"127.0.0.1:0"}, Token: "short"}))
	require.Error(t, start(Options{Endpoints: []string{"127.0.0.1:0"}, Token: "correct horse battery staple"}), "a token with spaces")
	require.Error(t, start(Options{Endpoints: []string{"127.0.0.1:0"}, TLS: &tls.Config{}}))
	require.Error(t, start(Options{}))
	require.Error(t, start(Options{Endpoints: []string{"unix://relative"}}))
	require.NoError(t, start(Options{Endpoints: []string{"127.0.0.1:0"}}))
	require.NoError(t, start(Options{Endpoints: []string{"localhost:0"}}))
	require.NoError(t, start(Options{Endpoints: []string{"0.0.0.0:0"}, Token: goodToken}))
}

func TestWarnsOfClearToken(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Endpoints, o.Token = []string{"0.0.0.0:0"}, goodToken })
	require.Len(t, r.server.Warnings(), 1)
	quiet := newRig(t, func(o *Options) { o.Token = goodToken })
	require.Empty(t, quiet.server.Warnings())
}

// TestMutualTLS lets in who has a certificate, and nobody else.
func TestMutualTLS(t *testing.T) {
	certificate, roots := selfSigned(t)
	r := newRig(t, func(o *Options) {
		o.Endpoints = []string{"0.0.0.0:0"}
		o.TLS = &tls.Config{
			Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS10,
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots,
		}
	})
	_, port, err := net.SplitHostPort(strings.TrimPrefix(r.url, "https://"))
	require.NoError(t, err)
	try := func(config *tls.Config) (int, error) {
		config.RootCAs, config.ServerName = roots, "localhost"
		transport := &http.Transport{TLSClientConfig: config}
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport, Timeout: within}
		response, err := client.Get("https://127.0.0.1:" + port + "/api/status")
		if err != nil {
			return 0, err
		}
		return response.StatusCode, response.Body.Close()
	}
	code, err := try(&tls.Config{Certificates: []tls.Certificate{certificate}})
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, code)
	_, err = try(&tls.Config{})
	require.Error(t, err, "without a certificate")
	other, _ := selfSigned(t)
	_, err = try(&tls.Config{Certificates: []tls.Certificate{other}})
	require.Error(t, err, "with somebody else's certificate")
	_, err = try(&tls.Config{Certificates: []tls.Certificate{certificate}, MaxVersion: tls.VersionTLS11})
	require.Error(t, err, "with an old protocol")
}

func selfSigned(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(raw)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}, pool
}

// TestReadOnly: an opened capture changes nothing, whoever asks.
func TestReadOnly(t *testing.T) {
	captures := newFakeCaptures()
	r := newRig(t, func(o *Options) {
		o.Opened = &Capture{ID: "opened", To: At(t0)}
		o.Captures = captures
	})
	for _, change := range [][2]string{
		{http.MethodPost, "/api/captures"}, {http.MethodPost, "/api/capture"}, {http.MethodDelete, "/api/captures/ready"},
		{http.MethodPut, "/api/captures/ready/pin"}, {http.MethodDelete, "/api/captures/ready/pin"},
	} {
		got := r.ask(change[0], change[1], "{}", asJSON)
		require.Equal(t, http.StatusForbidden, got.code, change)
		require.Equal(t, "read_only", got.kind(t), change)
	}
	require.Empty(t, captures.calls())
	require.Equal(t, http.StatusOK, r.get("/api/captures/opened").code)
	require.Equal(t, http.StatusNotFound, r.get("/api/live").code)
}

// TestHeaderLimit sends a head that is too long. net/http adds 4 KiB of slack.
func TestHeaderLimit(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Limits.HeaderBytes = 1 << 10 })
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/api/status", nil)
	require.NoError(t, err)
	request.Header.Set("X-Long", strings.Repeat("x", 6<<10))
	// The answer may be lost, because the connection is closed on what is still sent.
	if response, err := r.client.Do(request); err == nil {
		require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, response.StatusCode)
		require.NoError(t, response.Body.Close())
	}
	require.Zero(t, r.server.Stats().Requests, "it got through")
	require.Equal(t, http.StatusOK, r.get("/api/status").code)
}

// TestSlowRequests cuts off who does not send what was announced.
func TestSlowRequests(t *testing.T) {
	r := newRig(t, func(o *Options) {
		withStore(t, o)
		o.Limits.Stall = 50 * time.Millisecond
	})
	for _, text := range []string{
		"GET /api/status HTTP/1.1\r\nHost: localhost\r\n",
		"POST /api/v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nquery",
		"POST /api/captures HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 100\r\n\r\n{",
	} {
		conn := dialRaw(t, r)
		_, err := conn.Write([]byte(text))
		require.NoError(t, err)
		reader := bufio.NewReader(conn)
		for err == nil { // an answer may come, but then the end
			_, err = reader.ReadByte()
		}
		var timeout net.Error
		require.False(t, errors.As(err, &timeout) && timeout.Timeout(), "still open: %q", text)
	}
}

func dialRaw(t testing.TB, r *rig) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(r.url, "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(within)))
	return conn
}

// TestConnectionLimit has one place, and frees it.
func TestConnectionLimit(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Limits.Connections = 1 })
	status := "GET /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n"
	first, second := dialRaw(t, r), dialRaw(t, r)
	_, err := first.Write([]byte(status))
	require.NoError(t, err)
	_, err = first.Read(make([]byte, 1))
	require.NoError(t, err)
	_, err = second.Write([]byte(status))
	require.NoError(t, err)
	require.NoError(t, second.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
	_, err = second.Read(make([]byte, 1))
	require.Error(t, err, "there was a second place")
	require.NoError(t, first.Close())
	require.NoError(t, second.SetReadDeadline(time.Now().Add(within)))
	_, err = second.Read(make([]byte, 1))
	require.NoError(t, err, "the place was not freed")
}

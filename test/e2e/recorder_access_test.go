package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// recorderAlone is a configuration of nothing but the recorder and what applications
// send it: its tests know each sample.
const recorderAlone = `
receivers:
  otlp:
    protocols:
      grpc: {endpoint: localhost:4317}
      http: {endpoint: localhost:4318}
exporters:
  flight_recorder:
extensions:
  health_check:
  flight_recorder:
    directory: ${env:TALLYMAN_STATE}/recorder
service:
  telemetry: {metrics: {level: none}}
  extensions: [health_check, flight_recorder]
  pipelines:
    metrics: {receivers: [otlp], exporters: [flight_recorder]}
    logs: {receivers: [otlp], exporters: [flight_recorder]}
`

// alone are the settings of an agent that only records what it is sent.
func alone(t *testing.T, set ...string) settings {
	t.Helper()
	return settings{configs: []string{ownConfig(t, recorderAlone)}, set: set}
}

const (
	secretToken = "open-sesame-1234567890"
	tokenSet    = "extensions::flight_recorder::token: " + secretToken
)

// Nobody but this host sees anything, unless there is a token to ask for.
func TestRecorderAccess(t *testing.T) {
	t.Parallel()
	t.Run("open to all", refusesToBeOpen)
	t.Run("token", asksForToken)
	t.Run("token on the page", asksPersonForToken)
	t.Run("all addresses", servesAllWithToken)
	t.Run("other names", refusesOtherNames)
	t.Run("socket", servesSocket)
	t.Run("grafana", answersGrafana)
}

func refusesToBeOpen(t *testing.T) {
	for endpoint, set := range map[string][]string{
		"0.0.0.0:0": nil,
		"[::]:0":    nil,
		":0":        {"extensions::flight_recorder::token: short"}, // too short is as good as none
	} {
		a := launch(t, alone(t, append([]string{"extensions::flight_recorder::endpoint: '" + endpoint + "'"}, set...)...))
		log, code := a.wait(refuseWithin)
		t.Logf("%s: %s", endpoint, lastLine(log))
		require.Positive(t, code, "serves everybody on %s", endpoint)
		require.Contains(t, lastWords(log), "flight_recorder")
		require.Contains(t, lastWords(log), "token")
	}
}

func lastLine(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	return lines[len(lines)-1]
}

// status asks with headers, and tells how it was answered.
func statusOf(t *testing.T, client *http.Client, address string, headers ...string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	require.NoError(t, err)
	request.Close = true
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		if name == "Host" {
			request.Host = value
		}
		request.Header.Set(name, value)
	}
	response, err := client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	require.NoError(t, err)
	return response.StatusCode
}

func asksForToken(t *testing.T) {
	a := startRecorder(t, alone(t, tokenSet))
	client := http.DefaultClient
	for _, path := range []string{"/api/status", "/api/entities", "/api/events", "/api/captures", "/api/agent", "/api/live", "/api/v1/labels", "/api/v1/query?query=up"} {
		require.Equal(t, 401, statusOf(t, client, a.url+path), path)
		require.Equal(t, 401, statusOf(t, client, a.url+path, "Authorization: Bearer "+secretToken+"x"), path)
	}
	require.Equal(t, 200, statusOf(t, client, a.url+"/"), "the page asks for the token")
	require.Equal(t, 200, statusOf(t, client, a.url+"/api/status", "Authorization: Bearer "+secretToken))

	// A browser changes it for a cookie.
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	person := &http.Client{Jar: jar, Transport: &http.Transport{DisableKeepAlives: true}}
	login := func(token string) int {
		response, err := person.Post(a.url+"/api/login", "application/json", strings.NewReader(`{"token":"`+token+`"}`))
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		return response.StatusCode
	}
	require.Equal(t, 401, login("something else"))
	require.Equal(t, 204, login(secretToken))
	require.Equal(t, 200, statusOf(t, person, a.url+"/api/status"))

	tokenFile := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(tokenFile, []byte(secretToken+"\n"), 0o600))
	out, err := runControl(t.Context(), "capture", "now", "--address", a.url)
	require.Error(t, err, out)
	require.Contains(t, out, "token")
	control(t, "capture", "now", "--address", a.url, "--token-file", tokenFile)
	require.NotContains(t, a.log(), secretToken)
}

// asksPersonForToken types it, wrong first.
func asksPersonForToken(t *testing.T) {
	a := startRecorder(t, alone(t, tokenSet))
	p := startBrowser(t).open(t, a.url+"/#/agent")
	const field = "[data-dialog=token] input[type=password]"
	for _, token := range []string{"something else entirely", secretToken} {
		p.wait(shownWithin, has(field))
		p.write(field, token)
		p.do(click("[data-dialog=token] button[type=submit]"))
		if token != secretToken {
			p.wait(shownWithin, `document.querySelector("[data-dialog=token] [role=alert]").innerText !== ""`)
		}
	}
	p.wait(shownWithin, has(`[data-mode="live"][data-connection="open"]`)+" && "+has(`[data-fact="metrics-series"]`))
	require.NotContains(t, evaluate[string](p, "document.cookie + location.href + JSON.stringify(localStorage)"), secretToken)
}

// servesAllWithToken listens on all addresses, in a network of its own.
func servesAllWithToken(t *testing.T) {
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "unshare", "ip")
	_, port, _ := strings.Cut(freePorts(t, 1)[0], ":") // free here, too: at first it is in this network
	s := alone(t, tokenSet, "extensions::flight_recorder::endpoint: 0.0.0.0:"+port)
	s.wrap = []string{"unshare", "--net", "--", "sh", "-c", `ip link set lo up && exec "$@"`, "sh"}
	a := launch(t, s)
	ask := func(header string) (status int, err error) {
		var conn net.Conn
		testkit.InNetns(t, a.cmd.Process.Pid, func() error {
			conn, err = net.Dial("tcp", "127.0.0.1:"+port)
			return nil // not there yet is no failure of the test
		})
		if err != nil {
			return 0, err
		}
		defer conn.Close()
		if _, err := fmt.Fprintf(conn, "GET /api/status HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n%s\r\n", header); err != nil {
			return 0, err
		}
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return 0, err
		}
		return response.StatusCode, response.Body.Close()
	}
	testkit.Eventually(t, soon, func() error {
		if err := a.alive(); err != nil {
			t.Fatal(err)
		}
		status, err := ask("Authorization: Bearer " + secretToken + "\r\n")
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("%w: %d", errStatus, status)
		}
		return err
	})
	status, err := ask("")
	require.NoError(t, err)
	require.Equal(t, http.StatusUnauthorized, status)
}

func refusesOtherNames(t *testing.T) {
	a := startRecorder(t, alone(t, "extensions::flight_recorder::allowed_hosts: [recorder.example]"))
	refused := []int{http.StatusForbidden, http.StatusMisdirectedRequest}
	for _, name := range []string{"evil.example", "evil.example:9480", "127.0.0.1.evil.example", "localhost.evil.example"} {
		require.Contains(t, refused, statusOf(t, http.DefaultClient, a.url+"/api/status", "Host: "+name), name)
		require.Contains(t, refused, statusOf(t, http.DefaultClient, a.url+"/", "Host: "+name), name)
	}
	for _, name := range []string{"localhost", "localhost:9480", "127.0.0.1", "[::1]:80", "recorder.example", "recorder.example:443"} {
		require.Equal(t, 200, statusOf(t, http.DefaultClient, a.url+"/api/status", "Host: "+name), name)
	}
	for _, origin := range []string{"http://evil.example", "null"} {
		require.Equal(t, 403, statusOf(t, http.DefaultClient, a.url+"/api/status", "Origin: "+origin), origin)
	}
	require.Equal(t, 403, statusOf(t, http.DefaultClient, a.url+"/api/status", "Sec-Fetch-Site: cross-site"))
}

func servesSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "recorder.sock")
	a := startRecorder(t, alone(t, tokenSet, "extensions::flight_recorder::unix_socket: {path: "+path+", mode: '0600'}"))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, "Srw-------", info.Mode().String())
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}
	require.Equal(t, 200, statusOf(t, client, "http://localhost/api/status"), "the socket needs no token")
	require.Equal(t, 200, statusOf(t, client, "http://localhost/"))
	require.Equal(t, 401, statusOf(t, http.DefaultClient, a.url+"/api/status"))
	require.NotEmpty(t, strings.TrimSpace(control(t, "capture", "now", "--address", "unix://"+path)))
	_, code := a.stop()
	require.Zero(t, code)
	require.NoFileExists(t, path)
}

// answersGrafana makes the calls that Grafana makes of a Prometheus data source: the
// test of the connection, the lists of its editor, and its panels.
func answersGrafana(t *testing.T) {
	a := startRecorder(t, alone(t))
	require.NoError(t, a.sendGauge("e2e.shown", 42))
	testkit.Eventually(t, soon, func() error {
		value, err := a.value("e2e_shown")
		if err == nil && value != 42 {
			err = fmt.Errorf("value %v: %w", value, errStatus)
		}
		return err
	})
	g := grafana{t, a.url}
	require.Contains(t, g.data("GET", "/api/v1/status/buildinfo", nil), `"version"`)
	require.Contains(t, g.data("POST", "/api/v1/query", url.Values{"query": {"1+1"}, "time": {"1700000000"}}), `"2"`)
	require.Contains(t, g.data("GET", "/api/v1/query", url.Values{"query": {"e2e_shown"}}), `"42"`)
	now := fmt.Sprint(float64(nowMillis()) / 1000)
	then := fmt.Sprint(float64(nowMillis())/1000 - 60)
	window := url.Values{"start": {then}, "end": {now}}
	with := func(key string, values ...string) url.Values {
		all := url.Values{key: values}
		for k, v := range window {
			all[k] = v
		}
		return all
	}
	panel := with("query", "e2e_shown")
	panel.Set("step", "1")
	require.Contains(t, g.data("POST", "/api/v1/query_range", panel), `"42"`)
	require.Contains(t, g.data("GET", "/api/v1/query_range", panel), `"42"`)
	require.Contains(t, g.data("POST", "/api/v1/labels", window), `"__name__"`)
	require.Contains(t, g.data("GET", "/api/v1/labels", with("match[]", "e2e_shown")), `"__name__"`)
	require.Contains(t, g.data("POST", "/api/v1/series", with("match[]", `{__name__=~"e2e_.*"}`)), `"e2e_shown"`)
	require.Contains(t, g.data("GET", "/api/v1/label/__name__/values", window), `"e2e_shown"`)
	require.Contains(t, g.data("GET", "/api/v1/metadata", nil), "e2e_shown")
	require.Contains(t, g.data("GET", "/api/v1/rules", nil), "groups")
	require.Contains(t, g.data("GET", "/api/v1/alerts", nil), "alerts")
	require.Equal(t, "[]", g.data("POST", "/api/v1/query_exemplars", panel))

	_, err := g.call("POST", "/api/v1/query", url.Values{"query": {"sum("}})
	require.ErrorContains(t, err, "bad_data")
}

// grafana asks as it does: forms for POST, and an answer of Prometheus.
type grafana struct {
	t   *testing.T
	url string
}

func (g grafana) data(method, path string, values url.Values) string {
	g.t.Helper()
	data, err := g.call(method, path, values)
	require.NoError(g.t, err, "%s %s", method, path)
	return data
}

func (g grafana) call(method, path string, values url.Values) (string, error) {
	address, body := g.url+path, ""
	if method == http.MethodPost {
		body = values.Encode()
	} else if len(values) > 0 {
		address += "?" + values.Encode()
	}
	request, err := http.NewRequestWithContext(g.t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	request.Close = true
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var answer struct {
		Status, ErrorType, Error string
		Data                     json.RawMessage
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK || answer.Status != "success" {
		return "", errors.Join(errStatus, fmt.Errorf("%d %s: %s", response.StatusCode, answer.ErrorType, answer.Error))
	}
	return string(answer.Data), nil
}

package main

import (
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/discovery/configfile"
	"github.com/tallymanhq/tallyman/internal/discovery/plan"
	"github.com/tallymanhq/tallyman/internal/discovery/rules"
	"github.com/tallymanhq/tallyman/internal/discovery/settings"
	"github.com/tallymanhq/tallyman/internal/discovery/spec"
	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/docker"
)

// written is a file with a configuration.
func written(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestWrongCallsOfDiscover(t *testing.T) {
	f := func(names string, args ...string) {
		t.Helper()
		code, out, err := call(t, append([]string{"discover"}, args...)...)
		require.Equal(t, exitUsage, code, args)
		require.Empty(t, out)
		require.Contains(t, err, names)
		require.Contains(t, err, "--help")
	}
	f(`--output: "xml" is neither`, "-o", "xml")
	f("give --config, too", "--receiver", "discovery/x")
	f("--timeout: 0s", "--timeout", "0")
	f(`--root: "var" is not an absolute path`, "--root", "var")
	f("--endpoint: ", "--endpoint", "nonsense")
	f(`"extra"`, "extra")
}

// What the agent would not start with is an error in its words, and says which key.
func TestBrokenConfiguration(t *testing.T) {
	f := func(text string, names ...string) string {
		t.Helper()
		code, out, err := call(t, "discover", "--endpoint", "none", "--config", written(t, text))
		require.Equal(t, exitFailed, code, "%s%s", out, err)
		require.Empty(t, out)
		require.NotContains(t, err, "--help")
		for _, name := range names {
			require.Contains(t, err, name)
		}
		return err
	}
	f("receivers: {discovery: {labls: false}}", "receivers::discovery", "labls")
	f("receivers: {otlp: }", "no such receiver: discovery")
	f("receivers: {discovery/a: , discovery/b: }", "discovery/a, discovery/b")
	f("receivers: {discovery: {root_path: here}}", "receivers::discovery: root_path", `"here"`)
	f("receivers: {discovery: {root_path: /no/such/place}}", "root_path", "/no/such/place")
	f("receivers: {discovery: {endpoint: nonsense}}", "receivers::discovery: endpoint", "nonsense")
	f("receivers: {discovery: {allow_receivers: [a b]}}", "allow_receivers[0]")
	f("- a", "agent.yaml")
	broken := rules.Config{Name: "web", Rule: "prot == 80", Receiver: "ngi nx", Config: map[string]any{"a": "`"}}
	_, want := plan.New(plan.Config{Rules: []rules.Config{broken}})
	require.Error(t, want)
	got := f("receivers: {discovery: {rules: [{name: web, rule: prot == 80, receiver: ngi nx, config: {a: '`'}}]}}")
	require.Contains(t, got, "receivers::discovery: "+want.Error())
	require.GreaterOrEqual(t, strings.Count(got, "rules[0]"), 3, "all mistakes at once: %s", got)
	got = f("receivers: {discovery: {look_interval: 1ms, limits: {receivers: -3}}}")
	require.Contains(t, got, "look_interval: 1ms is not between")
	require.Contains(t, got, "limits.receivers: -3 is not between")
	code, _, err := call(t, "discover", "--config", "/nowhere.yaml")
	require.Equal(t, exitFailed, code)
	require.Contains(t, err, "/nowhere.yaml")
}

func TestLookAt(t *testing.T) {
	f := func(flag, configured string, want lookOptions) {
		t.Helper()
		file := configfile.File{Settings: settings.Default()}
		file.Endpoint = configured
		got := (&discoverFlags{endpoint: flag}).lookAt(file, "unix:///usual")
		want.root = "/"
		require.Equal(t, want, got)
	}
	f("", "", lookOptions{endpoint: "unix:///usual"})
	f("", "unix:///c", lookOptions{endpoint: "unix:///c", isAsked: true})
	f("unix:///f", "unix:///c", lookOptions{endpoint: "unix:///f", isAsked: true})
	f("none", "unix:///c", lookOptions{})
	f("", "none", lookOptions{})
}

// example has a rule for each thing that can become of one.
const exampleConfig = `
receivers:
  discovery:
    allow_receivers: [prometheus, redis]
    rules:
      - name: web
        rule: technology == "nginx"
        receiver: nginx/web
        config:
          endpoint: 'http://` + "`endpoint`" + `/status'
          password: ${env:NGINX_PASSWORD}
          token: abc
        resource_attributes: {team: shop, api_token: '` + "`labels[\"token\"]`" + `'}
      - {name: own, rule: 'port == 9000', receiver: prometheus}
      - {name: logs, rule: 'port == 0 && name == "web"', receiver: file_log, signals: [logs], config: {include: ['/var/lib/docker/containers/` + "`id`/`id`" + `-json.log']}}
      - {name: broken, rule: 'labels["n"] == "1"', receiver: prometheus, config: {x: '` + "`int(labels[\"none\"])`" + `'}}
      - {name: cache, rule: 'technology == "redis"', receiver: redis, config: {interval: 10s}}
      - {name: kafka, rule: 'technology == "kafka"', receiver: prometheus}
service:
  pipelines:
    metrics: {receivers: [discovery]}
    logs: {receivers: [discovery]}
`

// pretend makes a dry run of a configuration with an agent that has these receivers.
func pretend(t *testing.T, text string) *dryRun {
	t.Helper()
	f := discoverFlags{config: []string{written(t, text)}}
	d, err := f.dryRun(t.Context())
	require.NoError(t, err)
	d.available = configfile.Available{"nginx": spec.Metrics, "prometheus": spec.Metrics, "file_log": spec.Logs}
	d.notes, d.problems, d.agent = nil, nil, "/opt/tallyman"
	d.describe([]string{"agent.yaml"})
	return d
}

// id is a container's, made of one digit.
func id(digit string) string { return strings.Repeat(digit, 64) }

// exampleTargets have all that can be said of a container.
func exampleTargets() []*target.Target {
	at := func(ip string) []target.Address {
		return []target.Address{{Network: "bridge", IP: netip.MustParseAddr(ip)}}
	}
	listens := func(port uint16, program string) []target.Listener {
		return []target.Listener{{Addr: netip.AddrPortFrom(netip.IPv4Unspecified(), port), Protocol: target.TCP, PID: 7, Executable: program}}
	}
	base := func(digit, name string) *target.Target {
		return &target.Target{
			ID: id(digit), Name: name, Runtime: "docker", State: "running", PID: 7,
			Addresses: at("172.17.0." + digit), Resource: map[string]string{"container.id": id(digit), "container.runtime.name": "docker"},
		}
	}
	web := base("1", "web")
	web.Image, web.ImageTag, web.Labels = "library/nginx", "1.25", map[string]string{"token": "hunter2"}
	web.Listening = listens(80, "nginx")
	web.Technologies = []target.Technology{{Name: "nginx", Port: 80, Confidence: target.Certain, By: "executable nginx", Receiver: "nginx"}}
	shop := base("2", "shop")
	shop.Listening = listens(9000, "java")
	shop.Technologies = []target.Technology{{Name: "java", Confidence: target.Possible, By: "executable java"}}
	shop.Labels = map[string]string{
		"prometheus.io/scrape": "true", "prometheus.io/path": "/own", "n": "1",
		"io.opentelemetry.discovery.metrics.8080/enabled": "true", "io.opentelemetry.discovery.metrics.8080/scraper": "prometheus",
		"io.opentelemetry.discovery.metrics.9000/enabled": "true", "io.opentelemetry.discovery.metrics.9000/scraper": "apache",
	}
	cache := base("3", "cache")
	cache.Listening = listens(6379, "redis-server")
	cache.Technologies = []target.Technology{{Name: "redis", Port: 6379, Confidence: target.Likely, By: "image redis", Receiver: "redis"}}
	quiet := base("4", "quiet")
	quiet.Labels = map[string]string{"io.opentelemetry.discovery/ignore": "true"}
	quiet.Listening = listens(9000, "a\x1b[31m")
	silent := base("5", "silent")
	silent.Labels = map[string]string{"io.opentelemetry.discovery.metrics/enabled": "false"}
	silent.Listening = listens(9000, "app")
	batch := base("6", "")
	return []*target.Target{web, shop, cache, quiet, silent, batch}
}

func TestDiscoverText(t *testing.T) {
	out := pretend(t, exampleConfig).judge(settled{targets: exampleTargets()})
	text, err := discoverText{}.render(out)
	require.NoError(t, err)
	checkGolden(t, "testdata/discover.txt", text)
	for _, secret := range []string{"hunter2", "abc", "\x1b"} {
		require.NotContains(t, text, secret)
	}
	for line := range strings.Lines(text) {
		require.False(t, strings.HasSuffix(line, " \n"), "%q", line)
	}
}

func TestDiscoverJSON(t *testing.T) {
	out := pretend(t, exampleConfig).judge(settled{targets: exampleTargets()})
	var b strings.Builder
	p := printer{w: &b, isJSON: true}
	require.NoError(t, p.first(out))
	checkGolden(t, "testdata/discover.json", b.String())
	require.NotContains(t, b.String(), "hunter2")
	require.NotContains(t, b.String(), "null", "what there is none of is empty")
	var back discoverOutput
	decoder := json.NewDecoder(strings.NewReader(b.String()))
	decoder.DisallowUnknownFields()
	require.NoError(t, decoder.Decode(&back))
	require.Len(t, back.Containers, 6)
}

// Colour changes nothing but the colour.
func TestDiscoverColour(t *testing.T) {
	out := pretend(t, exampleConfig).judge(settled{targets: exampleTargets()})
	want, err := discoverText{}.render(out)
	require.NoError(t, err)
	got, err := discoverText{colour: true}.render(out)
	require.NoError(t, err)
	for _, code := range []string{"\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"} {
		require.Contains(t, got, code)
		got = strings.ReplaceAll(got, code, "")
	}
	require.Equal(t, want, got)
}

// One container is shown alone, by its name or the beginning of its id; rules that fit
// others are not told as fitting nothing.
func TestDiscoverOne(t *testing.T) {
	d := pretend(t, exampleConfig)
	for _, name := range []string{"cache", "333"} {
		d.container = name
		out := d.judge(settled{targets: exampleTargets()})
		require.Len(t, out.Containers, 1)
		require.Equal(t, "cache", out.Containers[0].Name)
		require.Equal(t, []string{"kafka"}, out.UnmatchedRules)
		require.Equal(t, 1, out.Summary.Containers)
	}
	d.container = "cach"
	require.Empty(t, d.judge(settled{targets: exampleTargets()}).Containers)
}

// What is not as it should be is said, and counts only where somebody asked for it.
func TestDiscoverNotes(t *testing.T) {
	d := pretend(t, "receivers: {discovery: {root_path: '${env:TALLYMAN_TEST_UNSET}/'}}\nservice: {pipelines: {traces: {receivers: [discovery]}}}")
	d.uid = 1000
	seen := settled{engine: errNoEngine, cgroups: errNotAsked, unreadable: 7, unseen: 3, blind: 5, unfinished: []string{"abc"}}
	out := d.judge(seen)
	text, err := discoverText{}.render(out)
	require.NoError(t, err)
	for _, part := range []string{
		"TALLYMAN_TEST_UNSET is not set here", "is in no pipeline of metrics or logs", errNoEngine.Error(), errNotAsked.Error(), "7 files", "abc",
		"Of 3 containers no process", "Of 5 containers it is not known who listens",
	} {
		require.Contains(t, text, part)
	}
	require.True(t, out.broken)
	seen.unfinished = nil
	require.False(t, d.judge(seen).broken)
	d.look.isAsked = true
	require.True(t, d.judge(seen).broken)
}

// A rule for a receiver that the agent does not have keeps it from starting.
func TestDiscoverProblems(t *testing.T) {
	out := pretend(t, exampleConfig).judge(settled{})
	require.Equal(t, []string{
		`receivers::discovery: rules[4].receiver: rule "cache": this distribution has no receiver "redis" (it has file_log, nginx, prometheus)`,
	}, out.Problems)
	require.True(t, out.broken)
}

func TestDiscoverChanges(t *testing.T) {
	d := pretend(t, exampleConfig)
	all := exampleTargets()
	before := d.judge(settled{targets: all[:3]})
	moved := *all[0]
	moved.Addresses = []target.Address{{IP: netip.MustParseAddr("172.17.0.99")}}
	after := d.judge(settled{targets: []*target.Target{&moved, all[1], all[3]}})
	at := time.Date(2026, 11, 22, 3, 4, 5, 0, time.UTC)
	var b strings.Builder
	require.NoError(t, (&printer{w: &b}).changes(before, after, at))
	require.Equal(t, 3, strings.Count(b.String(), "03:04:05"), b.String())
	require.Contains(t, b.String(), "http://172.17.0.99:80/status")
	require.Contains(t, b.String(), "03:04:05  cache  333333333333 is gone\n")
	require.Contains(t, b.String(), "03:04:05  quiet  444444444444\n  ignored")
	require.NotContains(t, b.String(), "222222222222", "nothing has changed about shop")
	b.Reset()
	require.NoError(t, (&printer{w: &b, isJSON: true}).changes(before, after, at))
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	require.Len(t, lines, 3)
	var last changeOutput
	require.NoError(t, json.Unmarshal([]byte(lines[2]), &last))
	require.True(t, last.Gone)
	require.Equal(t, "cache", last.Container.Name)
	b.Reset()
	require.NoError(t, (&printer{w: &b}).changes(after, after, at))
	require.Empty(t, b.String())
}

// No engine, and one that does not answer.
func TestDiscoverWithoutEngine(t *testing.T) {
	code, out, err := call(t, "discover", "--endpoint", "none", "-o", "json")
	require.Equal(t, exitOK, code, "%s%s", out, err)
	require.Contains(t, out, errNotAsked.Error())
	missing := "unix://" + filepath.Join(t.TempDir(), "docker.sock")
	require.True(t, docker.SocketMissing(missing))
	code, out, err = call(t, "discover", "--endpoint", missing)
	require.Equal(t, exitFailed, code, "%s%s", out, err)
	require.Contains(t, out, "Without the engine's word")
	code, _, err = call(t, "discover", "--endpoint", "none", "--container", "nobody")
	require.Equal(t, exitFailed, code)
	require.Contains(t, err, `"nobody"`)
}

// An engine that takes the question and never answers costs the time that was given,
// and no more.
func TestDiscoverEndsInTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "docker.sock")
	listener, err := net.Listen("unix", path)
	require.NoError(t, err)
	defer listener.Close()
	begun := time.Now()
	code, out, stderr := call(t, "discover", "--endpoint", "unix://"+path, "--timeout", "300ms", "-o", "json")
	require.Equal(t, exitFailed, code, stderr)
	require.Contains(t, out, "Time was up")
	require.Contains(t, out, errConnecting.Error())
	require.Less(t, time.Since(begun), defaultTimeout)
}

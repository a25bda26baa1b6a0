package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// agentAnswer is what a real one prints, but for what nobody reads.
const agentAnswer = `receivers:
    - name: file_log
      stability: {logs: Beta, metrics: Undefined, traces: Undefined}
    - name: nginx
      stability: {logs: Undefined, metrics: Beta, traces: Undefined}
    - name: prometheus
      stability: {logs: Undefined, metrics: Beta, traces: Undefined}
`

// discoverer is a process that runs discover, with an agent beside it.
func discoverer(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := outside(t, append([]string{"discover"}, args...)...)
	agent := filepath.Join(filepath.Dir(cmd.Path), agentName)
	require.NoError(t, os.WriteFile(agent, []byte("#!/bin/sh\ncat <<'EOF'\n"+agentAnswer+"EOF\n"), 0o755))
	cmd.Env = append(cmd.Env, "PATH="+os.Getenv("PATH"))
	return cmd
}

// discovered runs it and reads its JSON.
func discovered(t *testing.T, cmd *exec.Cmd) (discoverOutput, int) {
	t.Helper()
	stdout, code := silently(t, cmd)
	var out discoverOutput
	decoder := json.NewDecoder(bytes.NewReader(stdout))
	decoder.DisallowUnknownFields()
	require.NoError(t, decoder.Decode(&out))
	return out, code
}

func (out discoverOutput) find(t *testing.T, id string) containerOutput {
	t.Helper()
	i := slices.IndexFunc(out.Containers, func(c containerOutput) bool { return c.ID == id })
	require.GreaterOrEqual(t, i, 0, "no %s in %+v", id, out.Containers)
	return out.Containers[i]
}

// realConfig has a rule for nginx, and one for a receiver that there is not.
const realConfig = `
receivers:
  discovery:
    rules:
      - name: web
        rule: technology == "nginx" && port == 80
        receiver: nginx
        config: {endpoint: 'http://` + "`endpoint`" + `/status', password: '${env:NGINX_PASSWORD}'}
      - {name: cache, rule: 'technology == "redis"', receiver: redis}
`

// Real programs in containers of a real engine: recognised, by rule, by label, waited
// for, refused and ignored, the first time that it is asked.
func TestDiscoverOnAnEngine(t *testing.T) {
	engine := testkit.Docker(t)
	nginx := engine.NginxSpec(t)
	nginx.Name = "web"
	web := engine.RunContainer(t, nginx)
	exporter := engine.ExporterSpec(t)
	exporter.Name, exporter.Labels = "exporter", map[string]string{"prometheus.io/scrape": "true", "prometheus.io/port": "9100"}
	node := engine.RunContainer(t, exporter)
	asking := engine.RunContainer(t, testkit.ContainerSpec{Name: "asking", Labels: map[string]string{
		"io.opentelemetry.discovery.metrics.80/enabled": "true", "io.opentelemetry.discovery.metrics.80/scraper": "nginx",
		"io.opentelemetry.discovery.metrics.6379/scraper": "redis", "io.opentelemetry.discovery.metrics.6379/enabled": "true",
		"prometheus.io/scrape": "maybe",
	}})
	quiet := engine.RunContainer(t, testkit.ContainerSpec{Name: "quiet", Labels: map[string]string{"io.opentelemetry.discovery/ignore": "true"}})
	ended := engine.RunContainer(t, testkit.ContainerSpec{Name: "ended"})
	require.NoError(t, ended.Stop(t.Context()))
	testkit.Eventually(t, 30*time.Second, func() error { // they have just started
		return errors.Join(answers(t, web, ":80/status"), answers(t, node, ":9100/metrics"))
	})

	args := []string{"--endpoint", engine.Host(), "--config", written(t, realConfig)}
	begun := time.Now()
	out, code := discovered(t, discoverer(t, append(args, "-o", "json")...))
	t.Logf("answered within %v", time.Since(begun))
	require.Equal(t, exitFailed, code, "something is refused")
	require.Empty(t, out.Notes)
	require.Len(t, out.Problems, 1)
	require.Contains(t, out.Problems[0], `no receiver "redis"`)
	require.Equal(t, []string{"cache"}, out.UnmatchedRules)

	got := out.find(t, web.ID)
	require.Equal(t, technologyOutput{Name: "nginx", Port: 80, Confidence: "certain", By: "executable nginx"}, got.Technologies[0])
	require.Len(t, got.Starts, 1)
	require.Equal(t, "nginx", got.Starts[0].Receiver)
	require.Equal(t, "web", got.Starts[0].Rule)
	require.Equal(t, []string{"metrics"}, got.Starts[0].Signals)
	require.Equal(t, "http://"+got.Starts[0].Endpoint+"/status", got.Starts[0].Config["endpoint"])
	require.Equal(t, "${env:NGINX_PASSWORD}", got.Starts[0].Config["password"])
	require.Equal(t, map[string]string{"container.id": web.ID, "container.runtime.name": "docker"}, got.Starts[0].Resource)

	got = out.find(t, node.ID)
	require.Len(t, got.Starts, 1)
	require.Equal(t, "prometheus", got.Starts[0].Receiver)
	require.False(t, got.Starts[0].FromRule)
	require.Contains(t, got.Starts[0].Why, ":9100")

	got = out.find(t, asking.ID)
	require.Empty(t, got.Starts)
	require.Len(t, got.Refused, 1)
	require.Contains(t, got.Refused[0].Error, "maybe")
	require.Len(t, got.Waiting, 2)

	require.True(t, out.find(t, quiet.ID).Ignored)
	for _, c := range out.Containers {
		require.NotEqual(t, ended.ID, c.ID)
	}
	var text bytes.Buffer
	cmd := discoverer(t, append(args, "--container", web.Name)...)
	cmd.Stdout = &text
	_ = cmd.Run()
	t.Log(text.String())
	require.Contains(t, text.String(), "START    nginx  metrics")
	require.NotContains(t, text.String(), node.Name)
}

// answers tells whether something in a container serves a page.
func answers(t *testing.T, c *testkit.Container, page string) error {
	result, err := c.Exec(t.Context(), "wget", "-q", "-O", "/dev/null", "http://127.0.0.1"+page)
	if err == nil && result.ExitCode != 0 {
		err = fmt.Errorf("%s of %s: %s", page, c.Name, result.Output)
	}
	return err
}

// lockedBuffer is written by a process and read by the test.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) has(part string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !strings.Contains(l.b.String(), part) {
		return fmt.Errorf("no %q in %s", part, l.b.String())
	}
	return nil
}

// --watch tells of what comes and goes, and ends well when it is told to.
func TestDiscoverWatch(t *testing.T) {
	engine := testkit.Docker(t)
	cmd := discoverer(t, "--endpoint", engine.Host(), "--watch")
	out := &lockedBuffer{}
	cmd.Stdout, cmd.Stderr = out, out
	require.NoError(t, cmd.Start())
	const soon = 30 * time.Second
	testkit.Eventually(t, soon, func() error { return out.has("Containers: ") })
	c := engine.RunContainer(t, testkit.ContainerSpec{
		Name: "late", Cmd: []string{"sh", "-c", "mkdir -p /tmp/w; exec httpd -f -p 8080 -h /tmp/w"},
		Labels: map[string]string{"prometheus.io/scrape": "true"},
	})
	testkit.Eventually(t, soon, func() error { return out.has("asked for by prometheus.io") })
	require.NoError(t, c.Stop(t.Context()))
	testkit.Eventually(t, soon, func() error { return out.has(c.Name + "  " + testkit.Busybox + "  " + c.ID[:shortID] + " is gone") })
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, cmd.Wait(), "%+v", out.has("nothing"))
}

// A user who may read nothing is told so, and gets an answer.
func TestDiscoverAsNobody(t *testing.T) {
	testkit.NeedRoot(t) // to become nobody
	cmd := discoverer(t, "--endpoint", "none", "-o", "json")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	group := testkit.Cgroup(t, "/docker/"+id("e"))
	testkit.Run(t, group, "sleep", "1000")
	out, code := discovered(t, cmd)
	require.Equal(t, exitOK, code, "%+v", out)
	require.True(t, slices.ContainsFunc(out.Notes, func(n string) bool { return strings.Contains(n, "by this user") }), "%v", out.Notes)
	got := out.find(t, id("e"))
	require.Empty(t, got.Name)
	require.Empty(t, got.Starts)
}

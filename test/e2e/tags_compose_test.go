package e2e_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

const (
	// fewestTags is what every signal of a container must carry, and
	// fewestComposeTags one of a Compose service on a host that has tags.
	fewestTags, fewestComposeTags = 12, 20

	composeFile = `version: "3"
services:
  web:
    build: .
    command: [sh, -c, "while [ ! -e /tmp/go ]; do sleep 0.05; done; echo hello of web; exec sleep 2147483647"]
    networks: [front, back]
  api:
    image: tallyman-test/busybox:1
    command: [sh, -c, "while [ ! -e /tmp/go ]; do sleep 0.05; done; echo hello of api; exec sleep 2147483647"]
    environment: {OTEL_RESOURCE_ATTRIBUTES: "deployment.environment.name=staging"}
    networks: [back]
  db:
    image: tallyman-test/busybox:1
    command: [sh, -c, "while [ ! -e /tmp/go ]; do sleep 0.05; done; echo hello of db; exec sleep 2147483647"]
    labels: {com.datadoghq.tags.version: "15"}
    networks: [back]
networks: {front: {}, back: {}}
`
	composeImage = `FROM tallyman-test/busybox:1
LABEL org.opencontainers.image.version=2.3.1 \
      org.opencontainers.image.revision=8f4c1d2e3b5a69788796a5b4c3d2e1f0a9b8c7d6 \
      org.opencontainers.image.source=https://git.example/shop/web
`
)

// Every signal of each service of a Compose project says what it belongs to:
// metrics of the kernel, spans and records sent from within, and what it writes.
// Nothing is configured for it but the two tags of the host.
func TestComposeTags(t *testing.T) {
	t.Parallel()
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "docker", "docker-compose")
	engine := testkit.Docker(t)
	_, port, err := net.SplitHostPort(freePorts(t, 1)[0])
	require.NoError(t, err)
	endpoint := net.JoinHostPort(bridgeGateway(t, engine), port)
	sink := testkit.NewSink(t)
	s := tagSettings(sink, engine.Host(),
		"receivers::otlp::protocols::http::endpoint: "+endpoint,
		"processors::container_tag::peer_address: true",
		// An engine that makes three containers at once on a busy machine takes longer
		// than the default to tell of the first.
		"processors::container_tag::wait: 5s",
		"processors::container_tag::host_tags: {role: shop-host, team: front}")
	s.env = append(s.env, "TALLYMAN_DOCKER_ROOT="+dockerRoot(t, engine))
	a := follow(t, sink, s)
	a.otlpHTTP = endpoint
	// What is written from now on is new to the agent, and not the past.
	testkit.Eventually(t, soon, (&logAgent{settings: settings{state: a.state}}).hasLooked)

	p := startProject(t, engine)
	for _, service := range []string{"web", "api", "db"} {
		want := p.tags(t, service)
		require.GreaterOrEqual(t, len(want), fewestComposeTags)
		t.Run(service+" metrics", func(t *testing.T) { a.composeMetrics(t, want) })
		t.Run(service+" stdout", func(t *testing.T) { a.composeStdout(t, engine, want) })
		t.Run(service+" peer", func(t *testing.T) { a.composePeer(t, engine, want) })
		t.Run(service+" named", func(t *testing.T) { a.composeNamed(t, engine, want) })
	}
	log, code := a.stop()
	require.Zero(t, code)
	require.Empty(t, complaints(log))
}

// project is a started Compose project.
type project struct {
	engine *testkit.Engine
	name   string
}

func startProject(t *testing.T, engine *testkit.Engine) *project {
	t.Helper()
	_, err := engine.BusyboxImage(t.Context())
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "docker-compose.yml"), []byte(composeFile), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(composeImage), 0o600))
	p := &project{engine: engine, name: fmt.Sprintf("tagtest%08x", rand.Uint32())}
	compose := func(args ...string) {
		t.Helper()
		cmd := exec.Command("docker-compose", append([]string{"-p", p.name}, args...)...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "DOCKER_HOST="+engine.Host())
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "docker-compose %v: %s", args, out)
	}
	t.Cleanup(func() { compose("down", "--volumes", "--timeout", "1", "--rmi", "local") })
	compose("up", "--detach", "--build")
	return p
}

// tags are what every signal of a service must carry. What the engine has made
// up (ids, its version) is what docker inspect says; the rest is written here.
func (p *project) tags(t *testing.T, service string) map[string]any {
	t.Helper()
	name := p.name + "_" + service + "_1"
	found, err := p.engine.Client().ContainerInspect(t.Context(), name, client.ContainerInspectOptions{})
	require.NoError(t, err)
	version, err := p.engine.Client().ServerVersion(t.Context(), client.ServerVersionOptions{})
	require.NoError(t, err)
	require.Equal(t, "/"+name, found.Container.Name)
	require.Equal(t, "sh", found.Container.Path)
	tags := withHost(t, map[string]any{
		"container.id": found.Container.ID, "container.name": name,
		"container.image.name": "tallyman-test/busybox", "container.image.tags": []any{"1"},
		"container.image.id":     found.Container.Image,
		"container.runtime.name": "docker", "container.runtime.version": version.Version,
		"container.command": "sh", "docker.network.names": []any{p.name + "_back"},
		"docker.compose.project": p.name, "docker.compose.service": service, "docker.compose.container_number": "1",
		"service.name": service, "service.namespace": p.name,
		"role": "shop-host", "team": "front",
	})
	maps.Copy(tags, map[string]map[string]any{
		"web": {
			"container.image.name": p.name + "_web", "container.image.tags": []any{"latest"},
			"docker.network.names": []any{p.name + "_back", p.name + "_front"}, "service.version": "2.3.1",
			"vcs.ref.head.revision":   "8f4c1d2e3b5a69788796a5b4c3d2e1f0a9b8c7d6",
			"vcs.repository.url.full": "https://git.example/shop/web",
		},
		"api": {"deployment.environment.name": "staging"},
		"db":  {"service.version": "15"},
	}[service])
	for network := range found.Container.NetworkSettings.Networks {
		require.Contains(t, tags["docker.network.names"], network)
	}
	return tags
}

// composeMetrics: not only the latest point is tagged, but each since the first.
// That one may be older than the second network, which Compose adds on its own.
func (a *tagAgent) composeMetrics(t *testing.T, want map[string]any) {
	id, _ := want["container.id"].(string)
	d := a.wait(t, func() (delivery, error) {
		d, err := a.point(id, "container.cpu.time", nil)
		return d, errors.Join(err, hasTags(d.resource, want))
	})
	require.Equal(t, scopeCgroup, d.scope)
	require.Equal(t, a.seen[id], a.tagged[id], "resources of metrics, and those with a name")
}

// composeStdout has the container write its line only now, when its networks are
// as they will be.
func (a *tagAgent) composeStdout(t *testing.T, engine *testkit.Engine, want map[string]any) {
	service, _ := want["docker.compose.service"].(string)
	name, _ := want["container.name"].(string)
	inside(t, engine, name, "touch", "/tmp/go")
	d := a.wait(t, func() (delivery, error) {
		return a.record(func(d delivery) bool {
			return d.body == "hello of "+service && d.resource["container.id"] == want["container.id"]
		})
	})
	require.Equal(t, map[string]any{"log.iostream": "stdout"}, d.attributes)
	require.NoError(t, hasTags(d.resource, want))
}

// composePeer sends what names no container: it is known by its address. The
// name that an SDK makes up is none.
func (a *tagAgent) composePeer(t *testing.T, engine *testkit.Engine, want map[string]any) {
	name, _ := want["container.name"].(string)
	resource := map[string]any{"service.name": "unknown_service:sh", "telemetry.sdk.name": "opentelemetry"}
	mark := "peer " + name
	inside(t, engine, name, a.wget("/v1/traces", spanJSON(t, mark, resource))...)
	inside(t, engine, name, a.wget("/v1/logs", recordJSON(t, mark, resource))...)
	a.requireMarked(t, mark, want)
}

// composeNamed sends what says its container, and a name of its own, which stays.
func (a *tagAgent) composeNamed(t *testing.T, engine *testkit.Engine, want map[string]any) {
	name, _ := want["container.name"].(string)
	resource := map[string]any{"container.id": want["container.id"], "service.name": "its-own-name", "process.pid": 1}
	want = maps.Clone(want)
	want["service.name"] = "its-own-name"
	mark := "named " + name
	inside(t, engine, name, a.wget("/v1/traces", spanJSON(t, mark, resource))...)
	inside(t, engine, name, a.wget("/v1/logs", recordJSON(t, mark, resource))...)
	a.requireMarked(t, mark, want)
}

// requireMarked waits for the span and the record of that mark.
func (a *tagAgent) requireMarked(t *testing.T, mark string, want map[string]any) {
	t.Helper()
	span := a.wait(t, func() (delivery, error) { return a.span(func(d delivery) bool { return d.name == mark }) })
	require.NoError(t, hasTags(span.resource, want), "the span")
	record := a.wait(t, func() (delivery, error) { return a.record(func(d delivery) bool { return d.body == mark }) })
	require.NoError(t, hasTags(record.resource, want), "the record")
}

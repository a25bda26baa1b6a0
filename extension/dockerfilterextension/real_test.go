package dockerfilterextension

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/policy"
	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/vectors"
	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/internal/unixsocket"
)

// planted is what must never be seen, wherever it was put.
const planted = "pl4nted-S3cret-0d1f"

// mark is the value of a label by which this test process' containers are told
// from those of others on the same engine.
func mark() string { return "by-" + strconv.Itoa(os.Getpid()) }

// withSecrets is a container that has one in every place where people put them.
func withSecrets(t *testing.T, e *testkit.Engine) *testkit.Container {
	t.Helper()
	c := e.RunContainer(t, testkit.ContainerSpec{
		Name: "secrets", NetworkMode: "bridge",
		Env:    []string{"DB_PASSWORD=" + planted, "OTEL_RESOURCE_ATTRIBUTES=team=a,token=" + planted},
		Labels: map[string]string{"seen": mark(), "my.token": planted, "db.url": "postgres://u:" + planted + "@db/x"},
		Cmd:    []string{"sh", "-c", "sleep 1000 # " + planted},
		Adjust: func(c *container.Config, h *container.HostConfig) {
			c.Healthcheck = &container.HealthConfig{Test: []string{"CMD-SHELL", "echo " + planted}}
			h.LogConfig = container.LogConfig{Type: "json-file", Config: map[string]string{"labels": planted}}
		},
	})
	_, err := c.Exec(t.Context(), "sh", "-c", "true "+planted)
	require.NoError(t, err)
	return c
}

// Docker's own command line program through the filter.
func TestDockerCommand(t *testing.T) {
	testkit.NeedCommand(t, "docker")
	e := testkit.Docker(t)
	c := withSecrets(t, e)
	r := start(t, e.Host(), nil)
	docker := func(args ...string) (string, error) {
		cmd := exec.Command("docker", append([]string{"-H", "unix://" + r.socket}, args...)...)
		out, err := cmd.CombinedOutput()
		require.NotContains(t, string(out), planted, args)
		return string(out), err
	}
	for _, f := range []struct {
		args string
		want string
	}{
		{"ps -a --no-trunc", c.ID},
		{"inspect " + c.Name, c.ID},
		{"inspect --format {{.Config.Env}} " + c.Name, "DB_PASSWORD=***"},
		{"stats --no-stream " + c.Name, "%"},
		{"events --since 1h --until 0s", "container start"},
		{"info", "Server Version"},
		{"version", "API version"},
		{"images", "REPOSITORY"},
		{"network ls", "bridge"},
		{"volume ls", "DRIVER"},
	} {
		out, err := docker(strings.Fields(f.args)...)
		require.NoError(t, err, "%s: %s", f.args, out)
		require.Contains(t, out, f.want, f.args)
	}
	for _, f := range []struct{ args, message string }{
		{"top " + c.Name, "container.top is not allowed for this client (profile monitoring)"},
		{"logs " + c.Name, "container.logs is not allowed"},
		{"inspect nosuch", "No such object: nosuch"},
		{"exec " + c.Name + " true", "is not allowed on this socket: it only reads"},
		{"rm -f " + c.Name, "is not allowed on this socket: it only reads"},
		{"run --rm " + testkit.Busybox + " true", "is not allowed on this socket: it only reads"},
		{"cp " + c.Name + ":/etc/hostname -", "not allowed on this socket"},
		{"kill " + c.Name, "is not allowed on this socket: it only reads"},
	} {
		out, err := docker(strings.Fields(f.args)...)
		require.Error(t, err, f.args)
		require.Contains(t, out, f.message, f.args)
	}
}

// The moby client for Go, as this process: the profile agent.
func TestGoClient(t *testing.T) {
	e := testkit.Docker(t)
	c := withSecrets(t, e)
	r := start(t, e.Host(), nil)
	api, err := client.New(client.WithHost("unix://" + r.socket))
	require.NoError(t, err)
	defer api.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err = api.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true})
	require.NoError(t, err)
	list, err := api.ContainerList(ctx, client.ContainerListOptions{All: true})
	require.NoError(t, err)
	require.NotEmpty(t, list.Items)
	inspect, err := api.ContainerInspect(ctx, c.ID, client.ContainerInspectOptions{})
	require.NoError(t, err)
	require.Equal(t, c.PID, inspect.Container.State.Pid)
	_, err = api.ContainerKill(ctx, c.ID, client.ContainerKillOptions{})
	require.ErrorContains(t, err, "it only reads")
	events := api.Events(ctx, client.EventsListOptions{})
	_, err = c.Exec(ctx, "true")
	require.NoError(t, err)
	select {
	case event := <-events.Messages:
		require.Equal(t, c.ID, event.Actor.ID)
	case err := <-events.Err:
		t.Fatal(err)
	}
}

// What we answer with 200 is the same route in the engine, and what is in the
// answer has no secret in it, whatever the profile.
func TestAgainstEngine(t *testing.T) {
	e := testkit.Docker(t)
	c := withSecrets(t, e)
	for _, profile := range []string{"monitoring", "traefik", "cadvisor", "datadog", "logs", "swarm-read"} {
		r := start(t, e.Host(), func(cfg *Config) {
			cfg.Clients = []policy.ClientConfig{{
				Match: policy.MatchConfig{HostUID: []int64{0}}, Profile: profile, Allow: []string{"image-history", "df", "sizes"},
			}}
			cfg.Limits.RPS, cfg.Limits.Burst = 1000, 1000
		})
		answered := 0
		for _, row := range vectors.Rows(t, "docker-endpoints.tsv") {
			if row[1] != http.MethodGet || strings.Contains(row[2], "/logs") {
				continue
			}
			if strings.HasSuffix(row[2], "/events") {
				_, body := r.getAs(row[2]+"?since=1&until="+strconv.FormatInt(time.Now().Unix(), 10), nil)
				require.NotContains(t, body, planted, profile)
				require.Equal(t, profile != "cadvisor", strings.Contains(body, c.ID), profile)
				continue
			}
			path := strings.NewReplacer(
				"4f0c1d2e3a4b", map[bool]string{true: "bridge", false: c.ID}[strings.Contains(row[2], "/networks/")],
				"registry.example/team/app:1.2", testkit.Busybox,
			).Replace(row[2])
			if strings.HasSuffix(path, "/stats") {
				path += "?stream=0"
			}
			status, body := r.getAs(path, nil)
			require.NotContains(t, body, planted, "%s %s", profile, path)
			if status != http.StatusOK {
				continue
			}
			answered++
			direct := &rig{t: t, socket: strings.TrimPrefix(e.Host(), "unix://")}
			engineStatus, engineBody := direct.get(path)
			require.Equal(t, http.StatusOK, engineStatus, path)
			var ours, theirs any
			require.NoError(t, json.Unmarshal([]byte(orNull(body)), &ours), path)
			require.NoError(t, json.Unmarshal([]byte(orNull(engineBody)), &theirs), path)
			require.IsType(t, theirs, ours, path)
		}
		require.GreaterOrEqual(t, answered, 5, profile)
	}
}

// orNull makes the text of /_ping a document.
func orNull(body string) string {
	if body == "OK" {
		return "null"
	}
	return body
}

// Root in a container is not the host's root (A103), with the host's pids
// neither; and a container is known by its label.
func TestContainersAsClients(t *testing.T) {
	e := testkit.Docker(t)
	c := withSecrets(t, e)
	r := start(t, e.Host(), func(cfg *Config) {
		cfg.DefaultProfile = "none"
		cfg.Clients = []policy.ClientConfig{
			{Match: policy.MatchConfig{HostUID: []int64{0}}, Profile: "monitoring"},
			{
				Match:   policy.MatchConfig{ContainerLabel: map[string]string{"reads.docker": "yes"}},
				Profile: "monitoring", Visible: policy.VisibleConfig{Label: "seen=" + mark()},
			},
		}
	})
	binary := r.clientBinary()
	ask := func(spec testkit.ContainerSpec, path string) answerOf {
		t.Helper()
		dir := r.socket[:strings.LastIndexByte(r.socket, '/')]
		spec.NetworkMode = "none"
		spec.Binds = []string{binary + ":/client:ro", dir + ":/run/docker:ro"}
		spec.Cmd = []string{"/client", "-test.run=^TestHiddenContainers$"}
		spec.Env = []string{clientEnv + "=/run/docker/docker.sock", pathEnv + "=" + path}
		asking := e.RunContainer(t, spec)
		var a answerOf
		r.eventually(func() error {
			out, err := asking.Logs(t.Context())
			if err != nil {
				return err
			}
			i := bytes.IndexByte([]byte(out), '{')
			if i < 0 {
				return errNotYet
			}
			return json.NewDecoder(strings.NewReader(out[i:])).Decode(&a)
		})
		return a
	}
	require.Equal(t, 403, ask(testkit.ContainerSpec{}, "/containers/json").Status)
	require.Equal(t, 403, ask(testkit.ContainerSpec{PidMode: "host"}, "/containers/json").Status)
	allowed := ask(testkit.ContainerSpec{Labels: map[string]string{"reads.docker": "yes"}}, "/containers/json?all=1")
	require.Equal(t, 200, allowed.Status, allowed.Body)
	require.Contains(t, allowed.Body, c.ID)
	require.Equal(t, 1, strings.Count(allowed.Body, `"Id":`), "not even itself: %s", allowed.Body)
	user := testkit.ContainerSpec{Labels: map[string]string{"reads.docker": "yes"}, Adjust: func(c *container.Config, _ *container.HostConfig) { c.User = "1234" }}
	require.Equal(t, 200, ask(user, "/containers/"+c.Name+"/json").Status)
	require.Equal(t, 404, ask(user, "/containers/"+c.Name[:3]+"nosuch/json").Status)
	status, _ := r.getAs("/containers/json", nil)
	require.Equal(t, 200, status, "the host's root")
	for _, entry := range r.logs.FilterMessage("docker.api.access").All() {
		fields := entry.ContextMap()
		require.Equal(t, "deny", fields["decision"])
		require.Equal(t, "container", fields["client.kind"])
		require.Len(t, fields["client.container.id"], 64)
	}
}

// A live socket is never taken over, a dead one is, and what is no socket stays.
func TestSocketInTheWay(t *testing.T) {
	e := newFakeEngine(t)
	r := start(t, e.upstream, nil)
	path := r.socket
	listen := func(path string, access SocketConfig) (net.Listener, error) {
		return unixsocket.Listen(t.Context(), path, access.apply)
	}
	_, err := listen(path, SocketConfig{Mode: "0600"})
	require.ErrorIs(t, err, unixsocket.ErrInUse)
	status, _ := r.get("/version")
	require.Equal(t, 200, status)

	dead := path + "-dead"
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
	require.NoError(t, err)
	listener.SetUnlinkOnClose(false)
	require.NoError(t, listener.Close())
	again, err := listen(dead, SocketConfig{Mode: "0600"})
	require.NoError(t, err)
	require.NoError(t, again.Close())

	_, err = listen("/proc/self/exe", SocketConfig{Mode: "0600"})
	require.ErrorContains(t, err, "no socket")
	_, err = listen(fmt.Sprintf("%s-2", path), SocketConfig{Mode: "0600", Owner: "nobody-of-that-name"})
	require.ErrorContains(t, err, "socket.owner")
}

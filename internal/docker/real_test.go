package docker

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// short is a container that is there for 200 ms and is removed by the engine.
func short(code int) testkit.ContainerSpec {
	return testkit.ContainerSpec{
		NetworkMode: "none", Labels: map[string]string{"who": "short"},
		Cmd:    []string{"sh", "-c", "sleep 0.2; exit " + strconv.Itoa(code)},
		Adjust: func(_ *container.Config, h *container.HostConfig) { h.AutoRemove = true },
	}
}

// create makes and starts a container without asking about it later.
func create(t *testing.T, e *testkit.Engine, spec testkit.ContainerSpec) string {
	t.Helper()
	image, err := e.BusyboxImage(t.Context())
	require.NoError(t, err)
	config := &container.Config{Image: image, Cmd: spec.Cmd, Labels: spec.Labels}
	host := &container.HostConfig{NetworkMode: container.NetworkMode(spec.NetworkMode)}
	if spec.Adjust != nil {
		spec.Adjust(config, host)
	}
	created, err := e.Client().ContainerCreate(t.Context(), client.ContainerCreateOptions{Name: spec.Name, Config: config, HostConfig: host})
	require.NoError(t, err)
	_, err = e.Client().ContainerStart(t.Context(), created.ID, client.ContainerStartOptions{})
	require.NoError(t, err)
	return created.ID
}

func TestLifeOfAContainer(t *testing.T) {
	e := testkit.Docker(t)
	r := newTape()
	watch(t, WatcherOptions{Endpoint: e.Host(), Images: true}, r)
	r.waitFor(t, "synced", 1)
	c := e.RunContainer(t, testkit.ContainerSpec{
		Name: "life", NetworkMode: "none", Labels: map[string]string{"who": "life"}, Env: []string{"A=b"}, Cmd: []string{"sleep", "1000"},
	})
	ctx := t.Context()
	r.waitFor(t, "start "+c.ID, 1)
	told := r.last(c.ID)
	require.Equal(t, c.Name, told.Name)
	require.Equal(t, testkit.Busybox, told.ImageRef)
	require.Equal(t, []string{testkit.Busybox}, told.ImageTags)
	require.Equal(t, "sleep", told.Command)
	require.Equal(t, "life", told.Labels["who"])
	require.Equal(t, "b", told.Env["A"])
	require.Equal(t, "none", told.NetworkMode)
	require.Equal(t, []Network{{Name: "none"}}, told.Networks)
	require.Equal(t, c.PID, told.State.Pid)
	require.Equal(t, "docker", r.engine.Runtime)
	require.NotEmpty(t, r.engine.APIVersion)

	_, err := c.Exec(ctx, "sh", "-c", "true secret")
	require.NoError(t, err)
	_, err = e.Client().ContainerPause(ctx, c.ID, client.ContainerPauseOptions{})
	require.NoError(t, err)
	_, err = e.Client().ContainerUnpause(ctx, c.ID, client.ContainerUnpauseOptions{})
	require.NoError(t, err)
	_, err = e.Client().ContainerRename(ctx, c.ID, client.ContainerRenameOptions{NewName: c.Name + "-new"})
	require.NoError(t, err)
	require.NoError(t, c.Kill(ctx, "SIGKILL"))
	r.waitFor(t, "die "+c.ID, 1)
	require.NoError(t, c.Remove(ctx))
	r.waitFor(t, "gone "+c.ID, 1)

	var own []string
	for _, action := range r.actions(c.ID) {
		switch action {
		case "connect", "disconnect": // whose order with start is the engine's affair
			continue
		case actionPause, actionUnpause:
			// dockerd 20.10 tells both once more when its containerd's word of
			// the pause comes after the container goes on.
			if slices.Contains(own, action) {
				continue
			}
		}
		own = append(own, action)
	}
	require.Equal(t, []string{"create", "start", "pause", "unpause", "rename", "kill", "die", "destroy"}, own, "%+v", r.of(c.ID))
	require.Equal(t, c.Name+"-new", r.last(c.ID).Name)
	for _, event := range r.of(c.ID) {
		switch event.Action {
		case "die":
			require.Equal(t, 137, *event.ExitCode)
		case "kill":
			require.Equal(t, "9", event.Signal)
		case "rename":
			require.Equal(t, c.Name, event.OldName)
		}
		require.False(t, event.Recovered)
		require.True(t, strings.HasPrefix(event.Name, c.Name), event)
	}
	require.True(t, r.before("put "+c.ID, "create "+c.ID))
	require.True(t, r.before("destroy "+c.ID, "gone "+c.ID))
}

// What the engine says of ports, and where they are published while it runs.
func TestPortsOfAContainer(t *testing.T) {
	e := testkit.Docker(t)
	r := newTape()
	watch(t, WatcherOptions{Endpoint: e.Host()}, r)
	r.waitFor(t, "synced", 1)
	web, dns := network.MustParsePort("8080/tcp"), network.MustParsePort("5353/udp")
	c := e.RunContainer(t, testkit.ContainerSpec{
		Name: "ports", Cmd: []string{"sleep", "1000"},
		Adjust: func(c *container.Config, h *container.HostConfig) {
			c.Hostname = "calls-itself"
			c.ExposedPorts = network.PortSet{web: {}, dns: {}}
			h.PortBindings = network.PortMap{web: {{HostIP: netip.MustParseAddr("127.0.0.1")}}}
		},
	})
	r.waitFor(t, "start "+c.ID, 1)
	told := r.last(c.ID)
	require.Equal(t, "calls-itself", told.Hostname)
	require.Len(t, told.Ports, 2)
	require.Equal(t, Port{Number: 5353, Protocol: "udp"}, told.Ports[0])
	published := told.Ports[1]
	require.NotZero(t, published.HostPort)
	require.Equal(t, Port{Number: 8080, Protocol: "tcp", HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: published.HostPort}, published)

	require.NoError(t, c.Kill(t.Context(), "SIGKILL"))
	r.waitFor(t, "die "+c.ID, 1)
	require.Equal(t, []Port{{Number: 5353, Protocol: "udp"}, {Number: 8080, Protocol: "tcp"}}, r.last(c.ID).Ports, "exposed still")
}

func TestShortLife(t *testing.T) {
	e := testkit.Docker(t)
	r := newTape()
	watch(t, WatcherOptions{Endpoint: e.Host(), EventTypes: []string{"container"}}, r)
	r.waitFor(t, "synced", 1)
	spec := short(3)
	spec.Name = fmt.Sprintf("short-%d", os.Getpid())
	c := create(t, e, spec)
	r.waitFor(t, "gone "+c, 1)
	require.Equal(t, []string{"create", "start", "die", "destroy"}, r.actions(c))
	require.True(t, r.before("put "+c, "die "+c))
	told := r.last(c)
	require.Equal(t, []string{spec.Name, testkit.Busybox, "short"}, []string{told.Name, told.ImageRef, told.Labels["who"]})
	require.Equal(t, 3, *r.of(c)[2].ExitCode)
}

func TestNetworkAndHealth(t *testing.T) {
	e := testkit.Docker(t)
	r := newTape()
	watch(t, WatcherOptions{Endpoint: e.Host()}, r)
	r.waitFor(t, "synced", 1)
	ctx := t.Context()
	c := e.RunContainer(t, testkit.ContainerSpec{
		Name: "health", NetworkMode: "bridge",
		Adjust: func(c *container.Config, _ *container.HostConfig) {
			c.Healthcheck = &container.HealthConfig{
				Test: []string{"CMD-SHELL", "test ! -e /tmp/ill"}, Interval: 100 * time.Millisecond, Timeout: 10 * time.Second, Retries: 1,
			}
		},
	})
	health := func(want string) {
		t.Helper()
		testkit.Eventually(t, patience, func() error {
			told := r.last(c.ID)
			if told == nil || told.State.Health != want || !slices.ContainsFunc(r.of(c.ID), func(e Event) bool { return e.Health == want }) {
				return fmt.Errorf("%w: %+v", errNotYet, told)
			}
			return nil
		})
	}
	health("healthy")
	_, err := c.Exec(ctx, "touch", "/tmp/ill")
	require.NoError(t, err)
	health("unhealthy")
	require.Len(t, r.last(c.ID).Networks, 1)

	name := fmt.Sprintf("docker-test-%d", os.Getpid())
	created, err := e.Client().NetworkCreate(ctx, name, client.NetworkCreateOptions{})
	require.NoError(t, err)
	defer func() {
		_, err := e.Client().NetworkRemove(context.Background(), created.ID, client.NetworkRemoveOptions{})
		require.NoError(t, err)
	}()
	_, err = e.Client().NetworkConnect(ctx, created.ID, client.NetworkConnectOptions{Container: c.ID})
	require.NoError(t, err)
	connected := func(action string, networks int) {
		t.Helper()
		testkit.Eventually(t, patience, func() error {
			if !slices.ContainsFunc(r.of(c.ID), func(e Event) bool {
				return e.Action == action && e.Network == name && e.ID == created.ID && e.Name == c.Name
			}) {
				return errNotYet
			}
			return nil
		})
		require.Len(t, r.last(c.ID).Networks, networks)
	}
	connected("connect", 2)
	for _, n := range r.last(c.ID).Networks {
		require.NotEmpty(t, n.Addresses, n)
	}
	_, err = e.Client().NetworkDisconnect(ctx, created.ID, client.NetworkDisconnectOptions{Container: c.ID, Force: true})
	require.NoError(t, err)
	connected("disconnect", 1)
}

// An orderly restart of the engine kills its containers; each has one end and
// is found within 2 s.
func TestEngineRestart(t *testing.T) {
	p := private(t)
	e := p.start()
	r := newTape()
	watch(t, WatcherOptions{Endpoint: e.Host()}, r)
	r.waitFor(t, "synced", 1)
	var ids []string
	for range 3 {
		c, err := e.StartContainer(t.Context(), testkit.ContainerSpec{NetworkMode: "none"})
		require.NoError(t, err)
		ids = append(ids, c.ID)
	}
	r.waitFor(t, "start "+ids[2], 1)
	require.NoError(t, e.Stop())
	r.waitFor(t, "disconnected", 1)
	begun := time.Now()
	e = p.start()
	ready := time.Now()
	r.waitFor(t, "synced", 2)
	t.Logf("engine up after %v, synced %v later", ready.Sub(begun), time.Since(ready))
	require.Less(t, time.Since(ready), atOnce)
	for _, c := range ids {
		r.waitFor(t, "die "+c, 1)
		_, err := e.Client().ContainerStart(t.Context(), c, client.ContainerStartOptions{})
		require.NoError(t, err)
		r.waitFor(t, "start "+c, 2)
	}
	want := map[string]int{}
	for _, c := range ids {
		want[c+" create"], want[c+" start"], want[c+" die"] = 1, 2, 1
	}
	require.Equal(t, want, withoutKills(r.tally(ids...)))
}

// The engine dies while containers come and go. Each of them has one of each
// event in the end, however the engine came to know.
func TestEngineKilled(t *testing.T) {
	p := private(t)
	e := p.start()
	r := newTape()
	w, _ := watch(t, WatcherOptions{Endpoint: e.Host(), EventTypes: []string{"container"}}, r)
	r.waitFor(t, "synced", 1)
	var ids []string
	for i := range 20 {
		spec := short(i)
		if i%2 == 0 {
			spec.Cmd, spec.Adjust = []string{"sleep", "1000"}, quickToStop
		}
		ids = append(ids, create(t, e, spec))
	}
	p.kill()
	r.waitFor(t, "disconnected", 1)
	e = p.start()
	ready := time.Now()
	r.waitFor(t, "synced", 2)
	require.Less(t, time.Since(ready), atOnce)
	for _, c := range ids { // those that the engine has not removed itself
		_, err := e.Client().ContainerRemove(t.Context(), c, client.ContainerRemoveOptions{Force: true})
		if err != nil && !strings.Contains(err.Error(), "already in progress") && !strings.Contains(err.Error(), "No such container") {
			t.Error(err)
		}
	}
	want := map[string]int{}
	for _, c := range ids {
		r.waitFor(t, "gone "+c, 1)
		want[c+" create"], want[c+" start"], want[c+" die"], want[c+" destroy"] = 1, 1, 1, 1
	}
	require.Equal(t, want, withoutKills(r.tally(ids...)))
	t.Logf("%+v", w.Stats())
}

// What the docker command line sees of the endpoint, Client sees.
func TestClientAgainstEngine(t *testing.T) {
	e := testkit.Docker(t)
	c := e.RunContainer(t, testkit.ContainerSpec{Name: "client", NetworkMode: "none"})
	api, err := NewClient(ClientOptions{Endpoint: e.Host()})
	require.NoError(t, err)
	defer api.Close()
	list, err := api.List(t.Context()) // in the oldest version
	require.NoError(t, err)
	engine, err := api.Engine(t.Context())
	require.NoError(t, err)
	out, err := exec.Command("docker", "-H", e.Host(), "version", "--format", "{{.Server.Version}}").Output()
	if !errors.Is(err, exec.ErrNotFound) {
		require.NoError(t, err)
		require.Equal(t, strings.TrimSpace(string(out)), engine.Version)
	}
	found := slices.IndexFunc(list, func(l *Container) bool { return l.ID == c.ID })
	require.GreaterOrEqual(t, found, 0)
	require.Equal(t, c.Name, list[found].Name)
	_, err = api.Inspect(t.Context(), id("f"))
	require.ErrorIs(t, err, ErrNotFound)
	_, err = api.Inspect(t.Context(), c.Name)
	require.ErrorIs(t, err, errNoID)
	inspected, err := api.Inspect(t.Context(), c.ID)
	require.NoError(t, err)
	for range 2 { // the second time without a question
		tags, _, err := api.Images(t.Context(), inspected.ImageID)
		require.NoError(t, err)
		require.Equal(t, []string{testkit.Busybox}, tags)
	}
	tags, digests, err := api.Images(t.Context(), "sha256:"+id("f"))
	require.NoError(t, err)
	require.Empty(t, append(tags, digests...), "an image that is gone")
}

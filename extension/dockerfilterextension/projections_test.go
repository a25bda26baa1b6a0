package dockerfilterextension

import (
	"context"
	"encoding/json"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/extension/extensiontest"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/metadata"
	"github.com/tallymanhq/tallyman/internal/docker"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// A component of this process asks for a variable: this process sees its value
// from then on, and nobody else does.
func TestAllowAgentEnv(t *testing.T) {
	testkit.NeedCommand(t, "docker")
	e := testkit.Docker(t)
	c := e.RunContainer(t, testkit.ContainerSpec{
		Name: "env", Env: []string{"TEAM=blue", "TIER_A=1", "OTHER=x", "TEAM_URL=https://u:" + planted + "@h/"},
		Cmd: []string{"sleep", "1000"},
	})
	r := start(t, e.Host(), nil)
	api, err := client.New(client.WithHost("unix://" + r.socket))
	require.NoError(t, err)
	defer api.Close()
	env := func() []string {
		inspect, err := api.ContainerInspect(t.Context(), c.ID, client.ContainerInspectOptions{})
		require.NoError(t, err)
		return inspect.Container.Config.Env
	}
	require.Contains(t, env(), "TEAM=***")

	var f docker.Filter = r.filter
	require.Equal(t, "unix://"+r.socket, f.DockerEndpoint())
	require.NoError(t, f.AllowAgentEnv([]string{"TEAM", "TEAM_URL"}))
	require.NoError(t, f.AllowAgentEnv([]string{"TEAM", "TIER_*"}))
	require.Subset(t, env(), []string{"TEAM=blue", "TIER_A=1", "OTHER=***", "TEAM_URL=***"})
	out, err := exec.Command("docker", "-H", "unix://"+r.socket, "inspect", "--format", "{{.Config.Env}}", c.ID).CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "TEAM=***")

	require.ErrorContains(t, f.AllowAgentEnv([]string{"A=B"}), `"A=B"`)
	require.Contains(t, env(), "TEAM=blue")
}

// What discovery needs of a container reaches this process: ports, where they are
// published, the host name, and the labels by which it asks to be collected from. Others
// see that there are such labels, and the values that they see of any label.
func TestAgentDiscovers(t *testing.T) {
	testkit.NeedCommand(t, "docker")
	e := testkit.Docker(t)
	const metrics = "io.opentelemetry.discovery.metrics"
	config := "endpoint: http://`endpoint`/status\n" + strings.Repeat("# longer than what others see\n", 10)
	web := network.MustParsePort("8080/tcp")
	c := e.RunContainer(t, testkit.ContainerSpec{
		Name: "discover", Cmd: []string{"sleep", "1000"},
		Labels: map[string]string{
			metrics + "/enabled": "true", metrics + "/config": config, metrics + ".6379/config": "password: " + planted,
			"prometheus.io/path": "/metrics",
		},
		Adjust: func(c *container.Config, h *container.HostConfig) {
			c.Hostname = "calls-itself"
			c.ExposedPorts = network.PortSet{web: {}, network.MustParsePort("9090/udp"): {}}
			h.PortBindings = network.PortMap{web: {{HostIP: netip.MustParseAddr("127.0.0.1")}}}
		},
	})
	r := start(t, e.Host(), nil)
	direct, filtered := read(t, e.Host(), c.ID), read(t, "unix://"+r.socket, c.ID)
	require.Len(t, direct.Ports, 2)
	require.NotZero(t, direct.Ports[0].HostPort)
	require.Equal(t, direct.Ports, filtered.Ports)
	require.Equal(t, "calls-itself", filtered.Hostname)
	require.Equal(t, direct.Networks, filtered.Networks)
	require.Equal(t, "***", filtered.Labels[metrics+".6379/config"])
	for _, key := range []string{metrics + "/enabled", metrics + "/config", "prometheus.io/path"} {
		require.Equal(t, direct.Labels[key], filtered.Labels[key], key)
	}
	out, err := exec.Command("docker", "-H", "unix://"+r.socket, "inspect", "--format", "{{json .Config.Labels}}", c.ID).CombinedOutput()
	require.NoError(t, err, string(out))
	var others map[string]string
	require.NoError(t, json.Unmarshal(out, &others))
	require.Equal(t, "true", others[metrics+"/enabled"])
	require.Equal(t, "***", others[metrics+"/config"])
	require.Equal(t, "***", others[metrics+".6379/config"])
}

// read is what the agent's watcher says of a container.
func read(t *testing.T, endpoint, id string) *docker.Container {
	t.Helper()
	w, err := docker.NewWatcher(docker.WatcherOptions{Endpoint: endpoint})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	one := &waiter{id: id, cancel: cancel}
	w.Run(ctx, one)
	require.NotNil(t, one.found, "nothing was told of the container")
	return one.found
}

// waiter waits for one container.
type waiter struct {
	docker.Handler
	id     string
	cancel func()
	found  *docker.Container
}

func (w *waiter) Connected(docker.Engine) {}
func (w *waiter) Gone(string)             {}
func (w *waiter) Event(docker.Event)      {}
func (w *waiter) Synced()                 {}
func (w *waiter) Disconnected(error)      {}
func (w *waiter) Put(c *docker.Container) {
	if c.ID == w.id && c.State.Pid != 0 {
		w.found = c
		w.cancel()
	}
}

func TestAllowAgentEnvBeforeStart(t *testing.T) {
	f, err := newFilter(createDefaultConfig().(*Config), extensiontest.NewNopSettings(metadata.Type))
	require.NoError(t, err)
	require.ErrorIs(t, f.AllowAgentEnv([]string{"A"}), errNotServing)
}

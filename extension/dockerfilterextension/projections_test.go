package dockerfilterextension

import (
	"os/exec"
	"testing"

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

func TestAllowAgentEnvBeforeStart(t *testing.T) {
	f, err := newFilter(createDefaultConfig().(*Config), extensiontest.NewNopSettings(metadata.Type))
	require.NoError(t, err)
	require.ErrorIs(t, f.AllowAgentEnv([]string{"A"}), errNotServing)
}

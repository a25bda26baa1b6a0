package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// The default configuration serves the filtered socket.
func TestFilteredSocket(t *testing.T) {
	t.Parallel()
	testkit.NeedCommand(t, "docker")
	engine := testkit.Docker(t)
	a := startAgent(t, settings{env: []string{"TALLYMAN_DOCKER_HOST=" + engine.Host()}})
	c := engine.RunContainer(t, testkit.ContainerSpec{Name: "filtered", Env: []string{"SECRET=planted-here"}})
	socket := "unix://" + filepath.Join(a.state, "docker.sock")
	out, err := exec.Command("docker", "-H", socket, "inspect", c.Name).CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), c.ID)
	require.Contains(t, string(out), "SECRET=***")
	require.NotContains(t, string(out), "planted-here")
	out, err = exec.Command("docker", "-H", socket, "rm", "-f", c.Name).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "it only reads")
	log, code := a.stop()
	require.Zero(t, code)
	require.Contains(t, log, "docker.api.access")
	require.Empty(t, complaints(log))
	require.NoFileExists(t, filepath.Join(a.state, "docker.sock"))
}

// The set-up of deploy/docker-filter on a real engine: one container has the
// engine's socket and no network, the agent the filtered one, and no way to the
// other.
func TestFilterInItsOwnContainer(t *testing.T) {
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "docker", "docker-compose")
	engine := testkit.Docker(t)
	env := append(os.Environ(), "DOCKER_HOST="+engine.Host(), "DOCKER_SOCKET_DIRECTORY="+filepath.Dir(engine.Socket()))
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir, cmd.Env = root, env
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s %v: %s", name, args, out)
		return string(out)
	}
	require.Equal(t, "docker.sock", filepath.Base(engine.Socket()))
	run("scripts/image.sh")
	compose := []string{"-p", "tallymantest", "-f", "deploy/docker-filter/compose.yaml"}
	t.Cleanup(func() { run("docker-compose", append(compose, "down", "-v", "-t", "2")...) })
	run("docker-compose", append(compose, "up", "-d")...)

	// Root on the host may use the safe socket; compose itself is a client of it.
	volume := strings.TrimSpace(run("docker", "volume", "inspect", "-f", "{{.Mountpoint}}", "tallymantest_socket"))
	safe := "unix://" + filepath.Join(volume, "docker.sock")
	testkit.Eventually(t, soon, func() error {
		cmd := exec.Command("docker-compose", append([]string{"-H", safe}, append(compose, "ps")...)...)
		cmd.Dir, cmd.Env = root, env
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "tallymantest_tallyman_1") {
			return fmt.Errorf("docker-compose ps: %w: %s", errors.Join(err, errMissing), out)
		}
		return nil
	})

	// The agent works: its page has the container of the filter.
	filter := strings.TrimSpace(run("docker", "inspect", "-f", "{{.Id}}", "tallymantest_docker-filter_1"))
	testkit.Eventually(t, soon, func() error {
		body, err := get("http://localhost:9464/metrics")
		if err == nil && !strings.Contains(string(body), filter) {
			err = errMissing
		}
		return err
	})

	for _, name := range []string{"tallymantest_docker-filter_1", "tallymantest_tallyman_1"} {
		require.Empty(t, complaints(run("docker", "logs", name)), name)
	}
	cannotReachEngine(t, engine, strings.TrimSpace(run("pgrep", "-o", "dockerd")))
}

// cannotReachEngine tries what the agent could do from a container with the same
// rights.
func cannotReachEngine(t *testing.T, engine *testkit.Engine, dockerd string) {
	t.Helper()
	agent, err := engine.Client().ContainerInspect(t.Context(), "tallymantest_tallyman_1", client.ContainerInspectOptions{})
	require.NoError(t, err)
	probe := engine.RunContainer(t, testkit.ContainerSpec{
		PidMode: "host",
		Cmd: shell(`find / -xdev -type s 2>/dev/null; find /run /var /hostfs -maxdepth 3 -type s 2>/dev/null
for p in 1 ` + dockerd + `; do for r in /proc /hostfs/proc; do ls $r/$p/root/ && echo REACHED; done; done; echo done; sleep 1000`),
		Adjust: func(_ *container.Config, h *container.HostConfig) {
			own := agent.Container.HostConfig
			h.CapAdd, h.CapDrop, h.SecurityOpt, h.Binds = own.CapAdd, own.CapDrop, own.SecurityOpt, own.Binds
			h.NetworkMode = "host"
		},
	})
	var said string
	testkit.Eventually(t, soon, func() error {
		if said, err = probe.Logs(t.Context()); err != nil || !strings.Contains(said, "done") {
			return errors.Join(err, errMissing)
		}
		return nil
	})
	require.NotContains(t, said, "REACHED")
	for line := range strings.Lines(said) {
		if strings.HasPrefix(line, "/") && strings.Contains(line, "docker.sock") {
			// The second one is what the agent's own filter makes of the first.
			require.Contains(t, []string{"/run/tallyman/docker.sock", "/var/lib/tallyman/docker.sock"}, strings.TrimSpace(line))
		}
	}
}

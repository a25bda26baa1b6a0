package testkit_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

func TestContainerLife(t *testing.T) {
	engine := testkit.Docker(t)
	const limit = 64 << 20
	c := engine.RunContainer(t, testkit.ContainerSpec{
		Name: "testkit-life", Memory: limit, MemorySwap: limit, NanoCPUs: 250_000_000, PidsLimit: 50,
		NetworkMode: "none", Labels: map[string]string{"dev.tallyman.test": "life"},
	})
	require.Len(t, c.ID, 64)
	require.True(t, strings.HasPrefix(c.Name, "testkit-life-"), c.Name)

	cgroup, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", c.PID))
	require.NoError(t, err)
	if !strings.Contains(string(cgroup), c.ID) {
		t.Errorf("process %d is not in a cgroup of container %s:\n%s", c.PID, c.ID, cgroup)
	}

	stats, err := c.Stats(t.Context())
	require.NoError(t, err)
	if stats.MemoryStats.Limit != limit {
		t.Errorf("memory limit is %d, want %d", stats.MemoryStats.Limit, limit)
	}
	if stats.MemoryStats.Usage == 0 || stats.PidsStats.Current != 1 || stats.PidsStats.Limit != 50 {
		t.Errorf("implausible stats: memory %d bytes, %d of %d tasks",
			stats.MemoryStats.Usage, stats.PidsStats.Current, stats.PidsStats.Limit)
	}

	before := c.PID
	require.NoError(t, c.Restart(t.Context()))
	if c.PID == before || c.PID == 0 {
		t.Errorf("after a restart process id is %d, before it was %d", c.PID, before)
	}
	require.NoError(t, c.Stop(t.Context()))
	info, err := c.Inspect(t.Context())
	require.NoError(t, err)
	if info.State.Running || info.State.ExitCode != 137 { // sleep as process 1 does not heed SIGTERM
		t.Errorf("after Stop state is %+v, want exit code 137 (SIGKILL)", info.State)
	}
}

func TestContainerExec(t *testing.T) {
	c := testkit.Docker(t).RunContainer(t, testkit.ContainerSpec{NetworkMode: "none"})
	result, err := c.Exec(t.Context(), "sh", "-c", "echo out; echo err >&2; exit 3")
	require.NoError(t, err)
	if result.ExitCode != 3 || !strings.Contains(result.Output, "out\n") || !strings.Contains(result.Output, "err\n") {
		t.Errorf("got %+v, want both outputs and exit code 3", result)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := c.Exec(ctx, "sleep", "1000"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("exec past its deadline: %v", err)
	}

	require.NoError(t, c.Kill(t.Context(), ""))
	testkit.Eventually(t, 30*time.Second, func() error {
		info, err := c.Inspect(t.Context())
		if err == nil && info.State.Running {
			err = errors.New("still running")
		}
		return err
	})
}

func TestContainerIsGoneAfterItsTest(t *testing.T) {
	engine := testkit.Docker(t)
	var c *testkit.Container
	t.Run("user", func(t *testing.T) {
		testkit.VerifyNoLeaks(t)
		c = engine.RunContainer(t, testkit.ContainerSpec{NetworkMode: "none"})
	})
	require.NotNil(t, c)
	if _, err := c.Inspect(t.Context()); !errdefs.IsNotFound(err) {
		t.Errorf("inspect after the test: %v, want not found", err)
	}
}

// The published port goes through iptables and the bridge: the parts of a
// private engine that depend most on the host.
func TestContainerNetwork(t *testing.T) {
	engine := testkit.Docker(t)
	web := engine.RunContainer(t, testkit.ContainerSpec{
		Cmd: []string{"httpd", "-f", "-p", "80", "-h", "/etc"},
	})
	info, err := web.Inspect(t.Context())
	require.NoError(t, err)
	address := ""
	for _, network := range info.NetworkSettings.Networks {
		address = network.IPAddress.String()
	}
	user := engine.RunContainer(t, testkit.ContainerSpec{})
	testkit.Eventually(t, 30*time.Second, func() error {
		result, err := user.Exec(t.Context(), "wget", "-qO-", "http://"+address+"/passwd")
		if err == nil && !strings.Contains(result.Output, "nobody") {
			err = fmt.Errorf("wget %s: exit code %d: %s", address, result.ExitCode, result.Output)
		}
		return err
	})
}

func TestStartContainerLeavesNothingOnError(t *testing.T) {
	engine := testkit.Docker(t)
	spec := testkit.ContainerSpec{
		Name: fmt.Sprintf("testkit-broken-%d", os.Getpid()), Cmd: []string{"/no/such/program"}, NetworkMode: "none",
		Adjust: func(c *container.Config, _ *container.HostConfig) { c.Hostname = "broken" },
	}
	for range 2 { // the second attempt would find the name taken
		_, err := engine.StartContainer(t.Context(), spec)
		require.ErrorContains(t, err, "/no/such/program")
	}
}

func TestPrivateEngine(t *testing.T) {
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "dockerd", "ip", "iptables")
	testkit.VerifyNoLeaks(t)
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 20)) // no room for a socket in there
	engine, err := testkit.StartEngine(t.Context(), dir, t.Logf)
	require.NoError(t, err)
	t.Cleanup(func() {
		if err := engine.Stop(); err != nil {
			t.Error(err)
		}
	})
	c, err := engine.StartContainer(t.Context(), testkit.ContainerSpec{Name: "sleeper"})
	require.NoError(t, err)

	again, err := testkit.StartEngine(t.Context(), dir, t.Logf)
	require.NoError(t, err)
	if again.Socket() != engine.Socket() {
		t.Errorf("a second start for the directory serves %s, want %s", again.Socket(), engine.Socket())
	}
	require.NoError(t, engine.Stop())
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", c.PID)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("process of the container after Stop: %v", err)
	}
	if _, err := os.Stat(engine.Socket()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("socket after Stop: %v", err)
	}
	checkRules(t)

	engine, err = testkit.StartEngine(t.Context(), dir, t.Logf)
	require.NoError(t, err)
	require.NotNil(t, engine)
	list, err := engine.Client().ContainerInspect(t.Context(), c.ID, client.ContainerInspectOptions{})
	require.NoError(t, err, "the container is still known after a restart of the engine")
	if list.Container.State.Running {
		t.Error("the container runs again by itself")
	}
	require.NoError(t, engine.Stop())
}

// checkRules fails the test if a rule is left for a bridge that is gone.
func checkRules(t *testing.T) {
	t.Helper()
	for _, table := range []string{"filter", "nat"} {
		out, err := exec.Command("iptables", "-t", table, "-S").Output()
		require.NoError(t, err)
		for _, bridge := range regexp.MustCompile(`-[io] (tly[0-9a-f]+)`).FindAllSubmatch(out, -1) {
			if _, err := net.InterfaceByName(string(bridge[1])); err != nil {
				t.Errorf("rules of table %s for %s: %v", table, bridge[1], err)
			}
		}
	}
}

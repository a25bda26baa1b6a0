package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

var errIdle = errors.New("has not grown")

// When the engine dies, its containers live on, and so do their figures.
func TestEngineKilled(t *testing.T) {
	t.Parallel()
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "dockerd", "ip")
	dir := t.TempDir()
	engine, err := testkit.StartEngine(t.Context(), dir, t.Logf)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, endEngine(t, dir)) })
	burner := run(t, engine, testkit.ContainerSpec{Cmd: shell(`while :; do :; done`), CPUQuota: 20_000})
	idle := run(t, engine, testkit.ContainerSpec{})
	a := startAgent(t, settings{env: []string{"DOCKER_HOST=" + engine.Host()}})
	for _, c := range []*testkit.Container{burner, idle} {
		testkit.Eventually(t, soon, func() error { return a.onPage(c.ID) })
	}

	killEngine(t, engine)
	after, err := a.figures(burner.ID)
	require.NoError(t, err)
	for range 3 { // again and again, not only what was on its way
		cpu := after.sum("container_cpu_time_seconds_total")
		testkit.Eventually(t, soon, func() error {
			if after, err = a.figures(burner.ID); err != nil {
				return err
			}
			if now := after.sum("container_cpu_time_seconds_total"); now <= cpu+0.1 {
				return fmt.Errorf("CPU time %v, was %v: %w", now, cpu, errIdle)
			}
			return nil
		})
	}
	require.NoError(t, a.onPage(idle.ID))
	for _, c := range []*testkit.Container{burner, idle} {
		require.ErrorIs(t, a.hasEvent(c.ID, "container.stop"), errMissing)
	}
	require.Empty(t, complaints(a.log()))
}

// run starts a container that nobody but endEngine removes: its engine will
// not be there when RunContainer would.
func run(t *testing.T, engine *testkit.Engine, spec testkit.ContainerSpec) *testkit.Container {
	t.Helper()
	c, err := engine.StartContainer(t.Context(), spec)
	require.NoError(t, err)
	return c
}

// killEngine kills dockerd, which its socket's folder has the process id of.
func killEngine(t *testing.T, engine *testkit.Engine) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(filepath.Dir(engine.Socket()), "docker.pid"))
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	require.NoError(t, err)
	require.Contains(t, string(line), engine.Socket(), "process %d is not this engine", pid)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	testkit.Eventually(t, soon, func() error {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && len(line) > 0 {
			return fmt.Errorf("process %d: %w", pid, errStill)
		}
		return nil
	})
}

// endEngine starts the engine once more, so that it finds its containers,
// and then ends both.
func endEngine(t *testing.T, dir string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	engine, err := testkit.StartEngine(ctx, dir, t.Logf)
	if err != nil {
		return err
	}
	return engine.Stop()
}

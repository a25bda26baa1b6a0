//go:build vmdocker

package guest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// The tests of this file wait for the agent most of the time, so they run beside each other, after those that stop it.

const (
	degraded   series = `container_degraded_ratio{degraded_reason="oom"}`
	killsOther series = `container_oom_kill_count_total{oom_victim_init="false"}`
	killsInit  series = `container_oom_kill_count_total{oom_victim_init="true"}`
	agentAge   series = "otelcol_process_uptime"
	kernelKill series = `container_memory_events_total{memory_event_type="oom_kill"}`
)

// tight is a container in which what grows does not fit.
func tight(t *testing.T, script string) *testkit.Container {
	t.Helper()
	return start(t, testkit.ContainerSpec{Name: "tight", NetworkMode: "none", Memory: 10 * mib, MemorySwap: 10 * mib, Cmd: shell(script)})
}

// whenTold makes a shell wait until told, so that the agent has seen it before anything happens. It starts no process
// meanwhile: who comes and goes about the time of a kill could be taken for the victim.
const whenTold = `read x </told; `

// tell reaches into the container from outside: no process is started in it for that either.
func tell(t *testing.T, c *testkit.Container) {
	t.Helper()
	fifo := fmt.Sprintf("/proc/%d/root/told", c.PID)
	// Nobody listens at first; then opening does not block.
	eventually(t, soon, func() error {
		pipe, err := os.OpenFile(fifo, os.O_WRONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		_, err = pipe.WriteString("go\n")
		return errors.Join(err, pipe.Close())
	})
}

// A child is OOM-killed and the first process lives on: the container is degraded.
func TestKilledWorkerDegrades(t *testing.T) {
	t.Parallel()
	runAgent(t)
	c := tight(t, `mkfifo /told; (`+whenTold+`exec tail /dev/zero) & wait; sleep 2147483647`)
	s := scopeOf(t, c)
	eventually(t, soon, func() error {
		now, err := shownOf(c.ID)
		return errors.Join(err, now.want(degraded, 0), now.want(killsOther, 0), now.want(kernelKill, 0))
	})
	tell(t, c)
	eventually(t, soon, func() error {
		now, err := shownOf(c.ID)
		return errors.Join(err, now.want(degraded, 1), now.want(killsOther, 1), now.want(killsInit, 0), now.want(kernelKill, 1))
	})
	kills, err := s.key("memory.events", "oom_kill")
	require.NoError(t, err)
	require.EqualValues(t, 1, kills, "the kernel's own count")

	e := waitEvent(t, c.ID, "container.degraded")
	require.Equal(t, plog.SeverityNumberError, e.severity)
	require.Equal(t, "oom", e.attributes["degraded.reason"])
	require.Equal(t, int64(1), e.attributes["count"])
	kill := waitEvent(t, c.ID, "container.oom_kill")
	require.Equal(t, true, kill.attributes["container.survived"])
	require.Equal(t, false, kill.attributes["oom.victim.init"])

	// It stays so while the first process lives, which the engine confirms.
	waitUptime(t, 5, c.ID)
	now, err := shownOf(c.ID)
	require.NoError(t, err)
	require.NoError(t, now.want(degraded, 1))
	info, err := c.Inspect(t.Context())
	require.NoError(t, err)
	require.True(t, info.State.Running)
	noEvent(t, c.ID, "container.recovered")
	noEvent(t, c.ID, "container.stop")
	requireQuiet(t)
}

// With memory.oom.group, as Kubernetes sets it, all processes are killed as one, and one event says so.
func TestGroupKillIsOneEvent(t *testing.T) {
	t.Parallel()
	runAgent(t)
	c := tight(t, `mkfifo /told; sleep 2147483647 & (`+whenTold+`exec tail /dev/zero) & wait; sleep 2147483647`)
	s := scopeOf(t, c)
	waitPage(t, c.ID)
	require.NoError(t, os.WriteFile(filepath.Join(s.root, s.path, "memory.oom.group"), []byte("1"), 0))
	tell(t, c)
	kill := waitEvent(t, c.ID, "container.oom_kill")
	// The end of the first process kills the others, too: whom the OOM killer comes to later is gone by then.
	require.GreaterOrEqual(t, kill.attributes["count"], int64(2))
	require.Equal(t, true, kill.attributes["oom.victim.init"])
	require.Equal(t, false, kill.attributes["container.survived"])
	stop := waitEvent(t, c.ID, "container.stop")
	require.Equal(t, int64(137), stop.attributes["container.exit_code"])
	kills, err := events(c.ID, "container.oom_kill")
	require.NoError(t, err)
	require.Len(t, kills, 1)
	noEvent(t, c.ID, "container.degraded")
	requireQuiet(t)
}

// A container whose first process is the victim is dead, and was never degraded.
func TestKilledFirstProcessIsNotDegraded(t *testing.T) {
	t.Parallel()
	runAgent(t)
	c := tight(t, `mkfifo /told /feed; (`+whenTold+`exec cat /dev/zero >/feed) & exec tail /feed`)
	scopeOf(t, c)
	waitPage(t, c.ID)
	tell(t, c)
	neverDegraded := func() error {
		now, err := shownOf(c.ID)
		if err != nil && !errors.Is(err, errMissing) {
			return err
		}
		require.Zero(t, now[degraded], "on the page as degraded")
		return nil
	}
	eventually(t, soon, func() error {
		stops, err := events(c.ID, "container.stop")
		if err == nil && len(stops) == 0 {
			err = fmt.Errorf("container.stop: %w", errMissing)
		}
		return errors.Join(err, neverDegraded())
	})
	info, err := c.Inspect(t.Context())
	require.NoError(t, err)
	require.Equal(t, 137, info.State.ExitCode, "not killed")
	log, err := exec.CommandContext(t.Context(), "dmesg").Output()
	require.NoError(t, err)
	require.Contains(t, string(log), fmt.Sprintf("Memory cgroup out of memory: Killed process %d (tail)", c.PID), "the victim is another one")

	// A kill is judged one pass later: five seconds of the agent's own life are five passes.
	first, err := telemetry()
	require.NoError(t, err)
	require.NoError(t, first.least(agentAge, 1))
	eventually(t, soon, func() error {
		own, err := telemetry()
		return errors.Join(err, neverDegraded(), own.least(agentAge, first[agentAge]+5))
	})
	noEvent(t, c.ID, "container.degraded")
	kills, err := events(c.ID, "container.oom_kill")
	require.NoError(t, err)
	// Whether the counter was read before its cgroup went is chance. If it was, it is told as it was.
	for _, kill := range kills {
		require.Equal(t, false, kill.attributes["container.survived"], kill.attributes)
		require.NotEqual(t, false, kill.attributes["oom.victim.init"], kill.attributes)
	}
	requireQuiet(t)
}

// expiration is metric_expiration of the default configuration.
const expiration = 90 * time.Second

// Who is removed leaves the page, and who stays does not.
func TestRemovedContainersVanish(t *testing.T) {
	t.Parallel()
	runAgent(t)
	keeper := start(t, testkit.ContainerSpec{Name: "keeper", NetworkMode: "none"})
	goner := start(t, testkit.ContainerSpec{Name: "goner"})
	waitPage(t, keeper.ID)
	waitPage(t, goner.ID)
	require.NoError(t, goner.Remove(t.Context()))
	waitEvent(t, goner.ID, "container.stop")
	removed := time.Now()
	eventually(t, expiration+soon, func() error {
		now, err := shown()
		if err == nil && len(now[goner.ID]) > 0 {
			err = fmt.Errorf("container %.12s: still on the page: %w", goner.ID, errWait)
		}
		return err
	})
	t.Logf("off the page %.0f s after the stop event", time.Since(removed).Seconds())
	_, err := shownOf(keeper.ID)
	require.NoError(t, err)
	noEvent(t, keeper.ID, "container.stop")
	requireQuiet(t)
}

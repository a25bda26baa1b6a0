package e2e_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/internal/procstream"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// Ten thousand processes of a millisecond in five containers, and eight
// containers that are one process. Each ends with the code of its container,
// which proves whose it was.
func TestEveryShortProcess(t *testing.T) {
	testkit.NeedBPF(t)
	engine := testkit.Docker(t)
	view, err := hostview.Acquire(hostview.Options{Roots: hostfs.NewRoots("/"), ProcessStream: hostview.ProcessStreamAuto})
	require.NoError(t, err)
	defer view.Release()
	subscription := view.Subscribe(hostview.SubscriptionOptions{Queue: 1 << 17})
	defer subscription.Close()

	const containers, each, oneShots = 5, 2000, 8
	want := map[string]int{} // processes by container, then the one with the code
	codes := map[string]int{}
	run := func(code, n int, script string) {
		c := engine.RunContainer(t, testkit.ContainerSpec{NetworkMode: "none", Cmd: shell(script)})
		want[c.ID], codes[c.ID] = n, code
	}
	for i := range containers {
		code := 10 + i
		run(code, each, fmt.Sprintf(`i=0; while [ $i -lt %d ]; do sh -c 'exit %d'; i=$((i+1)); done; sleep 1000`, each, code))
	}
	for i := range oneShots {
		code := 100 + i
		run(code, 1, fmt.Sprintf("exit %d", code))
	}

	var events []hostview.ProcessEvent
	exits, execs := map[string]int{}, map[string]int{}
	testkit.Eventually(t, soon, func() error {
		for _, e := range subscription.Take(events[:0]) {
			code, ours := codes[e.Container.ID]
			switch {
			case !ours:
			case e.Kind == procstream.Executed && e.Comm == "sh":
				execs[e.Container.ID]++
			case e.Kind == procstream.Exited && e.Exit.Status.ExitStatus() >= 10:
				require.Equal(t, code, e.Exit.Status.ExitStatus(), "process %d is in another container", e.PID)
				exits[e.Container.ID]++
			}
		}
		for id, n := range want {
			if exits[id] != n {
				return fmt.Errorf("container %.12s: %d of %d exits: %w", id, exits[id], n, errIdle)
			}
		}
		return nil
	})
	for id, n := range want {
		// The container's own shell is one more, unless it is the only process.
		require.Equal(t, n+min(n-1, 1), execs[id], id)
	}
	require.Zero(t, subscription.Stats())
	stats, _ := view.StreamStats()
	for what, n := range stats.Dropped {
		require.Zero(t, n, what)
	}
}

// Containers that are gone before anybody looks have a start, an end, an exit
// code and what they used at most.
func TestShortContainers(t *testing.T) {
	t.Parallel()
	engine := testkit.Docker(t)
	a := startAgent(t, settings{set: []string{"receivers::cgroup::collection_interval: 10s"}})
	const containers = 20
	started := make([]*testkit.Container, containers)
	for i := range started {
		started[i] = engine.RunContainer(t, testkit.ContainerSpec{
			NetworkMode: "none", Cmd: shell("x=$(dd if=/dev/zero bs=4M count=1 2>/dev/null | tail -c 10); exit " + strconv.Itoa(i+1)),
		})
	}
	for i, c := range started {
		id := c.ID
		testkit.Eventually(t, soon, func() error { return a.hasEvent(id, "container.stop") })
		require.NoError(t, a.hasEvent(id, "container.start"))
		stop, err := a.event(id, "container.stop")
		require.NoError(t, err)
		require.Equal(t, int64(i+1), stop.attributes["container.exit_code"])
		require.Greater(t, stop.attributes["container.memory.peak"], int64(4<<20))
		require.GreaterOrEqual(t, stop.attributes["container.pids.peak"], int64(3))
		t.Logf("container %.12s lived %v, its cgroup %.0f ms", id, lifetime(t, c), 1000*stop.attributes["container.lifetime"].(float64))
	}
}

// lifetime is how long the engine says that the first process ran.
func lifetime(t *testing.T, c *testkit.Container) time.Duration {
	t.Helper()
	info, err := c.Inspect(t.Context())
	require.NoError(t, err)
	started, err := time.Parse(time.RFC3339Nano, info.State.StartedAt)
	require.NoError(t, err)
	finished, err := time.Parse(time.RFC3339Nano, info.State.FinishedAt)
	require.NoError(t, err)
	return finished.Sub(started)
}

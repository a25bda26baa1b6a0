package e2e_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

const (
	gaveUp  series = `container_degraded_ratio{degraded_reason="gave_up"}`
	crashed series = `container_degraded_ratio{degraded_reason="crash"}`
)

// failing is a program that fails after a while, but runs on once /good is
// there. It is a single process, so that its name is the file's.
const failing = `mkfifo /wait; cat >/worker <<'end'
#!/bin/sh
[ -e /good ] && read x <>/wait
usleep 200000
[ -e /crash ] && kill -SEGV $$
exit 3
end
chmod +x /worker
`

// In the host's pid namespace no process of a container has number 1.
func workerKilledAmongHostPids(t *testing.T, engine *testkit.Engine, a *agent) {
	c := engine.RunContainer(t, testkit.ContainerSpec{
		Memory: 10 * mib, MemorySwap: 10 * mib, PidMode: "host", Cmd: shell(`tail /dev/zero & wait; sleep 1000`),
	})
	testkit.Eventually(t, soon, func() error {
		now, err := a.figures(c.ID)
		return errors.Join(err, now.want(killsOther, 1), now.want(killsInit, 0), now.want(degraded, 1))
	})
	testkit.Eventually(t, soon, func() error { return a.hasEvent(c.ID, "container.degraded") })
	kill, err := a.event(c.ID, "container.oom_kill")
	require.NoError(t, err)
	require.Equal(t, "tail", kill.attributes["process.executable.name"])
	require.Equal(t, kill.attributes["process.pid"], kill.attributes["process.vpid"])
	require.Equal(t, false, kill.attributes["oom.victim.init"])
}

func firstKilledAmongHostPids(t *testing.T, engine *testkit.Engine, a *agent) {
	c := engine.RunContainer(t, testkit.ContainerSpec{
		Memory: 10 * mib, MemorySwap: 10 * mib, PidMode: "host",
		Cmd: shell(`mkfifo /feed; (sleep 3; exec cat /dev/zero >/feed) & exec tail /feed`),
	})
	testkit.Eventually(t, soon, func() error {
		return errors.Join(a.neverDegraded(t, c.ID), a.hasEvent(c.ID, "container.stop"))
	})
	require.ErrorIs(t, a.hasEvent(c.ID, "container.degraded"), errMissing)
	kill, err := a.event(c.ID, "container.oom_kill")
	require.NoError(t, err)
	require.Equal(t, "tail", kill.attributes["process.executable.name"])
	require.Equal(t, true, kill.attributes["oom.victim.init"])
	require.Equal(t, false, kill.attributes["container.survived"])
	stop, err := a.event(c.ID, "container.stop")
	require.NoError(t, err)
	require.Equal(t, int64(137), stop.attributes["container.exit_code"])
}

// Five times it tries, and then the container only looks alive.
func supervisorGivesUp(t *testing.T, engine *testkit.Engine, a *agent) {
	c := engine.RunContainer(t, testkit.ContainerSpec{Cmd: shell(failing +
		`for i in 1 2 3 4 5; do /worker; usleep 300000; done; until [ -e /good ]; do usleep 100000; done; /worker`)})
	testkit.Eventually(t, soon, func() error {
		now, err := a.figures(c.ID)
		return errors.Join(err, now.want(gaveUp, 1), now.want(degraded, 0))
	})
	testkit.Eventually(t, soon, func() error { return a.hasEvent(c.ID, "container.degraded") })
	e, err := a.event(c.ID, "container.degraded")
	require.NoError(t, err)
	require.Equal(t, plog.SeverityNumberError, e.severity)
	require.Equal(t, "gave_up", e.attributes["degraded.reason"])
	require.Equal(t, "worker", e.attributes["process.executable.name"])
	require.Equal(t, int64(5), e.attributes["count"])

	_, err = c.Exec(t.Context(), "touch", "/good")
	require.NoError(t, err)
	testkit.Eventually(t, soon, func() error {
		now, err := a.figures(c.ID)
		return errors.Join(err, now.want(gaveUp, 0), a.hasEvent(c.ID, "container.recovered"))
	})
}

// A supervisor whose worker runs in the end has nothing to report but that.
func supervisorSucceeds(t *testing.T, engine *testkit.Engine, a *agent) {
	c := engine.RunContainer(t, testkit.ContainerSpec{Cmd: shell(failing + `touch /crash; while :; do /worker; sleep 1; done`)})
	testkit.Eventually(t, soon, func() error { return a.hasEvent(c.ID, "container.degraded") })
	e, err := a.event(c.ID, "container.degraded")
	require.NoError(t, err)
	require.Equal(t, "crash", e.attributes["degraded.reason"])
	require.Equal(t, "worker", e.attributes["process.executable.name"])
	_, err = c.Exec(t.Context(), "touch", "/good")
	require.NoError(t, err)
	testkit.Eventually(t, soon, func() error { return a.hasEvent(c.ID, "container.recovered") })
	testkit.Eventually(t, soon, func() error {
		now, err := a.figures(c.ID)
		return errors.Join(err, now.want(crashed, 0))
	})
	e, err = a.event(c.ID, "container.recovered")
	require.NoError(t, err)
	require.Equal(t, "worker", e.attributes["process.executable.name"])
}

// What somebody tries by docker exec is his business.
func execFails(t *testing.T, engine *testkit.Engine, a *agent) {
	c := engine.RunContainer(t, testkit.ContainerSpec{Cmd: shell(failing + `touch /ready; exec sleep 1000`)})
	_, err := c.Exec(t.Context(), shell(`until [ -e /ready ]; do usleep 10000; done
for i in 1 2 3 4 5 6; do /worker; done; touch /crash; for i in 1 2 3 4 5 6 7 8 9 10 11 12; do /worker; sleep 1; done; exit 0`)...)
	require.NoError(t, err)
	sure := atLeast(t, a, c.ID, 8)
	testkit.Eventually(t, soon, func() error { return errors.Join(a.neverDegraded(t, c.ID), sure()) })
	require.ErrorIs(t, a.hasEvent(c.ID, "container.degraded"), errMissing)
}

// A server that forks its workers in advance replaces them, whatever ended
// them.
func forkedWorkersReplaced(t *testing.T, engine *testkit.Engine, a *agent) {
	c := engine.RunContainer(t, testkit.ContainerSpec{Cmd: shell(`mkfifo /wait; work() { read x <>/wait; }
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do work & sleep 1; kill -SEGV $!; done
work & wait`)})
	sure := atLeast(t, a, c.ID, 22)
	testkit.Eventually(t, soon, func() error { return errors.Join(a.neverDegraded(t, c.ID), sure()) })
	require.ErrorIs(t, a.hasEvent(c.ID, "container.degraded"), errMissing)
}

// atLeast waits until the page shows a container's uptime grown by seconds: the
// time after which what has not been reported will not be.
func atLeast(t *testing.T, a *agent, id string, seconds float64) func() error {
	t.Helper()
	first := -1.0
	return func() error {
		now, err := a.figures(id)
		if err != nil {
			return err
		}
		uptime := now["container_uptime_seconds"].value
		if first < 0 {
			first = uptime
		}
		if uptime < first+seconds {
			return fmt.Errorf("up for %.0f s: %w", uptime, errIdle)
		}
		return nil
	}
}

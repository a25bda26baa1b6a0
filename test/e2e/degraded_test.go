package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

const (
	degraded   series = `container_degraded_ratio{degraded_reason="oom"}`
	killsOther series = `container_oom_kill_count_total{oom_victim_init="false"}`
	killsInit  series = `container_oom_kill_count_total{oom_victim_init="true"}`
)

var errDegraded = errors.New("was degraded")

// worker is a program that, as a single process, waits for four seconds, so
// that it is known by then, and then grows until it is killed. With an argument
// it waits for ever.
const worker = `cat >/worker <<'end'
#!/bin/sh
[ $# -gt 0 ] && read x <>/wait
read -t 4 x <>/wait
x=grow
while :; do x=$x$x; done
end
chmod +x /worker
mkfifo /wait
`

// tight is a container in which what grows does not fit.
func tight(engine *testkit.Engine, t *testing.T, script string) *testkit.Container {
	t.Helper()
	return engine.RunContainer(t, testkit.ContainerSpec{Memory: 10 * mib, MemorySwap: 10 * mib, Cmd: shell(script)})
}

func TestDegraded(t *testing.T) {
	t.Parallel()
	engine := testkit.Docker(t)
	a := startAgent(t, settings{})
	for name, f := range map[string]func(*testing.T, *testkit.Engine, *agent){
		"worker killed":        workerKilled,
		"first process killed": firstKilled,
		"worker replaced":      workerReplaced,
		"worker restarted":     workerRestarted,
		"exec session killed":  execKilled,

		"worker killed, host's pids":        workerKilledAmongHostPids,
		"first process killed, host's pids": firstKilledAmongHostPids,
		"supervisor gives up":               supervisorGivesUp,
		"supervisor succeeds":               supervisorSucceeds,
		"exec session fails":                execFails,
		"forked workers replaced":           forkedWorkersReplaced,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, engine, a)
		})
	}
}

// The dead forwarder: PID 1 is fine, its worker is gone for good.
func workerKilled(t *testing.T, engine *testkit.Engine, a *agent) {
	c := tight(engine, t, `tail /dev/zero & wait; sleep 1000`)
	testkit.Eventually(t, soon, func() error {
		now, err := a.figures(c.ID)
		return errors.Join(err, now.want(killsOther, 1), now.want(killsInit, 0), now.want(degraded, 1))
	})
	testkit.Eventually(t, soon, func() error { return a.hasEvent(c.ID, "container.degraded") })
	e, err := a.event(c.ID, "container.degraded")
	require.NoError(t, err)
	require.Equal(t, plog.SeverityNumberError, e.severity)
	require.NotEmpty(t, e.body)
	require.Equal(t, "oom", e.attributes["degraded.reason"])
	require.Equal(t, int64(1), e.attributes["count"])
	kill, err := a.event(c.ID, "container.oom_kill")
	require.NoError(t, err)
	require.Equal(t, true, kill.attributes["container.survived"])
	require.Equal(t, false, kill.attributes["oom.victim.init"])
	require.NoError(t, a.hasEvent(c.ID, "container.start"))

	// It is not a matter of one pass.
	uptime := func() float64 {
		now, err := a.figures(c.ID)
		require.NoError(t, err)
		require.NoError(t, now.want(degraded, 1))
		return now["container_uptime_seconds"].value
	}
	first := uptime()
	testkit.Eventually(t, soon, func() error {
		if uptime() < first+3 {
			return errIdle
		}
		return nil
	})
	require.ErrorIs(t, a.hasEvent(c.ID, "container.recovered"), errMissing)
}

// A container whose first process is the victim is dead, not degraded.
func firstKilled(t *testing.T, engine *testkit.Engine, a *agent) {
	c := tight(engine, t, `mkfifo /feed; (sleep 3; exec cat /dev/zero >/feed) & exec tail /feed`)
	testkit.Eventually(t, soon, func() error {
		return errors.Join(a.neverDegraded(t, c.ID), a.hasEvent(c.ID, "container.stop"))
	})
	require.ErrorIs(t, a.hasEvent(c.ID, "container.degraded"), errMissing)
	info, err := c.Inspect(t.Context())
	require.NoError(t, err)
	require.Equal(t, 137, info.State.ExitCode, "not killed")
	kill, err := a.event(c.ID, "container.oom_kill")
	require.NoError(t, err)
	require.Equal(t, false, kill.attributes["container.survived"], kill.attributes)
	require.Equal(t, true, kill.attributes["oom.victim.init"], kill.attributes)
	require.Equal(t, "tail", kill.attributes["process.executable.name"])
	stop, err := a.event(c.ID, "container.stop")
	require.NoError(t, err)
	require.Equal(t, true, stop.attributes["container.oom_killed"])
}

// A worker that was seen is named, and the container recovers when the same
// program runs again.
func workerReplaced(t *testing.T, engine *testkit.Engine, a *agent) {
	c := tight(engine, t, worker+`/worker & wait; until [ -e /again ]; do usleep 100000; done; /worker rest & wait; sleep 1000`)
	testkit.Eventually(t, soon, func() error { return a.hasEvent(c.ID, "container.degraded") })
	e, err := a.event(c.ID, "container.degraded")
	require.NoError(t, err)
	require.Equal(t, "worker", e.attributes["process.executable.name"])
	_, err = c.Exec(t.Context(), "touch", "/again")
	require.NoError(t, err)
	testkit.Eventually(t, soon, func() error { return a.hasEvent(c.ID, "container.recovered") })
	testkit.Eventually(t, soon, func() error {
		now, err := a.figures(c.ID)
		return errors.Join(err, now.want(killsOther, 1), now.want(degraded, 0))
	})
}

// A supervisor that starts its worker again has lost nothing.
func workerRestarted(t *testing.T, engine *testkit.Engine, a *agent) {
	c := tight(engine, t, worker+`/worker; /worker; /worker rest; sleep 1000`)
	testkit.Eventually(t, soon, func() error {
		if err := a.neverDegraded(t, c.ID); err != nil {
			return err
		}
		now, err := a.figures(c.ID)
		return errors.Join(err, now.want(killsOther, 2), now.want(degraded, 0))
	})
	require.ErrorIs(t, a.hasEvent(c.ID, "container.degraded"), errMissing)
	require.ErrorIs(t, a.hasEvent(c.ID, "container.stop"), errMissing)
}

// What somebody starts by docker exec is not what the container is for.
func execKilled(t *testing.T, engine *testkit.Engine, a *agent) {
	c := tight(engine, t, worker+`touch /ready; exec sleep 1000`)
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	result, err := c.Exec(ctx, shell(`until [ -e /ready ]; do usleep 10000; done; exec /worker`)...)
	require.NoError(t, err)
	require.Equal(t, 137, result.ExitCode, "not killed: %s", result.Output)
	testkit.Eventually(t, soon, func() error {
		now, err := a.figures(c.ID)
		return errors.Join(a.neverDegraded(t, c.ID), err, now.want(killsOther, 1), now.want(degraded, 0))
	})
	testkit.Eventually(t, soon, func() error { return a.hasEvent(c.ID, "container.oom_kill") })
	require.ErrorIs(t, a.hasEvent(c.ID, "container.degraded"), errMissing)
	kill, err := a.event(c.ID, "container.oom_kill")
	require.NoError(t, err)
	require.Equal(t, true, kill.attributes["container.survived"])
	require.Equal(t, "worker", kill.attributes["process.executable.name"], kill.attributes)
}

// neverDegraded fails the test when the page has the container as degraded.
// One that is not on the page is not.
func (a *agent) neverDegraded(t *testing.T, id string) error {
	t.Helper()
	now, err := a.figures(id)
	if err != nil && !errors.Is(err, errMissing) {
		return err
	}
	for _, reason := range []series{degraded, crashed, gaveUp} {
		if p := now[reason]; p.value != 0 {
			t.Fatal(fmt.Errorf("container %.12s: %w: %s is %v", id, errDegraded, reason, p.value))
		}
	}
	return nil
}

package e2e_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

var errStill = errors.New("still on the page")

// Containers that come while the agent runs are seen, and leave the page and
// two events when they go.
func TestAppearAndVanish(t *testing.T) {
	t.Parallel()
	engine := testkit.Docker(t)
	a := startAgent(t, settings{set: []string{"exporters::prometheus::metric_expiration: 3s"}})
	keeper := engine.RunContainer(t, testkit.ContainerSpec{Name: "keeper"})
	began := time.Now()
	goner := engine.RunContainer(t, testkit.ContainerSpec{
		// Half a second of CPU and 32 MiB, so that the last figures can be checked.
		Name: "goner", Cmd: shell(`dd if=/dev/zero of=/dev/null bs=32M count=100 2>/dev/null; exec sleep 2147483647`),
	})
	for _, c := range []*testkit.Container{keeper, goner} {
		testkit.Eventually(t, soon, func() error { return a.onPage(c.ID) })
		testkit.Eventually(t, soon, func() error { return a.hasEvent(c.ID, "container.start") })
	}
	start, err := a.event(goner.ID, "container.start")
	require.NoError(t, err)
	require.Equal(t, int64(goner.PID), start.attributes["container.pid"])
	require.Equal(t, withHost(t, map[string]any{"container.id": goner.ID, "container.runtime.name": "docker"}), start.resource)

	dirs, err := findCgroups(goner.PID)
	require.NoError(t, err)
	var last figures
	testkit.Eventually(t, soon, func() error {
		last, err = a.figures(goner.ID)
		if err == nil && last["container_memory_peak_bytes"].value < 32*mib {
			err = fmt.Errorf("peak %v: %w", last["container_memory_peak_bytes"], errMissing)
		}
		return err
	})
	before, err := readFacts(goner.PID, dirs)
	require.NoError(t, err)
	require.NoError(t, goner.Remove(t.Context()))
	lived := time.Since(began)
	testkit.Eventually(t, soon, func() error { return a.hasEvent(goner.ID, "container.stop") })
	testkit.Eventually(t, soon, func() error {
		if err := a.onPage(goner.ID); !errors.Is(err, errMissing) {
			return errors.Join(errStill, err)
		}
		return nil
	})
	require.NoError(t, a.onPage(keeper.ID))
	_, err = a.event(keeper.ID, "container.stop")
	require.ErrorIs(t, err, errMissing)
	a.checkStop(t, goner.ID, stopBounds{lived: lived, last: last, peak: before["container_memory_peak_bytes"].value})
}

// stopBounds are what is known of a container that has stopped.
type stopBounds struct {
	lived time.Duration // at most
	last  figures       // while it ran
	peak  float64       // bytes, as the kernel said near the end; 0 where it does not
}

func (a *agent) checkStop(t *testing.T, id string, known stopBounds) {
	t.Helper()
	stop, err := a.event(id, "container.stop")
	require.NoError(t, err)
	require.Equal(t, plog.SeverityNumberInfo, stop.severity)
	require.Equal(t, withHost(t, map[string]any{"container.id": id, "container.runtime.name": "docker"}), stop.resource)
	require.NotContains(t, stop.attributes, "container.oom_killed")

	lifetime, ok := stop.attributes["container.lifetime"].(float64)
	require.True(t, ok, stop.attributes)
	require.Less(t, lifetime, known.lived.Seconds())
	require.GreaterOrEqual(t, lifetime, known.last["container_uptime_seconds"].value)

	// What was last read may be up to one interval old, and not more.
	cpu, ok := stop.attributes["container.cpu.time"].(float64)
	require.True(t, ok, stop.attributes)
	require.GreaterOrEqual(t, cpu, known.last.sum("container_cpu_time_seconds_total")-rounding)
	require.Less(t, cpu, known.lived.Seconds())

	if known.peak > 0 {
		require.InDelta(t, known.peak, stop.attributes["container.memory.peak"], mib)
	}
}

func (a *agent) onPage(id string) error {
	_, err := a.figures(id)
	return err
}

func (a *agent) hasEvent(id, name string) error {
	_, err := a.event(id, name)
	return err
}

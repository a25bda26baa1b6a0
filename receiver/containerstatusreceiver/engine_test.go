package containerstatusreceiver

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// engineWithin is long: on a busy machine an engine takes seconds for a start.
const engineWithin = time.Minute

// onEngine is the receiver following a real engine: what happens before that is
// not told.
func onEngine(t *testing.T) (*testkit.Engine, *rig) {
	t.Helper()
	engine := testkit.Docker(t)
	r := newRig(t, NewFactory(), nil)
	r.cfg.Endpoint = engine.Host()
	r.start(t)
	testkit.Eventually(t, engineWithin, func() error {
		if r.lines.FilterMessage("following the container engine").Len() == 0 {
			return fmt.Errorf("not following the engine yet: %q", r.messages())
		}
		return nil
	})
	return engine, r
}

// value returns the newest number of a metric of a container; attribute is
// "key=value" or "".
func (r *rig) value(id, name, attribute string) (int64, bool) {
	all := r.points.AllMetrics()
	for _, md := range slices.Backward(all) {
		for _, rm := range md.ResourceMetrics().All() {
			if got, _ := rm.Resource().Attributes().Get("container.id"); got.AsString() != id {
				continue
			}
			for _, m := range rm.ScopeMetrics().At(0).Metrics().All() {
				if m.Name() != name {
					continue
				}
				points := m.Gauge().DataPoints
				if name == "container.restart.count" {
					points = m.Sum().DataPoints
				}
				for _, p := range points().All() {
					if attribute == "" || has(p.Attributes(), attribute) {
						return p.IntValue(), true
					}
				}
			}
		}
	}
	return 0, false
}

func has(attributes pcommon.Map, want string) bool {
	for key, v := range attributes.All() {
		if key+"="+v.AsString() == want {
			return true
		}
	}
	return false
}

// shows waits until a metric of a container is 1.
func (r *rig) shows(t *testing.T, id, name, attribute string) {
	t.Helper()
	testkit.Eventually(t, engineWithin, func() error {
		if v, ok := r.value(id, name, attribute); !ok || v != 1 {
			return fmt.Errorf("%s of %s is %d (%v)", name, attribute, v, ok)
		}
		return nil
	})
}

// told waits until the container's events include these, in this order, each
// "name" or "name key=value", and returns all of them.
func (r *rig) told(t *testing.T, id string, want ...string) []string {
	t.Helper()
	var all []string
	testkit.Eventually(t, engineWithin, func() error {
		all = r.eventsOf(id)
		left := want
		for _, e := range all {
			if len(left) > 0 && left[0] == e {
				left = left[1:]
			}
		}
		if len(left) > 0 {
			return fmt.Errorf("still missing %q in %q", left, all)
		}
		return nil
	})
	return all
}

func (r *rig) eventsOf(id string) []string {
	var list []string
	for _, logs := range r.sink.AllLogs() {
		for _, rl := range logs.ResourceLogs().All() {
			if got, _ := rl.Resource().Attributes().Get("container.id"); got.AsString() != id {
				continue
			}
			for _, record := range rl.ScopeLogs().At(0).LogRecords().All() {
				text := record.EventName()
				for key, v := range record.Attributes().All() {
					text += " " + key + "=" + v.AsString()
				}
				list = append(list, text)
			}
		}
	}
	return list
}

func TestLifeOfAContainer(t *testing.T) {
	engine, r := onEngine(t)
	api := engine.Client()
	c := engine.RunContainer(t, testkit.ContainerSpec{Name: "status"})
	r.shows(t, c.ID, "container.state", "container.state=running")
	_, checked := r.value(c.ID, "container.health.status", "")
	require.False(t, checked, "it has no health check")
	_, err := api.ContainerPause(t.Context(), c.ID, client.ContainerPauseOptions{})
	require.NoError(t, err)
	r.shows(t, c.ID, "container.state", "container.state=paused")
	_, err = api.ContainerUnpause(t.Context(), c.ID, client.ContainerUnpauseOptions{})
	require.NoError(t, err)
	r.shows(t, c.ID, "container.state", "container.state=running")
	renamed := c.Name + "-new"
	_, err = api.ContainerRename(t.Context(), c.ID, client.ContainerRenameOptions{NewName: renamed})
	require.NoError(t, err)
	_, err = c.Exec(t.Context(), "echo", "no-such-secret")
	require.NoError(t, err)
	require.NoError(t, c.Kill(t.Context(), "SIGKILL"))
	r.shows(t, c.ID, "container.state", "container.state=exited")
	require.NoError(t, c.Remove(t.Context()))
	all := r.told(t, c.ID, "container.create", "container.start", "container.pause", "container.unpause",
		"container.rename container.name="+renamed+" container.old_name="+c.Name,
		"container.kill container.signal=9", "container.die container.exit_code=137", "container.destroy")
	slices.Sort(all)
	require.Len(t, slices.Compact(slices.Clone(all)), len(all), "nothing is told twice: %q", all)
	for _, e := range all {
		require.NotContains(t, e, "exec")
		require.NotContains(t, e, "no-such-secret")
	}
	testkit.Eventually(t, engineWithin, func() error {
		last := r.points.AllMetrics()
		for _, rm := range last[len(last)-1].ResourceMetrics().All() {
			if id, _ := rm.Resource().Attributes().Get("container.id"); id.AsString() == c.ID {
				return fmt.Errorf("a removed container still has metrics")
			}
		}
		return nil
	})
}

// The check looks for a file: removing it turns the container unhealthy.
func TestHealth(t *testing.T) {
	engine, r := onEngine(t)
	c := engine.RunContainer(t, testkit.ContainerSpec{
		Cmd: []string{"sh", "-c", "touch /tmp/well; exec sleep 2147483647"},
		Adjust: func(config *apicontainer.Config, _ *apicontainer.HostConfig) {
			config.Healthcheck = &apicontainer.HealthConfig{
				Test: []string{"CMD", "test", "-e", "/tmp/well"}, Interval: 200 * time.Millisecond, Timeout: 10 * time.Second, Retries: 1,
			}
		},
	})
	r.shows(t, c.ID, "container.health.status", "container.health.status=healthy")
	result, err := c.Exec(t.Context(), "rm", "/tmp/well")
	require.NoError(t, err)
	require.Zero(t, result.ExitCode, result.Output)
	r.shows(t, c.ID, "container.health.status", "container.health.status=unhealthy")
	v, _ := r.value(c.ID, "container.health.status", "container.health.status=healthy")
	require.Zero(t, v)
	r.told(t, c.ID, "container.health_status container.health.status=healthy",
		"container.health_status container.health.status=unhealthy")
}

func TestRestartPolicy(t *testing.T) {
	engine, r := onEngine(t)
	c := engine.RunContainer(t, testkit.ContainerSpec{
		Cmd: []string{"sh", "-c", "sleep 0.2; exit 3"},
		Adjust: func(_ *apicontainer.Config, host *apicontainer.HostConfig) {
			host.RestartPolicy = apicontainer.RestartPolicy{Name: apicontainer.RestartPolicyOnFailure, MaximumRetryCount: 2}
		},
	})
	testkit.Eventually(t, engineWithin, func() error {
		if v, _ := r.value(c.ID, "container.restart.count", ""); v != 2 {
			return fmt.Errorf("%d restarts, want 2", v)
		}
		return nil
	})
	r.shows(t, c.ID, "container.state", "container.state=exited")
	const died = "container.die container.exit_code=3"
	r.told(t, c.ID, "container.start", died, "container.start", died, "container.start", died)
	// Started by hand, it is counted anew, and the sum says so.
	info, err := c.Inspect(t.Context())
	require.NoError(t, err)
	created, err := time.Parse(time.RFC3339Nano, info.Created)
	require.NoError(t, err)
	first := r.startOf(c.ID)
	require.WithinDuration(t, created, first, time.Millisecond)
	_, err = engine.Client().ContainerStart(t.Context(), c.ID, client.ContainerStartOptions{})
	require.NoError(t, err)
	testkit.Eventually(t, engineWithin, func() error {
		v, _ := r.value(c.ID, "container.restart.count", "")
		if since := r.startOf(c.ID); v != 2 || !since.After(first) {
			return fmt.Errorf("%d restarts since %v, want 2 since later than %v", v, since, first)
		}
		return nil
	})
}

// startOf is the start time of the newest restart count of a container.
func (r *rig) startOf(id string) time.Time {
	for _, md := range slices.Backward(r.points.AllMetrics()) {
		for _, rm := range md.ResourceMetrics().All() {
			if got, _ := rm.Resource().Attributes().Get("container.id"); got.AsString() != id {
				continue
			}
			for _, m := range rm.ScopeMetrics().At(0).Metrics().All() {
				if m.Name() == "container.restart.count" {
					return m.Sum().DataPoints().At(0).StartTimestamp().AsTime()
				}
			}
		}
	}
	return time.Time{}
}

// Without an engine the receiver starts, waits and ends; when one comes it is
// there.
func TestEngineComesLater(t *testing.T) {
	engine := testkit.Docker(t)
	testkit.VerifyNoLeaks(t)
	r := newRig(t, NewFactory(), nil)
	front := newFront(t, engine.Socket())
	r.cfg.Endpoint = "unix://" + front.path
	for _, c := range []component.Component{r.metrics, r.logs} {
		require.NoError(t, c.Start(t.Context(), r.host))
		t.Cleanup(func() { require.NoError(t, c.Shutdown(context.Background())) })
	}
	testkit.Eventually(t, engineWithin, func() error {
		if r.lines.Len() == 0 {
			return fmt.Errorf("nothing logged yet")
		}
		return nil
	})
	require.Equal(t, "no container engine answers; its containers are seen as soon as one does", r.lines.All()[0].Message)
	require.Zero(t, r.points.DataPointCount())
	c := engine.RunContainer(t, testkit.ContainerSpec{})
	front.open()
	r.shows(t, c.ID, "container.state", "container.state=running")
	// An outage: the container is killed while nobody can listen.
	front.close()
	testkit.Eventually(t, engineWithin, func() error {
		if n := r.lines.FilterMessage("the container engine does not answer; trying again").Len(); n != 1 {
			return fmt.Errorf("%d outages logged", n)
		}
		return nil
	})
	require.NoError(t, c.Kill(t.Context(), "SIGKILL"))
	front.open()
	r.shows(t, c.ID, "container.state", "container.state=exited")
	r.told(t, c.ID, "container.kill container.signal=9", "container.die container.exit_code=137")
	back := func() []observer.LoggedEntry {
		return r.lines.FilterMessage("the container engine answers again").All()
	}
	testkit.Eventually(t, engineWithin, func() error {
		if len(back()) == 0 {
			return fmt.Errorf("nothing logged of the end of the outage")
		}
		return nil
	})
	require.Len(t, back(), 1)
	require.GreaterOrEqual(t, back()[0].ContextMap()["events_recovered"], int64(2))
}

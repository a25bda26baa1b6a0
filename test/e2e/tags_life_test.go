package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// caughtUpWithin is the promise for an engine that comes later.
const caughtUpWithin = 2 * time.Second

// Containers that live for 200 ms are tagged like all others: what is told of
// their beginning, what is told of their end, and every figure in between. Half
// of them are removed by the engine as soon as they end.
func TestShortContainerIsTagged(t *testing.T) {
	t.Parallel()
	testkit.NeedRoot(t)
	engine := testkit.Docker(t)
	_, err := engine.BusyboxImage(t.Context())
	require.NoError(t, err)
	// The default (500ms) is enough for an engine that is not kept from its work by
	// other tests.
	a := startTagAgent(t, engine.Host(), "processors::container_tag::wait: 5s")
	const containers = 20
	names := map[string]string{} // by id
	for i := range containers {
		name := fmt.Sprintf("short-%02d-%08x", i, rand.Uint32())
		names[startShort(t, engine, name, i%2 == 0)] = name
	}
	for id, name := range names {
		want := withHost(t, map[string]any{
			"container.id": id, "container.name": name, "container.image.name": "tallyman-test/busybox",
			"container.image.tags": []any{"1"}, "container.runtime.name": "docker", "container.command": "sleep",
			"service.name": "short", "service.namespace": "shop", "docker.network.names": []any{"bridge"},
		})
		require.GreaterOrEqual(t, len(want), fewestTags)
		for _, event := range []string{"container.start", "container.stop"} {
			require.NoError(t, hasTags(a.awaitEvent(t, id, scopeCgroup, event).resource, want), event)
		}
		require.NoError(t, hasTags(a.awaitEvent(t, id, scopeStatus, "container.die").resource, want))
		d := a.wait(t, func() (delivery, error) { return a.point(id, "container.uptime", nil) })
		require.Equal(t, scopeCgroup, d.scope)
		require.NoError(t, hasTags(d.resource, want))
	}
	log, code := a.stop()
	require.Zero(t, code)
	require.Empty(t, complaints(log))
	a.take()
	for id, name := range names {
		require.Equal(t, a.seen[id], a.tagged[id], "resources of metrics of %s, and those with a name", name)
		for _, d := range a.records {
			if d.resource["container.id"] == id {
				require.Equal(t, name, d.resource["container.name"], "%s", d.name)
			}
		}
	}
}

// startShort starts a container and leaves it alone: it may be gone before
// anybody can ask for it.
func startShort(t *testing.T, engine *testkit.Engine, name string, autoRemove bool) (id string) {
	t.Helper()
	created, err := engine.Client().ContainerCreate(t.Context(), client.ContainerCreateOptions{
		Name: name,
		Config: &container.Config{
			Image: testkit.Busybox, Cmd: []string{"sleep", "0.2"},
			Labels: map[string]string{"com.docker.compose.service": "short", "com.docker.compose.project": "shop"},
		},
		HostConfig: &container.HostConfig{AutoRemove: autoRemove},
	})
	require.NoError(t, err)
	if !autoRemove {
		t.Cleanup(func() {
			_, err := engine.Client().ContainerRemove(context.Background(), created.ID, client.ContainerRemoveOptions{Force: true})
			require.NoError(t, err)
		})
	}
	_, err = engine.Client().ContainerStart(t.Context(), created.ID, client.ContainerStartOptions{})
	require.NoError(t, err)
	return created.ID
}

// An engine that is not there is nothing to complain about. What it runs is
// tagged soon after it answers, the first time and after it was away.
func TestEngineComesLater(t *testing.T) {
	t.Parallel()
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "dockerd", "ip")
	dir := t.TempDir()
	engine, err := testkit.StartEngine(t.Context(), dir, t.Logf)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, engine.Stop()) }) // the one of then
	// The engine starts it again whenever it starts itself.
	always, err := engine.StartContainer(t.Context(), testkit.ContainerSpec{
		Name: "always", Adjust: func(_ *container.Config, h *container.HostConfig) {
			h.RestartPolicy = container.RestartPolicy{Name: container.RestartPolicyAlways}
		},
	})
	require.NoError(t, err)
	require.NoError(t, engine.Stop())

	a := startTagAgent(t, engine.Host())
	bystander := testkit.Docker(t).RunContainer(t, testkit.ContainerSpec{Name: "bystander"})
	testkit.Eventually(t, soon, func() error { return a.onPage(bystander.ID) }) // of an engine that is not asked
	require.Empty(t, complaints(a.log()))

	engine, err = testkit.StartEngine(t.Context(), dir, t.Logf)
	require.NoError(t, err)
	first := a.caughtUp(t, always, time.Now())
	require.Empty(t, complaints(a.log()))

	require.NoError(t, engine.Stop())
	testkit.Eventually(t, soon, func() error {
		if len(complaints(a.log())) == 0 {
			return fmt.Errorf("a line about the engine: %w", errMissing)
		}
		return nil
	})
	engine, err = testkit.StartEngine(t.Context(), dir, t.Logf)
	require.NoError(t, err)
	answered := time.Now()
	again := run(t, engine, testkit.ContainerSpec{Name: "again"})
	second := a.caughtUp(t, again, answered)
	// Other tests run beside this one: the better of two shows what it takes.
	require.Less(t, min(first, second), caughtUpWithin, "%v and %v", first, second)
}

// caughtUp waits until the container is on the page under its name, and returns
// how long that took from the moment at which it could have been.
func (a *tagAgent) caughtUp(t *testing.T, c *testkit.Container, answered time.Time) time.Duration {
	t.Helper()
	testkit.Eventually(t, soon, func() error { return a.onNamedPage(c.ID, c.Name) })
	seen := time.Now()
	info, err := c.Inspect(t.Context())
	require.NoError(t, err)
	started, err := time.Parse(time.RFC3339Nano, info.State.StartedAt)
	require.NoError(t, err)
	if started.After(answered) {
		answered = started
	}
	t.Logf("%s is tagged %v after the engine has answered and it has started", c.Name, seen.Sub(answered))
	return seen.Sub(answered)
}

// A new name and other networks are on data from then on.
func TestRenamedAndMoved(t *testing.T) {
	t.Parallel()
	testkit.NeedRoot(t)
	engine := testkit.Docker(t)
	a := startTagAgent(t, engine.Host())
	c := engine.RunContainer(t, testkit.ContainerSpec{Name: "mover"})
	a.awaitTags(t, c.ID, map[string]any{"container.name": c.Name, "docker.network.names": []any{"bridge"}})

	renamed := c.Name + "-renamed"
	_, err := engine.Client().ContainerRename(t.Context(), c.ID, client.ContainerRenameOptions{NewName: renamed})
	require.NoError(t, err)
	a.awaitTags(t, c.ID, map[string]any{"container.name": renamed})
	event := a.awaitEvent(t, c.ID, scopeStatus, "container.rename")
	require.Equal(t, renamed, event.attributes["container.name"])
	require.Equal(t, c.Name, event.attributes["container.old_name"])

	network := fmt.Sprintf("tallyman-test-%08x", rand.Uint32())
	_, err = engine.Client().NetworkCreate(t.Context(), network, client.NetworkCreateOptions{Driver: "bridge"})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx := context.Background() // the test's is over
		_, err := engine.Client().NetworkDisconnect(ctx, network, client.NetworkDisconnectOptions{Container: c.ID, Force: true})
		_, errRemove := engine.Client().NetworkRemove(ctx, network, client.NetworkRemoveOptions{})
		require.NoError(t, errors.Join(err, errRemove))
	})
	_, err = engine.Client().NetworkConnect(t.Context(), network, client.NetworkConnectOptions{Container: c.ID})
	require.NoError(t, err)
	a.awaitTags(t, c.ID, map[string]any{"container.name": renamed, "docker.network.names": []any{"bridge", network}})
	a.awaitNetwork(t, c.ID, "network.connect", network)

	_, err = engine.Client().NetworkDisconnect(t.Context(), "bridge", client.NetworkDisconnectOptions{Container: c.ID})
	require.NoError(t, err)
	a.awaitTags(t, c.ID, map[string]any{"container.name": renamed, "docker.network.names": []any{network}})
	a.awaitNetwork(t, c.ID, "network.disconnect", "bridge")
	require.Empty(t, complaints(a.log()))
}

// awaitNetwork waits for an event of a container and a network.
func (a *tagAgent) awaitNetwork(t *testing.T, id, event, network string) {
	t.Helper()
	a.wait(t, func() (delivery, error) {
		return a.record(func(d delivery) bool {
			return d.name == event && d.resource["container.id"] == id && d.attributes["docker.network.name"] == network
		})
	})
}

// A container that turns unhealthy says so as a figure and as a warning, both
// with its tags.
func TestHealth(t *testing.T) {
	t.Parallel()
	testkit.NeedRoot(t)
	engine := testkit.Docker(t)
	a := startTagAgent(t, engine.Host())
	c := engine.RunContainer(t, testkit.ContainerSpec{
		Name: "patient", Labels: map[string]string{"com.docker.compose.service": "clinic"},
		Adjust: func(config *container.Config, _ *container.HostConfig) {
			config.Healthcheck = &container.HealthConfig{
				Test: []string{"CMD", "test", "!", "-e", "/tmp/sick"}, Interval: 500 * time.Millisecond, Retries: 1,
			}
		},
	})
	want := withHost(t, map[string]any{
		"container.id": c.ID, "container.name": c.Name, "service.name": "clinic",
		"container.image.name": "tallyman-test/busybox", "container.command": "sleep",
	})
	is := func(status string) delivery {
		t.Helper()
		return a.wait(t, func() (delivery, error) {
			return a.point(c.ID, "container.health.status", func(d delivery) bool {
				return d.attributes["container.health.status"] == status && d.value == 1
			})
		})
	}
	require.NoError(t, hasTags(is("healthy").resource, want))
	execute(t, c, "touch", "/tmp/sick")
	require.NoError(t, hasTags(is("unhealthy").resource, want))

	warning := a.wait(t, func() (delivery, error) {
		return a.record(func(d delivery) bool {
			return d.name == "container.health_status" && d.resource["container.id"] == c.ID &&
				d.attributes["container.health.status"] == "unhealthy"
		})
	})
	require.Equal(t, scopeStatus, warning.scope)
	require.Equal(t, plog.SeverityNumberWarn, warning.severity)
	require.Contains(t, warning.body, c.Name)
	require.NoError(t, hasTags(warning.resource, want))

	// The same is on the page and in the file, without any backend.
	testkit.Eventually(t, soon, func() error {
		now, err := a.figures(c.ID)
		if err != nil {
			return err
		}
		if n := now.sum(`container_health_status_ratio{ container_health_status="unhealthy"`); n != 1 {
			return fmt.Errorf("unhealthy on the page is %v: %w", n, errMissing)
		}
		return nil
	})
	told, err := a.events(c.ID)
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(told, func(e event) bool {
		return e.name == "container.health_status" && e.severity == plog.SeverityNumberWarn && hasTags(e.resource, want) == nil
	}), "%v", told)
	require.Empty(t, complaints(a.log()))
}

package ship_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// agent is a container of the image.
type agent struct {
	*testkit.Container
	world   *world
	address string
	state   string             // the volume of that name, as this host sees it
	statsd  string             // the name of that volume
	sender  *testkit.Container // sends custom metrics
	victim  *testkit.Container // is OOM-killed once
	depth   int                // how many datagrams wait for the agent at most

	pictures pictures // what the recorder has seen of the victim
}

// command is the image's own, and an event for each process that starts.
var command = []string{
	"--config", "/etc/tallyman/otelcol-config.yaml", "--config", "/etc/tallyman/container.yaml",
	"--config", "yaml:receivers::ebpf_conntrack::process_events: true",
}

// start runs the image with options of the page. What is hidden is an empty folder in
// the container.
func (w *world) start(t *testing.T, name string, options []string, hidden ...string) *agent {
	t.Helper()
	a := &agent{world: w}
	name = w.name + "-" + name
	at := w.at
	a.statsd = name + "-statsd"
	at.volumes = map[string]string{"state": name + "-state", "statsd": a.statsd, "socket": w.at.volumes["socket"]}
	// Removed after the containers: what is registered first is called last.
	t.Cleanup(func() { w.removeVolumes(t, at.volumes["state"], at.volumes["statsd"]) })
	var refused error
	a.Container = w.engine.RunContainer(t, testkit.ContainerSpec{
		Name: name, Image: image,
		Adjust: func(c *container.Config, h *container.HostConfig) {
			c.Cmd = command
			patience := 120 // seconds; two on a machine that is not busy
			c.StopTimeout = &patience
			for _, option := range options {
				refused = errors.Join(refused, spec{c, h}.add(option, at))
			}
			for _, path := range hidden {
				h.Binds = append(h.Binds, t.TempDir()+":"+path+":ro")
			}
			if w.first != "" && slices.Contains(options, procMount) {
				h.Binds = append(h.Binds, w.first+":/hostfs/proc/1:ro")
			}
		},
	})
	require.NoError(t, refused)
	a.state = w.mountpoint(t, at.volumes["state"])
	t.Cleanup(func() {
		if log, err := a.Logs(context.Background()); t.Failed() {
			t.Logf("log of %s: %v\n%s", a.Name, err, tail(log))
		}
	})
	return a
}

func (w *world) removeVolumes(t *testing.T, names ...string) {
	for _, name := range names {
		if _, err := w.engine.Client().VolumeRemove(context.Background(), name, client.VolumeRemoveOptions{Force: true}); err != nil {
			t.Error(err)
		}
	}
}

func (w *world) mountpoint(t *testing.T, volume string) string {
	t.Helper()
	result, err := w.engine.Client().VolumeInspect(t.Context(), volume, client.VolumeInspectOptions{})
	require.NoError(t, err)
	return result.Volume.Mountpoint
}

// tail is the end of a log.
func tail(log string) string { return log[max(0, len(log)-8<<10):] }

// provoke starts what only this agent is asked about: a container that sends to its socket,
// and one whose child is OOM-killed some seconds later. That one is a plain user's.
func (a *agent) provoke(t *testing.T) {
	t.Helper()
	a.sender = a.world.engine.RunContainer(t, testkit.ContainerSpec{
		Name: a.world.name + "-sender", NetworkMode: "none",
		Cmd:   []string{"/client/client", "steady", "-socket", "/statsd/dsd.socket", "-metric", "ship_sent", "-rate", strconv.Itoa(sentRate)},
		Binds: []string{a.world.client + ":/client:ro", a.statsd + ":/statsd:ro"},
	})
	a.depth = a.fill(t)
	a.victim = a.world.engine.RunContainer(t, testkit.ContainerSpec{
		Name: a.world.name + "-victim", Memory: 16 * mib, MemorySwap: 16 * mib,
		Cmd:    shell(`sleep 5; tail /dev/zero; sleep 100000`),
		Adjust: func(c *container.Config, _ *container.HostConfig) { c.User = strconv.Itoa(victimUser) },
	})
}

// ready waits for the agent's health, as `docker ps` would show it.
func (a *agent) ready(t *testing.T) {
	t.Helper()
	testkit.Eventually(t, soon, func() error {
		if err := a.alive(t); err != nil {
			t.Fatal(err)
		}
		result, err := a.Exec(t.Context(), "/tallymanctl", "health")
		if err == nil && result.ExitCode != 0 {
			err = fmt.Errorf("health: exit code %d: %w: %s", result.ExitCode, errMissing, result.Output)
		}
		return err
	})
	a.address = a.world.address(t, a.Container)
}

func (a *agent) alive(t *testing.T) error {
	t.Helper()
	info, err := a.Inspect(t.Context())
	if err == nil && !info.State.Running {
		log, _ := a.Logs(t.Context())
		err = fmt.Errorf("the agent: %w: exit code %d\n%s", testkit.ErrExit, info.State.ExitCode, tail(log))
	}
	return err
}

// check is what doctor says of one thing.
type check struct {
	Name, Title, Status, Found, Meaning, Remedy, Error string
}

func (c check) text() string {
	return strings.Join([]string{c.Title, c.Found, c.Meaning, c.Remedy, c.Error}, "\n")
}

// doctor runs in the agent's container, with the agent's rights.
func (a *agent) doctor(t *testing.T) map[string]check {
	t.Helper()
	result, err := a.Exec(t.Context(), "/tallymanctl", "doctor", "--json")
	require.NoError(t, err)
	var report struct{ Checks []check }
	require.NoError(t, json.Unmarshal([]byte(result.Output), &report), result.Output)
	checks := map[string]check{}
	for _, c := range report.Checks {
		checks[c.Name] = c
	}
	return checks
}

// says is that somebody tells of a loss. Where more than that one thing is missing, the
// words may be about another.
func (a *agent) says(t *testing.T, l loss, isAlone bool) {
	t.Helper()
	if l.by == "log" {
		testkit.Eventually(t, soon, func() error {
			log, err := a.Logs(t.Context())
			if err == nil && !strings.Contains(log, l.words[0]) {
				err = fmt.Errorf("%q in the log: %w", l.words[0], errMissing)
			}
			return err
		})
		return
	}
	c, ok := a.doctor(t)[l.words[0]]
	require.True(t, ok, "doctor has no check %s", l.words[0])
	if l.isHarmless() {
		require.Equal(t, "pass", c.Status, "%s: this kernel does without: %s", l.without, c.text())
		return
	}
	require.NotEqual(t, "pass", c.Status, "%s: doctor is content: %s", l.without, c.text())
	for _, word := range l.words[1:] {
		if isAlone {
			require.Contains(t, c.text(), word, "%s: doctor %s", l.without, c.Name)
		}
	}
}

// ends is that SIGTERM ends the agent in order.
func (a *agent) ends(t *testing.T) {
	t.Helper()
	_, err := a.world.engine.Client().ContainerStop(t.Context(), a.ID, client.ContainerStopOptions{})
	require.NoError(t, err)
	info, err := a.Inspect(t.Context())
	require.NoError(t, err)
	require.Zero(t, info.State.ExitCode, "killed, or ended with an error")
	log, err := a.Logs(t.Context())
	require.NoError(t, err)
	require.Contains(t, log, "Shutdown complete")
}

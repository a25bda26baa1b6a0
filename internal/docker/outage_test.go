package docker

import (
	"errors"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// withoutKills are the counts of a tally that do not depend on how the engine
// ended its containers.
func withoutKills(tally map[string]int) map[string]int {
	maps.DeleteFunc(tally, func(line string, _ int) bool { return strings.HasSuffix(line, " kill") })
	return tally
}

// quickToStop is for what ignores SIGTERM. A restarted engine stops what still
// runs, and waits for that before it answers.
func quickToStop(c *container.Config, _ *container.HostConfig) {
	seconds := 1
	c.StopTimeout = &seconds
}

// The engine is killed, and containers end while it is away. It says nothing of
// that when it is back: each of them has one end all the same.
func TestDiedWhileEngineWasAway(t *testing.T) {
	p := private(t)
	e := p.start()
	r := newTape()
	w, _ := watch(t, WatcherOptions{Endpoint: e.Host(), EventTypes: []string{typeContainer}}, r)
	r.waitFor(t, "synced", 1)
	run := func(adjust func(*container.Config, *container.HostConfig)) string {
		c := create(t, e, testkit.ContainerSpec{NetworkMode: "none", Cmd: []string{"sleep", "1000"}, Adjust: func(c *container.Config, h *container.HostConfig) {
			quickToStop(c, h)
			if adjust != nil {
				adjust(c, h)
			}
		}})
		r.waitFor(t, "start "+c, 1)
		return c
	}
	ended, endedWithShim, survives := run(nil), run(nil), run(nil)
	restarted := run(func(_ *container.Config, h *container.HostConfig) { h.RestartPolicy.Name = "always" })
	removed := run(func(_ *container.Config, h *container.HostConfig) { h.AutoRemove = true })
	all := []string{ended, endedWithShim, survives, restarted, removed}

	p.kill()
	r.waitFor(t, "disconnected", 1)
	shims := p.shims()
	require.Len(t, shims, len(all))
	at := slices.IndexFunc(shims, func(s shim) bool { return s.id == endedWithShim })
	killProcess(t, shims[at].pid) // first, so that nobody sees the end of its child
	for _, c := range []string{ended, endedWithShim, restarted, removed} {
		killProcess(t, r.last(c).State.Pid)
	}
	p.start()
	ready := time.Now()
	r.waitFor(t, "synced", 2)
	t.Logf("synced %v after the engine was up", time.Since(ready))
	want := map[string]int{restarted + " start": 2, removed + " destroy": 1}
	for _, c := range all {
		r.waitFor(t, "die "+c, 1)
		want[c+" create"], want[c+" die"] = 1, 1
		if c != restarted {
			want[c+" start"] = 1
		}
	}
	r.waitFor(t, "start "+restarted, 2)
	r.waitFor(t, "gone "+removed, 1)
	require.Equal(t, want, withoutKills(r.tally(all...)))
	t.Logf("%+v", w.Stats())
	for _, c := range all {
		at := slices.IndexFunc(r.of(c), func(e Event) bool { return e.Action == actionDie })
		require.Equal(t, c != survives, r.of(c)[at].Recovered, "the engine tells only what it does itself")
	}
	require.Equal(t, 137, *r.of(ended)[2].ExitCode)

	// Nothing but the sweep ends what is left when no engine comes back.
	p.kill()
	require.NotEmpty(t, p.shims(), "of the one that was restarted")
	p.sweep()
	require.Empty(t, p.shims())
	require.Empty(t, p.cgroups())
}

// A filter in front of the engine restarts: its socket is removed, connections
// are cut, and it comes back. The engine itself remembers what happened.
func TestFilterRestarts(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	e := testkit.Docker(t)
	ctx := t.Context()
	filter := newRelay(t, e.Socket())
	filter.start()
	r := newTape()
	w, _ := watch(t, WatcherOptions{Endpoint: "unix://" + filter.path, EventTypes: []string{typeContainer}}, r)
	r.waitFor(t, "synced", 1)
	dies := e.RunContainer(t, testkit.ContainerSpec{Name: "dies", NetworkMode: "none"})
	stays := e.RunContainer(t, testkit.ContainerSpec{Name: "stays", NetworkMode: "none"})
	r.waitFor(t, "start "+stays.ID, 1)
	w.Want(id("e")) // of which there is none

	filter.stop()
	r.waitFor(t, "disconnected", 1)
	require.True(t, SocketMissing("unix://"+filter.path))
	require.NoError(t, dies.Remove(ctx))
	_, err := e.Client().ContainerRename(ctx, stays.ID, client.ContainerRenameOptions{NewName: stays.Name + "-new"})
	require.NoError(t, err)
	_, err = e.Client().ContainerPause(ctx, stays.ID, client.ContainerPauseOptions{})
	require.NoError(t, err)
	passed := create(t, e, short(5))
	testkit.Eventually(t, patience, func() error {
		if _, err := e.Client().ContainerInspect(ctx, passed, client.ContainerInspectOptions{}); !errdefs.IsNotFound(err) {
			return errors.Join(errNotYet, err)
		}
		return nil
	})
	begun := time.Now()
	filter.start()
	r.waitFor(t, "synced", 2)
	t.Logf("synced %v after the filter was up", time.Since(begun))
	require.Less(t, time.Since(begun), atOnce)
	require.Equal(t, stays.Name+"-new", r.last(stays.ID).Name)
	_, err = e.Client().ContainerUnpause(ctx, stays.ID, client.ContainerUnpauseOptions{})
	require.NoError(t, err)
	r.waitFor(t, "unpause "+stays.ID, 1)

	require.Equal(t, []string{"create", "start", "rename", "pause", "unpause"}, r.actions(stays.ID))
	require.Equal(t, []string{"create", "start", "die", "destroy"}, r.actions(passed))
	require.Equal(t, 5, *r.of(passed)[2].ExitCode)
	want := map[string]int{}
	for _, action := range []string{"create", "start", "die", "destroy"} {
		want[dies.ID+" "+action] = 1
	}
	require.Equal(t, want, withoutKills(r.tally(dies.ID)))
	for _, event := range slices.Concat(r.of(stays.ID), r.of(passed), r.of(dies.ID)) {
		require.False(t, event.Recovered, event)
	}
	require.Equal(t, 1, r.count("gone "+dies.ID))
	require.Equal(t, 1, r.count("gone "+passed))
	require.Equal(t, 1, r.count("disconnected"))
	require.Equal(t, 1, r.count("absent "+id("e")))
}

// relay serves another socket under a path of its own, as a filter does.
type relay struct {
	t            *testing.T
	path, target string
	listener     net.Listener
	accepting    chan struct{} // closed when no more are accepted
	conns        []net.Conn    // of who accepts, until then
	running      sync.WaitGroup
}

func newRelay(t *testing.T, target string) *relay {
	t.Helper()
	dir, err := os.MkdirTemp("", "relay")
	require.NoError(t, err)
	y := &relay{t: t, path: filepath.Join(dir, "docker.sock"), target: target}
	t.Cleanup(func() {
		y.stop()
		require.NoError(t, os.RemoveAll(dir))
	})
	return y
}

func (y *relay) start() {
	y.t.Helper()
	listener, err := net.Listen("unix", y.path)
	require.NoError(y.t, err)
	y.listener, y.accepting, y.conns = listener, make(chan struct{}), nil
	go func() {
		defer close(y.accepting)
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("unix", y.target)
			if err != nil {
				_ = from.Close()
				continue
			}
			y.conns = append(y.conns, from, to)
			y.forward(from, to)
			y.forward(to, from)
		}
	}()
}

// forward copies one way until either end is closed.
func (y *relay) forward(from, to net.Conn) {
	y.running.Go(func() {
		_, _ = io.Copy(to, from)
		_ = from.Close()
		_ = to.Close()
	})
}

// stop removes the socket and cuts all connections.
func (y *relay) stop() {
	_ = y.listener.Close()
	<-y.accepting
	for _, c := range y.conns {
		_ = c.Close()
	}
	y.running.Wait()
}

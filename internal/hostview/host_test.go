package hostview_test

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/internal/hostview/sampler"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// patience bounds every wait: a loaded machine, or one that is emulated.
const patience = time.Minute

var errNotYet = errors.New("not yet")

const (
	slowInterval   = 200 * time.Millisecond
	replacedWithin = time.Second
)

// watch is a consumer of a sampler of its own that remembers all it was told.
type watch struct {
	t        *testing.T
	view     *hostview.View
	consumer *sampler.Consumer
	live     map[string]sampler.Target
	ended    []sampler.Target
	events   []sampler.Event
}

func newWatch(t *testing.T) *watch {
	t.Helper()
	return watchOn(t, acquire(t))
}

func watchOn(t *testing.T, v *hostview.View) *watch {
	t.Helper()
	s := v.Sampler(t.Name(), sampler.Settings{
		Interval:     20 * time.Millisecond,
		SlowInterval: slowInterval,
		MaxOpenFiles: 1000,
		// Shells replace what they wait for at once.
		ReplacedWithin: replacedWithin,
		Want:           func(c container.Cgroup) bool { return c.Class == container.ClassContainer },
	})
	w := &watch{t: t, view: v, consumer: s.Subscribe(), live: map[string]sampler.Target{}}
	t.Cleanup(func() {
		w.consumer.Close()
		v.ReleaseSampler(t.Name())
	})
	return w
}

func acquire(t *testing.T) *hostview.View {
	t.Helper()
	testkit.NeedRoot(t)
	if shared.view == nil {
		shared.view = open(t)
	}
	v := open(t)
	t.Cleanup(v.Release)
	return v
}

// shared keeps the view of this host open between tests: loading the BPF
// programs takes seconds on an emulated machine.
var shared struct{ view *hostview.View }

func open(t *testing.T) *hostview.View {
	t.Helper()
	v, err := hostview.Acquire(hostview.Options{Roots: hostfs.NewRoots("/"), ProcessStream: hostview.ProcessStreamAuto})
	require.NoError(t, err)
	return v
}

// alone is for tests that open a view of their own.
func alone(t *testing.T) {
	t.Helper()
	testkit.NeedRoot(t)
	closeShared()
}

func closeShared() {
	if shared.view != nil {
		shared.view.Release()
		shared.view = nil
	}
}

// until collects passes until the condition holds.
func (w *watch) until(condition func() error) {
	w.t.Helper()
	testkit.Eventually(w.t, patience, func() error {
		w.collect()
		return condition()
	})
}

// untilKinds collects passes until a container has these events, and no others.
func (w *watch) untilKinds(id string, want ...sampler.EventKind) {
	w.t.Helper()
	w.until(func() error {
		if got := w.kinds(id); !slices.Equal(got, want) {
			return fmt.Errorf("events %v, want %v: %w", got, want, errNotYet)
		}
		return nil
	})
}

func (w *watch) collect() {
	w.consumer.Collect(func(p *sampler.Pass) {
		clear(w.live)
		for _, t := range p.Live {
			w.live[t.ID] = *t
		}
		for _, t := range p.Ended {
			w.ended = append(w.ended, *t)
		}
		w.events = append(w.events, p.Events...)
	})
}

// kinds lists what happened to a container, in order.
func (w *watch) kinds(id string) []sampler.EventKind {
	var kinds []sampler.EventKind
	for _, e := range w.events {
		if e.Target.ID == id {
			kinds = append(kinds, e.Kind)
		}
	}
	return kinds
}

func (w *watch) last(id string, kind sampler.EventKind) (sampler.Event, bool) {
	for i := len(w.events) - 1; i >= 0; i-- {
		if e := w.events[i]; e.Target.ID == id && e.Kind == kind {
			return e, true
		}
	}
	return sampler.Event{}, false
}

func (w *watch) isLive(id string) func() error {
	return func() error {
		if t, ok := w.live[id]; !ok || t.At.IsZero() {
			return fmt.Errorf("container %.12s is not among %d live ones", id, len(w.live))
		}
		return nil
	}
}

// untilKnown waits until the container runs n processes of a program and has
// been looked at since.
func (w *watch) untilKnown(g *testkit.Group, id, program string, n int) {
	w.t.Helper()
	w.until(func() error {
		running := 0
		for _, pid := range g.PIDs() {
			// One that ends meanwhile is none of them.
			comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
			if strings.TrimSpace(string(comm)) == program {
				running++
			}
		}
		if running < n {
			return fmt.Errorf("%d of %d processes run %s", running, n, program)
		}
		return nil
	})
	w.untilRead(id, time.Now().Add(slowInterval))
}

// untilRead waits until a pass that late has read the container.
func (w *watch) untilRead(id string, at time.Time) {
	w.t.Helper()
	w.until(func() error {
		if w.live[id].At.Before(at) {
			return fmt.Errorf("last read at %v, want %v", w.live[id].At, at)
		}
		return nil
	})
}

// untilReplaceable waits until a kill is as long ago as a replacement may take.
func (w *watch) untilReplaceable(id string) {
	w.t.Helper()
	w.untilSettled(id)
	kill, ok := w.last(id, sampler.OOMKilled)
	require.True(w.t, ok)
	w.untilRead(id, kill.At.Add(2*replacedWithin))
}

// untilSettled waits until a kill that the container survived is settled.
func (w *watch) untilSettled(id string) {
	w.t.Helper()
	w.until(func() error {
		if w.live[id].Kills.Other == 0 {
			return errNotYet
		}
		return nil
	})
}

// newID makes an id that no other test has.
func newID(t *testing.T) string {
	t.Helper()
	b := make([]byte, 32)
	_, err := rand.Read(b)
	require.NoError(t, err)
	return hex.EncodeToString(b)
}

// newContainer makes the cgroup of a container as Docker's cgroupfs driver
// does.
func newContainer(t *testing.T) (*testkit.Group, string) {
	t.Helper()
	id := newID(t)
	return testkit.Cgroup(t, "/tallyman-test/"+id), id
}

// limitMemory sets a limit as docker run -m does, swap included.
func limitMemory(g *testkit.Group, bytes string) {
	if g.Unified("memory") {
		g.Write("memory", "memory.max", bytes)
		g.Write("memory", "memory.swap.max", "0")
		return
	}
	g.Write("memory", "memory.limit_in_bytes", bytes)
}

// applets makes programs with names of their own out of busybox, so that the
// processes of a test can be told apart by name.
func applets(t *testing.T, names ...string) (dir string) {
	t.Helper()
	testkit.NeedCommand(t, "busybox")
	busybox, err := exec.LookPath("busybox")
	require.NoError(t, err)
	dir = t.TempDir()
	for _, name := range names {
		require.NoError(t, os.Symlink(busybox, filepath.Join(dir, name)))
	}
	return dir
}

// shell runs a script as the first process of the container.
func shell(t *testing.T, g *testkit.Group, lines ...string) {
	t.Helper()
	testkit.NeedCommand(t, "busybox")
	testkit.Run(t, g, "busybox", "sh", "-c", strings.Join(lines, "\n"))
}

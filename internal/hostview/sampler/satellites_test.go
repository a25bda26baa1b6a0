package sampler

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/cgroup"
	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// A nested container that was killed and removed before anybody has read it is not
// taken for the outer one, whether its end is told before the next pass or after it.
func TestNestedGoneBeforeItWasRead(t *testing.T) {
	f := func(passesBeforeItsEndIsTold int) {
		t.Helper()
		y := newStory()
		root := t.TempDir()
		y.s.host = unified(t, root)
		y.s.budget = hostfs.NewBudget(100)
		y.s.targets = map[string]*Target{y.t.Path: y.t}
		nested := y.t.Path + "/docker/b"
		y.s.addNested(container.Cgroup{Identity: container.Identity{Class: container.ClassContainer}, Path: nested})
		read := func(kills int) {
			var err error
			writeEvents(t, root, y.t.Path, kills)
			reader := y.s.host.NewReader(y.t.Path, y.s.budget, cgroup.PartsEvents)
			defer reader.Close()
			y.s.scratch, err = reader.Read(&y.t.Sample, y.s.scratch, true)
			require.NoError(t, err)
			y.s.readEvents(y.t)
		}
		read(0)
		for range passesBeforeItsEndIsTold {
			read(1)
		}
		y.s.retireSatellite(nested)
		read(1)
		read(1)
		require.Zero(t, y.t.Events.OOMKill)
		read(2)
		require.Equal(t, uint64(1), y.t.Events.OOMKill, "this one is its own")
	}
	f(0)
	f(1)
	f(3)
}

// A nested container without the memory controller has no events, and is there: what
// the kernel counts is the outer container's.
func TestNestedWithoutMemoryController(t *testing.T) {
	y := newStory()
	root := t.TempDir()
	y.s.host = unified(t, root)
	y.s.budget = hostfs.NewBudget(100)
	y.s.targets = map[string]*Target{y.t.Path: y.t}
	nested := y.t.Path + "/docker/b"
	write(t, filepath.Join(root, "sys/fs/cgroup", nested, "cgroup.procs"), "")
	y.s.addNested(container.Cgroup{Identity: container.Identity{Class: container.ClassContainer}, Path: nested})
	for kills := range uint64(3) {
		y.t.Sample.Events.OOMKill = kills
		y.s.readEvents(y.t)
		require.Equal(t, kills, y.t.Events.OOMKill)
	}
}

// unified makes a cgroup v2 tree without cgroups.
func unified(t *testing.T, root string) *cgroup.Host {
	t.Helper()
	write(t, filepath.Join(root, "proc/self/mountinfo"),
		"30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n")
	write(t, filepath.Join(root, "sys/fs/cgroup/cgroup.controllers"), "cpu io memory pids\n")
	host, err := cgroup.Detect(hostfs.NewRoots(root))
	require.NoError(t, err)
	require.False(t, host.LocalEvents())
	return host
}

func writeEvents(t *testing.T, root, cgroupPath string, kills int) {
	t.Helper()
	write(t, filepath.Join(root, "sys/fs/cgroup", cgroupPath, "memory.events"),
		fmt.Sprintf("low 0\nhigh 0\nmax 0\noom %d\noom_kill %d\n", kills, kills))
}

func write(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}

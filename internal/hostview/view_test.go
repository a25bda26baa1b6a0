package hostview_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/cgroup"
	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/internal/hostview/sampler"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

func TestHoldersShareOneView(t *testing.T) {
	alone(t)
	testkit.VerifyNoLeaks(t)
	a, b := open(t), open(t)
	defer a.Release()
	defer b.Release()
	require.Same(t, a, b)
	require.Same(t, a.Sampler("x", sampler.Settings{}), b.Sampler("x", sampler.Settings{}))
	require.NotSame(t, a.Sampler("x", sampler.Settings{}), b.Sampler("y", sampler.Settings{}))
	for range 3 {
		a.ReleaseSampler("x")
	}
	a.ReleaseSampler("y")
	a.ReleaseSampler("never made")
}

// What one holder writes the other reads, and nobody after them.
func TestHoldersShareOneBoard(t *testing.T) {
	alone(t)
	a, b := open(t), open(t)
	require.Same(t, a.Findings(), b.Findings())
	require.Same(t, a.Identities(), b.Identities())
	a.Findings().Put("id", []target.Technology{{Name: "redis"}})
	a.Release()
	require.Equal(t, "redis", b.Findings().Get("id")[0].Name)
	b.Release()
	later := open(t)
	defer later.Release()
	require.Nil(t, later.Findings().Get("id"))
}

func TestConflictingProcessStream(t *testing.T) {
	acquire(t)
	_, err := hostview.Acquire(hostview.Options{Roots: hostfs.NewRoots("/"), ProcessStream: hostview.ProcessStreamOff})
	require.ErrorIs(t, err, hostview.ErrConflict)
	require.ErrorContains(t, err, "process_stream")
}

func TestHostWithoutCgroups(t *testing.T) {
	_, err := hostview.Acquire(hostview.Options{Roots: hostfs.NewRoots(t.TempDir())})
	require.ErrorIs(t, err, hostfs.ErrNotSupported)
}

func TestContainerLife(t *testing.T) {
	w := newWatch(t)
	w.collect()
	g, id := newContainer(t)
	shell(t, g, "while :; do :; done")
	w.until(func() error {
		if err := w.isLive(id)(); err != nil {
			return err
		}
		if c := w.live[id]; c.InitPID == 0 || !c.HasCPUs || c.CPUs < 0.05 || c.Sample.CPU.Usage == 0 {
			return errors.New("no CPU use measured yet")
		}
		return nil
	})
	c := w.live[id]
	require.False(t, c.Initial)
	require.True(t, c.Sample.Has(cgroup.PartMemory|cgroup.PartPids|cgroup.PartCPUTime), "have %b", c.Sample.Have)
	require.Equal(t, uint64(1), c.Sample.Pids)
	w.untilKinds(id, sampler.Started)

	g.Remove()
	w.until(func() error {
		if slices.Contains(w.kinds(id), sampler.Stopped) {
			return nil
		}
		return errors.New("no stop event yet")
	})
	w.collect()
	require.Equal(t, []sampler.EventKind{sampler.Started, sampler.Stopped}, w.kinds(id))
	require.Len(t, w.ended, 1, "the final sample goes out once")
	final := w.ended[0]
	require.GreaterOrEqual(t, final.Sample.CPU.Usage, c.Sample.CPU.Usage)
	require.NotZero(t, final.Sample.Known&cgroup.PartMemoryPeak)
	require.True(t, final.End.After(final.Start))
	require.NotContains(t, w.live, id)
}

// A container that was there before us has the start of its first process,
// not the moment we came.
func TestStartOfAnOldContainer(t *testing.T) {
	alone(t)
	g, id := newContainer(t)
	shell(t, g, "sleep 1000")
	w := newWatch(t)
	w.until(func() error {
		if c := w.live[id]; c.InitPID == 0 {
			return errors.New("first process not found yet")
		}
		return nil
	})
	c := w.live[id]
	require.True(t, c.Initial)
	require.True(t, c.Start.Before(c.FirstSeen), "start %v, seen %v", c.Start, c.FirstSeen)
	require.Empty(t, w.kinds(id), "no start event for what was there before")
}

// The same id again is a new container: docker restart.
func TestRestartedContainer(t *testing.T) {
	w := newWatch(t)
	g, id := newContainer(t)
	shell(t, g, "while :; do :; done")
	w.until(w.isLive(id))
	first := w.live[id]
	g.Remove()
	again := testkit.Cgroup(t, first.Path)
	shell(t, again, "sleep 1000")
	w.until(func() error {
		if c, ok := w.live[id]; !ok || c.Inode == first.Inode || c.InitPID == 0 {
			return errors.New("second incarnation not seen yet")
		}
		return nil
	})
	require.True(t, w.live[id].Start.After(first.Start))
	w.untilKinds(id, sampler.Started, sampler.Stopped, sampler.Started)
}

// The limit of a parent (a pod) binds its containers.
func TestEffectiveLimits(t *testing.T) {
	w := newWatch(t)
	id := newID(t)
	parent := testkit.Cgroup(t, "/tallyman-test-pod-"+id[:8])
	limitMemory(parent, "67108864")
	parent.Write("pids", "pids.max", "50")
	g := parent.Child(id)
	limitMemory(g, "134217728")
	g.Write("pids", "pids.max", "20")
	w.until(func() error {
		if c := w.live[id]; c.Effective.Memory != 67108864 || c.Effective.Pids != 20 {
			return errors.New("the lower limit above is not seen yet")
		}
		return nil
	})
	c := w.live[id]
	require.Equal(t, uint64(134217728), c.Sample.Limits.Memory)
	require.Equal(t, uint64(20), c.Effective.Pids)
}

// Who does not care how processes are watched takes what others want, and
// stands in nobody's way.
func TestNoWishForAProcessStream(t *testing.T) {
	alone(t)
	testkit.VerifyNoLeaks(t)
	careless, err := hostview.Acquire(hostview.Options{Roots: hostfs.NewRoots("/")})
	require.NoError(t, err)
	defer careless.Release()
	off, err := hostview.Acquire(hostview.Options{Roots: hostfs.NewRoots("/"), ProcessStream: hostview.ProcessStreamOff})
	require.NoError(t, err)
	defer off.Release()
	require.Same(t, careless, off)
	_, err = hostview.Acquire(hostview.Options{Roots: hostfs.NewRoots("/"), ProcessStream: hostview.ProcessStreamAuto})
	require.ErrorIs(t, err, hostview.ErrConflict)
	again, err := hostview.Acquire(hostview.Options{Roots: hostfs.NewRoots("/")})
	require.NoError(t, err)
	again.Release()
}

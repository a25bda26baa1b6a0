package hostview_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/cgroup"
	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/internal/hostview/sampler"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

func TestTiers(t *testing.T) {
	testkit.NeedBPF(t)
	alone(t)
	tier := func(wish hostview.ProcessStream) hostview.Tier {
		t.Helper()
		v, err := hostview.Acquire(hostview.Options{Roots: hostfs.NewRoots("/"), ProcessStream: wish})
		require.NoError(t, err)
		defer v.Release()
		got, why := v.Tier()
		require.NoError(t, why)
		return got
	}
	require.Equal(t, hostview.TierBPF, tier(hostview.ProcessStreamAuto))
	require.Equal(t, hostview.TierConnector, tier(hostview.ProcessStreamConnector))
	require.Equal(t, hostview.TierProc, tier(hostview.ProcessStreamProc))
	require.Equal(t, hostview.TierOff, tier(hostview.ProcessStreamOff))
	require.Equal(t, hostview.TierProc, tier(""))
}

// Containers that live a few milliseconds have a start, an end, an exit code
// and a peak, however rarely anybody looks.
func TestShortLives(t *testing.T) {
	testkit.NeedBPF(t)
	t.Run("beside each other", func(t *testing.T) { shortLives(t, newContainer) })
	// No watch tells of these.
	t.Run("each in a new directory", func(t *testing.T) {
		shortLives(t, func(t *testing.T) (*testkit.Group, string) {
			outer, _ := newContainer(t)
			id := newID(t)
			return outer.Child("docker").Child(id), id
		})
	})
}

func shortLives(t *testing.T, newContainer func(*testing.T) (*testkit.Group, string)) {
	v := acquire(t)
	s := v.Sampler(t.Name(), sampler.Settings{
		Interval: time.Second,
		Want:     func(c container.Cgroup) bool { return c.Class == container.ClassContainer },
	})
	defer v.ReleaseSampler(t.Name())
	consumer := s.Subscribe()
	defer consumer.Close()
	const containers = 20
	var ids []string
	var noPidsPeak error
	for i := range containers {
		g, id := newContainer(t)
		_, noPidsPeak = os.Stat(filepath.Join(g.Dir("pids"), "pids.peak"))
		require.Error(t, testkit.Run(t, g, "sh", "-c", fmt.Sprintf("dd if=/dev/zero of=/dev/null bs=4M count=1 2>/dev/null; exit %d", i+1)).Wait())
		g.Remove()
		ids = append(ids, id)
	}
	var events []sampler.Event // nobody has looked until now
	testkit.Eventually(t, patience, func() error {
		consumer.Collect(func(p *sampler.Pass) {
			for _, e := range p.Events {
				copied := *e.Target
				e.Target = &copied
				events = append(events, e)
			}
		})
		stopped := 0
		for _, e := range events {
			if e.Kind == sampler.Stopped && slices.Contains(ids, e.Target.ID) {
				stopped++
			}
		}
		if stopped < containers {
			return fmt.Errorf("%d have stopped: %w", stopped, errNotYet)
		}
		return nil
	})
	for i, id := range ids {
		var kinds []sampler.EventKind
		for _, e := range events {
			if e.Target.ID != id {
				continue
			}
			kinds = append(kinds, e.Kind)
			if e.Kind == sampler.Stopped {
				require.True(t, e.Target.HasExit)
				require.Equal(t, i+1, e.Target.Exit.Status.ExitStatus())
				require.NotZero(t, e.Target.Sample.Known&cgroup.PartMemoryPeak)
				require.Greater(t, e.Target.Sample.Memory.Peak, uint64(4<<20))
				if noPidsPeak == nil { // Linux 6.1 or newer
					require.GreaterOrEqual(t, e.Target.PidsPeak, uint64(2))
				}
			}
		}
		require.Equal(t, []sampler.EventKind{sampler.Started, sampler.Stopped}, kinds)
	}
}

// A process that is older than the stream is known as well.
func TestOldProcessIsKnown(t *testing.T) {
	testkit.NeedBPF(t)
	alone(t)
	g, id := newContainer(t)
	cmd := testkit.Run(t, g, "sleep", "600")
	v := acquire(t)
	c, ok := v.Container(cmd.Process.Pid)
	require.True(t, ok)
	require.Equal(t, id, c.ID)
	_, ok = v.Container(os.Getpid())
	require.False(t, ok, "it is in no container")
}

// Every one of many short processes is known by its container, also after its
// end, and nothing is lost.
func TestEveryProcessIsKnown(t *testing.T) {
	testkit.NeedBPF(t)
	v := acquire(t)
	const containers, each = 5, 400
	pids, ids := make([][]int, containers), make([]string, containers)
	var running []*exec.Cmd
	dir := t.TempDir()
	for i := range containers {
		g, id := newContainer(t)
		ids[i] = id
		script := fmt.Sprintf(`i=0; while [ $i -lt %d ]; do sh -c 'echo $$'; i=$((i+1)); done >%s/%d`, each, dir, i)
		running = append(running, testkit.Run(t, g, "sh", "-c", script))
	}
	for i, cmd := range running {
		require.NoError(t, cmd.Wait())
		text, err := os.ReadFile(filepath.Join(dir, strconv.Itoa(i)))
		require.NoError(t, err)
		for word := range strings.FieldsSeq(string(text)) {
			pid, err := strconv.Atoi(word)
			require.NoError(t, err)
			pids[i] = append(pids[i], pid)
		}
		require.Len(t, pids[i], each)
	}
	testkit.Eventually(t, patience, func() error {
		for i := range containers {
			for _, pid := range pids[i] {
				c, ok := v.Container(pid)
				if !ok {
					return fmt.Errorf("process %d of %.8s: %w", pid, ids[i], errNotYet)
				}
				require.Equal(t, ids[i], c.ID)
			}
		}
		return nil
	})
	stats, ok := v.StreamStats()
	require.True(t, ok)
	for what, n := range stats.Dropped {
		require.Zero(t, n, what)
	}
}

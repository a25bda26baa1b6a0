package hostview_test

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/internal/procstream"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// A reader that stalls loses events. It says so, says nothing wrong, and
// afterwards knows all that lives.
func TestOverflowAttributesNothingWrongly(t *testing.T) {
	testkit.NeedBPF(t)
	alone(t)
	v, err := hostview.Acquire(hostview.Options{
		Roots: hostfs.NewRoots("/"), ProcessStream: hostview.ProcessStreamAuto, RingBytes: 64 << 10,
	})
	require.NoError(t, err)
	defer v.Release()
	s := v.Subscribe(hostview.SubscriptionOptions{})
	defer s.Close()
	groups, ids, codes := [2]*testkit.Group{}, [2]string{}, map[string]int{}
	for i := range groups {
		groups[i], ids[i] = newContainer(t)
		codes[ids[i]] = 10 + i
	}
	before := testkit.Run(t, groups[0], "sleep", "1000")

	release := s.Hold()
	var burst, during [2]*exec.Cmd
	for i, g := range groups {
		burst[i] = testkit.Run(t, g, "sh", "-c", fmt.Sprintf("i=0; while [ $i -lt 300 ]; do (exit %d); i=$((i+1)); done", 10+i))
	}
	for i := range burst {
		require.NoError(t, burst[i].Wait())
		during[i] = testkit.Run(t, groups[i], "sleep", "1000")
	}
	release()

	testkit.Eventually(t, patience, func() error {
		if s.Stats().Gaps == 0 {
			return errNotYet
		}
		return nil
	})
	stats, ok := v.StreamStats()
	require.True(t, ok)
	require.NotZero(t, stats.Dropped["fork"]+stats.Dropped["exit"], stats.Dropped)
	require.Zero(t, s.Stats().Dropped, "the queue had room: what was lost, the kernel has lost")
	exits := 0
	for _, e := range s.Take(nil) {
		if code := codes[e.Container.ID]; code != 0 && e.Kind == procstream.Exited && e.Exit.Status.ExitStatus() >= 10 {
			require.Equal(t, code, e.Exit.Status.ExitStatus())
			exits++
		}
	}
	require.Less(t, exits, 600)
	known := func(cmd *exec.Cmd, id string) {
		t.Helper()
		testkit.Eventually(t, patience, func() error { return isIn(v, cmd.Process.Pid, id) })
	}
	known(before, ids[0])
	for i := range during {
		known(during[i], ids[i])
		known(testkit.Run(t, groups[i], "sleep", "1000"), ids[i])
		_, ok := v.Container(burst[i].Process.Pid)
		require.False(t, ok, "its end may have been lost: nothing is known of it")
	}
}

func isIn(v *hostview.View, pid int, id string) error {
	if c, ok := v.Container(pid); !ok || c.ID != id {
		return fmt.Errorf("process %d: %w", pid, errNotYet)
	}
	return nil
}

// The number of a dead process is given to one in another container: each is
// found by its start, and the number means the living one.
func TestReusedNumber(t *testing.T) {
	testkit.NeedBPF(t)
	v := acquire(t)
	s := v.Subscribe(hostview.SubscriptionOptions{})
	defer s.Close()
	first, firstID := newContainer(t)
	second, secondID := newContainer(t)
	old := testkit.Run(t, first, "sleep", "1000")
	pid := old.Process.Pid
	testkit.Eventually(t, patience, func() error { return isIn(v, pid, firstID) })
	oldStart := startOf(t, pid)
	require.NoError(t, old.Process.Kill())
	require.Error(t, old.Wait())
	require.NoError(t, isIn(v, pid, firstID), "also after its end")

	// Somebody else may get the number first, and will give it back.
	testkit.Eventually(t, patience, func() error {
		require.NoError(t, os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0))
		next := testkit.Run(t, second, "sleep", "1000")
		if next.Process.Pid == pid {
			return nil
		}
		require.NoError(t, next.Process.Kill())
		_ = next.Wait()
		return errNotYet
	})
	testkit.Eventually(t, patience, func() error { return isIn(v, pid, secondID) })
	newStart := startOf(t, pid)
	for start, id := range map[uint64]string{oldStart: firstID, newStart: secondID} {
		c, ok := v.ContainerOf(pid, start)
		require.True(t, ok)
		require.Equal(t, id, c.ID)
	}
	_, ok := v.ContainerOf(pid, oldStart+1<<20)
	require.False(t, ok)
	for _, e := range s.Take(nil) {
		if e.PID == pid {
			require.Equal(t, map[uint64]string{oldStart: firstID, newStart: secondID}[e.Start], e.Container.ID, e.Kind)
		}
	}
}

func startOf(t *testing.T, pid int) uint64 {
	t.Helper()
	stat, err := procstream.NewReader(hostfs.NewRoots("/")).Stat(pid)
	require.NoError(t, err)
	return stat.Start
}

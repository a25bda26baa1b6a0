package state

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/cgroup"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

func camera(t *testing.T, paths map[string]string) *Camera {
	t.Helper()
	roots := hostfs.NewRoots("/")
	host, err := cgroup.Detect(roots)
	require.NoError(t, err)
	return NewCamera(Options{
		Roots: roots, Cgroups: host,
		Place: func(id string) (string, bool) { path, ok := paths[id]; return path, ok },
	})
}

func missing(s *Snapshot) []string {
	var what []string
	for _, m := range s.Missing {
		what = append(what, m.What)
	}
	return what
}

// A real process in a real cgroup, in a network namespace of its own, with a
// child in a cgroup inside.
func TestSnapshotOfARealChild(t *testing.T) {
	testkit.NeedCommand(t, "unshare", "sh", "sleep")
	group := testkit.Cgroup(t, "state")
	testkit.VerifyNoLeaks(t)
	child := testkit.Run(t, group, "unshare", "-n", "sh", "-c", "exec sleep 600", "--password=hunter2")
	pid := child.Process.Pid
	testkit.Eventually(t, 30*time.Second, func() error { return becomes(pid, "sleep") })
	inner := testkit.Run(t, group.Child("inner"), "sleep", "601")

	c := camera(t, map[string]string{"one": group.Path()})
	s := c.Take(t.Context(), Request{Container: "one"})
	t.Logf("picture took %d us: %d files of the cgroup, %d processes, %d of the host", s.TookMicros, len(s.Cgroup), len(s.Processes), len(s.Host))

	require.Empty(t, s.Missing)
	require.Equal(t, group.Path(), s.CgroupPath)
	require.Len(t, s.Processes, 2)
	i := slices.IndexFunc(s.Processes, func(p Process) bool { return p.PID == pid })
	require.GreaterOrEqual(t, i, 0)
	p := s.Processes[i]
	require.Equal(t, "sleep", p.Comm)
	require.Equal(t, os.Getpid(), p.PPID)
	require.Equal(t, []string{"sleep", "600"}, p.Argv)
	require.Equal(t, "S", p.State)
	require.Equal(t, pid, p.VPID)
	require.Positive(t, p.RSS)
	require.Equal(t, 1, p.Threads)
	require.GreaterOrEqual(t, p.Files, 3)
	require.Contains(t, p.Exe, "sleep")
	require.WithinDuration(t, time.Now(), p.Start, time.Minute)
	require.True(t, slices.ContainsFunc(s.Processes, func(p Process) bool { return p.PID == inner.Process.Pid }), "the one in the inner cgroup")

	usage := "memory.usage_in_bytes"
	if group.Unified("memory") {
		usage = "memory.current"
	}
	require.NotEmpty(t, s.Cgroup[usage])
	// The inner one is in the test's own namespace, which is the host's or not.
	require.True(t, slices.ContainsFunc(s.Sockets, func(n Netns) bool { return n.PID == pid && len(n.States) == 0 }), "%v", s.Sockets)
	require.Contains(t, s.Host["meminfo"], "MemTotal:")
	require.NotEmpty(t, s.Host["loadavg"])

	text, err := json.Marshal(s)
	require.NoError(t, err)
	var back Snapshot
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, s.Processes[i].Argv, back.Processes[i].Argv)
}

func TestSnapshotMasksArguments(t *testing.T) {
	testkit.NeedCommand(t, "sh", "sleep")
	group := testkit.Cgroup(t, "mask")
	// The shell waits for its child, so its own arguments stay.
	testkit.Run(t, group, "sh", "-c", "sleep 600; true", "app", "--password=hunter2", "http://bob:hunter2@db/")
	c := camera(t, map[string]string{"one": group.Path()})
	s := c.Take(t.Context(), Request{Container: "one"})
	text, err := json.Marshal(s)
	require.NoError(t, err)
	require.NotContains(t, string(text), "hunter2")
	require.Contains(t, string(text), "--password=***")
	require.Equal(t, 2, s.Redacted["argument"])
}

// The runtime kills the processes and removes the cgroup while the picture is
// taken. What was there is in it, and what went is no error.
func TestSnapshotWhileTheCgroupGoes(t *testing.T) {
	testkit.NeedCommand(t, "sleep")
	group := testkit.Cgroup(t, "going")
	testkit.VerifyNoLeaks(t)
	partly := 0
	for n := range 20 {
		one := group.Child("one" + strconv.Itoa(n))
		for range 3 {
			testkit.Run(t, one, "sleep", "600")
		}
		c := camera(t, map[string]string{"one": one.Path()})
		whole := c.Take(t.Context(), Request{Container: "one"})
		require.Len(t, whole.Processes, 3)
		begun := make(chan struct{})
		taken := make(chan *Snapshot)
		go func() {
			close(begun)
			taken <- c.Take(t.Context(), Request{Container: "one"})
		}()
		<-begun
		one.Remove()
		s := <-taken
		for _, m := range s.Missing {
			require.Contains(t, []string{"cgroup", "processes"}, m.What, m.Why)
		}
		if len(s.Cgroup) < len(whole.Cgroup) || len(s.Processes) < 3 {
			partly++
		}
		after := c.Take(t.Context(), Request{Container: "one"})
		require.Equal(t, []string{"cgroup"}, missing(after))
		require.Empty(t, after.Processes)
	}
	t.Logf("%d of 20 pictures lack something", partly)
}

func TestSnapshotOfNothing(t *testing.T) {
	c := camera(t, map[string]string{"gone": "/tallyman-no-such-cgroup"})
	s := c.Take(t.Context(), Request{Container: "gone"})
	require.Contains(t, missing(s), "cgroup")
	require.NotEmpty(t, s.Host, "the host is still there")
	s = c.Take(t.Context(), Request{Container: "unknown"})
	require.Equal(t, []string{"cgroup"}, missing(s))
	s = c.Take(t.Context(), Request{})
	require.Empty(t, missing(s))
	require.NotEmpty(t, s.Host)
}

func TestSnapshotStopsWhenTimeIsUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := camera(t, nil).Take(ctx, Request{})
	require.Equal(t, []string{"host"}, missing(s))
	require.Len(t, s.Host, 1, "nothing after the first file")
}

func becomes(pid int, name string) error {
	comm, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm")
	if err != nil {
		return err
	}
	if got := strings.TrimSpace(string(comm)); got != name {
		return fmt.Errorf("process %d is still %q", pid, got)
	}
	return nil
}

package state

import (
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// withoutCapabilities runs f on a thread that has none, as one of an agent that is not
// root. The thread ends with it.
func withoutCapabilities(t *testing.T, f func()) {
	t.Helper()
	failed := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the runtime gives the thread up
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		err := unix.Capset(&header, &make([]unix.CapUserData, 2)[0])
		if err == nil {
			f()
		}
		failed <- err
	}()
	require.NoError(t, <-failed)
}

// What a plain user may not see of others' processes is told, with what it takes.
func TestSnapshotWithoutRights(t *testing.T) {
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "sleep")
	group := testkit.Cgroup(t, "rights")
	child := exec.CommandContext(t.Context(), "sleep", "600")
	child.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	require.NoError(t, child.Start())
	t.Cleanup(func() { _ = child.Process.Kill(); _ = child.Wait() })
	testkit.Eventually(t, 30*time.Second, func() error { return becomes(child.Process.Pid, "sleep") })
	group.AddPID(child.Process.Pid)
	c := camera(t, map[string]string{"one": group.Path()})
	ask := Request{Container: "one", KernelFrom: time.Now()}

	whole := c.Take(t.Context(), ask)
	require.Empty(t, whole.Missing)
	require.Positive(t, whole.Processes[0].Files)

	var s *Snapshot
	withoutCapabilities(t, func() { s = c.Take(t.Context(), ask) })
	require.Len(t, s.Processes, 1)
	require.Equal(t, "sleep", s.Processes[0].Comm, "what everybody may see")
	require.Equal(t, []string{"sleep", "600"}, s.Processes[0].Argv)
	require.Empty(t, s.Processes[0].Exe)
	require.Empty(t, s.Sockets)
	require.Contains(t, s.Missing, Missing{What: "exe, cwd, sockets", Why: "permission denied: it needs CAP_SYS_PTRACE"})
	require.Contains(t, s.Missing, Missing{What: "open files", Why: "permission denied: it needs CAP_DAC_READ_SEARCH"})
}

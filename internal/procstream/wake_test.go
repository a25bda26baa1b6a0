package procstream_test

import (
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/procstream"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// A stream that never looks by itself is woken by the first record after any pause,
// and finds those that follow it: one that wakes nobody would stay there for ever
// where nothing else happens.
func TestRecordsWakeTheReader(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	testkit.NeedBPF(t)
	memory, err := procstream.HierarchyID(hostfs.NewRoots("/"), "memory")
	require.NoError(t, err)
	tp := &tape{}
	s, err := procstream.OpenStream(procstream.StreamOptions{Hierarchy: memory, Handle: tp.handle, Lost: tp.loss}.WithoutLooks())
	require.NoError(t, err)
	t.Cleanup(s.Close)
	for range 20 {
		// The end comes within the pause after the start, or after it.
		for _, seconds := range []string{"0", "0.008", "0.03"} {
			cmd := exec.Command("sleep", seconds)
			require.NoError(t, cmd.Run())
			tp.ended(t, cmd.Process.Pid)
		}
	}
	cmd := exec.Command("sleep", "600")
	require.NoError(t, cmd.Start())
	require.NoError(t, cmd.Process.Signal(syscall.SIGKILL))
	_ = cmd.Wait()
	tp.ended(t, cmd.Process.Pid)
}

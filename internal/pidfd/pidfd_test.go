package pidfd_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/pidfd"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// Of a living process its number is told, of one that has ended and was waited
// for the cgroup it left.
func TestInfo(t *testing.T) {
	if err := pidfd.Probe(); err != nil {
		require.ErrorIs(t, err, hostfs.ErrNotSupported)
		testkit.Lack(t, testkit.Feature{Name: "PIDFD_INFO_EXIT", MinKernel: "6.17"}, err)
	}
	own, err := unix.PidfdOpen(os.Getpid(), 0)
	require.NoError(t, err)
	defer unix.Close(own)
	info, err := pidfd.Info(own)
	require.NoError(t, err)
	require.EqualValues(t, os.Getpid(), info.Pid)
	require.False(t, pidfd.HasEnded(own))

	pid, err := pidfd.Fork(nil)
	require.NoError(t, err)
	fd, err := unix.PidfdOpen(pid, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	require.NoError(t, pidfd.Wait(pid))
	require.True(t, pidfd.HasEnded(fd))
	info, err = pidfd.Info(fd)
	require.NoError(t, err)
	require.NotZero(t, info.Mask&unix.PIDFD_INFO_EXIT)
	require.NotZero(t, info.Cgroupid)
}

func TestDescriptor(t *testing.T) {
	require.Equal(t, -1, pidfd.Descriptor(nil))
	require.Equal(t, -1, pidfd.Descriptor([]byte("no control message")))
	require.Equal(t, -1, pidfd.Descriptor(unix.UnixRights(3)), "a descriptor, but none of a process")
}

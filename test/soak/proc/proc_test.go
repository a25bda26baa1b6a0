package proc_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/test/soak/proc"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const busyWithin = 30 * time.Second

var errIdle = errors.New("no time has been counted")

// held is 64 MiB, far beyond what the runtime does beside the test.
const held = 64 << 20

// This process is told what it has just opened and taken.
func TestOwnProcess(t *testing.T) {
	before, err := proc.Descriptors(os.Getpid())
	require.NoError(t, err)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	defer func() { require.NoError(t, w.Close()) }()
	file, err := os.Create(filepath.Join(t.TempDir(), "gone"))
	require.NoError(t, err)
	defer func() { require.NoError(t, file.Close()) }()
	require.NoError(t, os.Remove(file.Name()))
	status, err := os.Open("/proc/self/status")
	require.NoError(t, err)
	defer func() { require.NoError(t, status.Close()) }()
	after, err := proc.Descriptors(os.Getpid())
	require.NoError(t, err)
	for kind, more := range map[string]int{proc.Pipe: 2, proc.Deleted: 1, proc.ProcFS: 1, proc.Socket: 0} {
		require.Equal(t, before[kind]+more, after[kind], kind)
	}

	small, err := proc.ReadUsage(os.Getpid())
	require.NoError(t, err)
	memory := make([]byte, held)
	for i := 0; i < len(memory); i += 4096 {
		memory[i] = 1
	}
	large, err := proc.ReadUsage(os.Getpid())
	require.NoError(t, err)
	require.Greater(t, large.RSS-small.RSS, int64(held/2))
	require.Greater(t, large.Anon-small.Anon, int64(held/2))
	require.Greater(t, large.PSS-small.PSS, int64(held/2))
	require.Less(t, large.File, large.RSS)
	require.Positive(t, large.Threads)
	require.EqualValues(t, 1, memory[0]) // held until here
}

func TestCPUGrows(t *testing.T) {
	before, err := proc.ReadCPU(os.Getpid())
	require.NoError(t, err)
	sum := 0
	testkit.Eventually(t, busyWithin, func() error {
		for i := range 1 << 20 {
			sum += i * i
		}
		now, err := proc.ReadCPU(os.Getpid())
		if err == nil && now.User == before.User {
			return errIdle
		}
		return err
	})
	require.NotZero(t, sum)
}

// A thread that waits for another one goes to sleep.
func TestSwitchesGrow(t *testing.T) {
	before, err := proc.ReadSwitches(os.Getpid())
	require.NoError(t, err)
	testkit.Eventually(t, busyWithin, func() error { // it waits between two looks
		now, err := proc.ReadSwitches(os.Getpid())
		if err == nil && now <= before {
			return errIdle
		}
		return err
	})
}

func TestProcessThatIsNot(t *testing.T) {
	const none = 1 << 30 // beyond the kernel's largest process id, 2^22
	_, err := proc.Descriptors(none)
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = proc.ReadUsage(none)
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = proc.ReadSwitches(none)
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = proc.ReadCPU(none)
	require.ErrorIs(t, err, os.ErrNotExist)
}

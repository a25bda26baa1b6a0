package hostfs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

func TestDirReadsBelowItself(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	path := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(path, "net"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(path, "net", "dev"), pattern(10_000), 0o600))

	d, err := hostfs.OpenDir(path)
	require.NoError(t, err)
	defer d.Close()
	require.Equal(t, path, d.Path())
	b, err := d.ReadFile("net/dev", make([]byte, 0, 16))
	require.NoError(t, err)
	require.Equal(t, pattern(10_000), b)

	b, err = d.ReadFile("net/snmp", b)
	require.ErrorIs(t, err, hostfs.ErrGone)
	require.Empty(t, b)
	_, err = d.ReadFile("net", b)
	require.ErrorContains(t, err, path, "the error names the directory")
	d.Close()
	_, err = d.Inode("net/dev")
	require.Error(t, err)
}

func TestDirThatIsNotThere(t *testing.T) {
	_, err := hostfs.OpenDir(filepath.Join(t.TempDir(), "4711"))
	require.ErrorIs(t, err, hostfs.ErrGone)
	var none *hostfs.Dir
	none.Close()
}

// The directory of a process that has gone stays the directory of that
// process.
func TestDirOfAProcessEndsWithIt(t *testing.T) {
	cmd := exec.Command("sleep", "600")
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	d, err := hostfs.OpenDir("/proc/" + strconv.Itoa(cmd.Process.Pid))
	require.NoError(t, err)
	defer d.Close()

	inode, err := d.Inode("ns/net")
	require.NoError(t, err)
	mine, err := hostfs.OpenDir("/proc/self")
	require.NoError(t, err)
	defer mine.Close()
	want, err := mine.Inode("ns/net")
	require.NoError(t, err)
	require.Equal(t, want, inode)

	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	_, err = d.Inode("ns/net")
	require.ErrorIs(t, err, hostfs.ErrGone)
	_, err = d.ReadFile("stat", nil)
	require.ErrorIs(t, err, hostfs.ErrGone)
}

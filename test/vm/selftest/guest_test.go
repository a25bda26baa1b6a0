//go:build vm

package selftest

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const cgroupRoot = "/sys/fs/cgroup"

func TestGuestIsPureCgroupV2(t *testing.T) {
	var st unix.Statfs_t
	require.NoError(t, unix.Statfs(cgroupRoot, &st))
	require.EqualValues(t, unix.CGROUP2_SUPER_MAGIC, st.Type)

	for _, name := range []string{"cgroup.controllers", "cgroup.subtree_control"} {
		have := strings.Fields(read(t, filepath.Join(cgroupRoot, name)))
		for _, want := range []string{"cpu", "io", "memory", "pids"} {
			require.Contains(t, have, want, name)
		}
	}
	require.Equal(t, "0::/\n", read(t, "/proc/self/cgroup"), "a v1 hierarchy would add lines")
	require.NotContains(t, read(t, "/proc/mounts"), " cgroup ")
}

func TestGuestChargesMemory(t *testing.T) {
	enter(t, "selftest-memory")
	const size = 8 << 20
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_POPULATE)
	require.NoError(t, err)
	defer func() { require.NoError(t, unix.Munmap(mem)) }()

	current, err := strconv.Atoi(strings.TrimSpace(read(t, filepath.Join(cgroupRoot, "selftest-memory", "memory.current"))))
	require.NoError(t, err)
	// The kernel charges per processor in batches, never less than what was touched.
	require.GreaterOrEqual(t, current, size)
}

func TestGuestCountsDiskWrites(t *testing.T) {
	enter(t, "selftest-io")
	f, err := os.CreateTemp(t.TempDir(), "io")
	require.NoError(t, err)
	defer f.Close()
	_, err = f.Write(make([]byte, 1<<20))
	require.NoError(t, err)
	require.NoError(t, f.Sync())

	stat := read(t, filepath.Join(cgroupRoot, "selftest-io", "io.stat"))
	require.Regexp(t, `(?m)^\d+:\d+ .*wbytes=[1-9]`, stat, "TMPDIR has to be on a block device")
}

func TestGuestEnvironment(t *testing.T) {
	require.Equal(t, "1", os.Getenv("TALLYMAN_VM"))
	require.Equal(t, "1", os.Getenv("TALLYMAN_REQUIRE"))
	require.Equal(t, "relative test data is there\n", read(t, "testdata/here.txt"))
}

// enter moves this process into a new cgroup below the root for the rest of the test.
func enter(t *testing.T, name string) {
	t.Helper()
	dir := filepath.Join(cgroupRoot, name)
	require.NoError(t, os.Mkdir(dir, 0o755))
	join(t, dir)
	t.Cleanup(func() {
		join(t, cgroupRoot)
		require.NoError(t, os.Remove(dir))
	})
}

func join(t *testing.T, dir string) {
	t.Helper()
	pid := strconv.Itoa(os.Getpid())
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(pid), 0o644))
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(text)
}

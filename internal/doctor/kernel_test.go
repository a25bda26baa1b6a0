package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/cgroup"
	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// named gives a result what Run gives it.
func named(t *testing.T, r Result) Result {
	t.Helper()
	r.Name, r.Title = "test", "test"
	checkResult(t, r)
	return r
}

func TestJudgeKernel(t *testing.T) {
	f := func(release string, want Status, meaning string) {
		t.Helper()
		r := named(t, judgeKernel(release))
		require.Equal(t, want, r.Status, release)
		require.Contains(t, r.Meaning, meaning, release)
	}
	f("6.18.44-fc-v669", Pass, "everything.")
	f("6.1.0-50-cloud-amd64", Pass, "most tasks at once")
	f("6.3", Pass, "everything.")
	f("5.19.17", Warn, "most tasks at once")
	f("5.10.0-8-amd64", Warn, "memory peaks on cgroup v2 (5.19)")
	f("4.18.0-553.el8_10.x86_64", Warn, "the process stream (5.10)")
	f("10.0.1", Pass, "everything.")
	f("unknown", Unknown, "")
}

func TestParseRelease(t *testing.T) {
	f := func(release string, want kernelVersion) {
		t.Helper()
		got, err := parseRelease(release)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	f("6.1.0-50-cloud-amd64", kernelVersion{6, 1})
	f("5.10", kernelVersion{5, 10})
	f("6.12-rc1", kernelVersion{6, 12})
	f("3.10.0-1160.el7", kernelVersion{3, 10})
	for _, release := range []string{"", "6", "6.", ".1", "x.y", "-6.1", "6.x"} {
		if v, err := parseRelease(release); err == nil || v != (kernelVersion{}) {
			t.Errorf("%q gives %v, %v", release, v, err)
		}
	}
}

func TestCheckRoot(t *testing.T) {
	f := func(root string, want Status, found string) {
		t.Helper()
		r := named(t, Options{Roots: hostfs.NewRoots(root)}.checkRoot(t.Context()))
		require.Equal(t, want, r.Status)
		require.Contains(t, r.Found, found)
	}
	f("/", Pass, "own")
	f("/proc/self/root", Pass, "/proc/self/root") // as a mounted root: another path
	copied := t.TempDir()
	f(copied, Fail, "no proc file system")
	require.NoError(t, os.Mkdir(filepath.Join(copied, "proc"), 0o700))
	f(copied, Fail, "no proc file system")
	f(filepath.Join(copied, "missing"), Fail, "cannot be the host's root")
}

func TestJudgeCgroups(t *testing.T) {
	f := func(mode cgroup.Mode, want Status) {
		t.Helper()
		r := judgeCgroups(mode, "/sys/fs/cgroup")
		require.Equal(t, want, named(t, r).Status)
		require.Contains(t, r.Found, mode.String())
	}
	f(cgroup.V2, Pass)
	f(cgroup.Hybrid, Pass)
	f(cgroup.V1, Warn)
}

func TestPartOfTheCgroups(t *testing.T) {
	const own = 4026532182
	host, mounted := hostfs.NewRoots("/"), hostfs.NewRoots("/hostfs")
	require.False(t, isPart("/", hostCgroupNamespace, host))
	require.False(t, isPart("/", hostCgroupNamespace, mounted))
	require.False(t, isPart("/../..", own, mounted), "the host's mount, seen from a namespace")
	require.False(t, isPart("/", own, mounted))
	require.True(t, isPart("/docker/abc", hostCgroupNamespace, host), "Docker's mount of v1")
	require.True(t, isPart("/", own, host))
	r := named(t, judgePart(cgroup.V1, "/sys/fs/cgroup/memory", "/docker/abc"))
	require.Equal(t, Warn, r.Status)
	require.Contains(t, r.Found, "only /docker/abc is mounted")
}

func TestJudgeNamespaces(t *testing.T) {
	f := func(r Result, want Status) {
		t.Helper()
		require.Equal(t, want, named(t, r).Status, "%+v", r)
	}
	const own = 4026532182
	host, mounted := hostfs.NewRoots("/"), hostfs.NewRoots("/hostfs")
	f(judgeCgroupNamespace(hostCgroupNamespace, host), Pass)
	f(judgeCgroupNamespace(hostCgroupNamespace, mounted), Pass)
	f(judgeCgroupNamespace(own, host), Warn)
	f(judgeCgroupNamespace(own, mounted), Pass)

	f(judgePIDNamespace(hostPIDNamespace, true, host), Pass)
	f(judgePIDNamespace(hostPIDNamespace, true, mounted), Pass)
	f(judgePIDNamespace(own, false, host), Warn)
	f(judgePIDNamespace(own, true, mounted), Fail)
	require.Contains(t, judgePIDNamespace(own, true, mounted).Found, "/hostfs/proc shows the host's")
}

func TestJudgePressure(t *testing.T) {
	read := func(text string) error {
		path := filepath.Join(t.TempDir(), "cpu")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		file := hostfs.NewFile(path, hostfs.NewBudget(0))
		_, _, err := cgroup.ReadPressure(&file, nil)
		return err
	}
	const stalled = "some avg10=0.08 avg60=0.19 avg300=8.69 total=3601376309\n"
	require.NoError(t, read(stalled+"full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"))
	require.NoError(t, read(stalled), "kernels before 5.13 have no line for full CPU stalls")
	for _, text := range []string{"", "some avg10=x\n", stalled[:20]} {
		require.Equal(t, Unknown, named(t, judgePressure("/proc/pressure/cpu", read(text))).Status, text)
	}
	off := named(t, judgePressure("/proc/pressure/cpu", fmt.Errorf("read /proc/pressure/cpu: %w", unix.EOPNOTSUPP)))
	require.Equal(t, Warn, off.Status)
	require.Equal(t, "switched off at boot", off.Found)
	gone := named(t, judgePressure("/proc/pressure/cpu", hostfs.ErrGone))
	require.Equal(t, Warn, gone.Status)
	require.Contains(t, gone.Found, "is not there")
}

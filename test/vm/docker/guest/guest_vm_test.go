//go:build vmdocker

package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

const (
	cgroupMount = "/sys/fs/cgroup"
	mib         = 1 << 20

	uptime series = "container_uptime_seconds"
)

func shell(script string) []string { return []string{"sh", "-c", script} }

// engine returns the one that systemd has started. testkit.Docker would start another where that does not answer.
func engine(t *testing.T) *testkit.Engine {
	t.Helper()
	e, err := testkit.FindEngine(t.Context())
	require.NoError(t, err)
	return e
}

// start runs a container to the end of the test, and tells what the agent made of it if the test does not pass.
func start(t *testing.T, spec testkit.ContainerSpec) *testkit.Container {
	t.Helper()
	c := engine(t).RunContainer(t, spec)
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		all, err := events(c.ID, "")
		t.Logf("events of %s, first process %d (%v):", c.Name, c.PID, err)
		for _, e := range all {
			t.Logf("  %s %s %v", e.severity, e.name, e.attributes)
		}
	})
	return c
}

// scopeOf is where the systemd driver puts a container. That it is there is proven by the container's process.
func scopeOf(t *testing.T, c *testkit.Container) scope {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", c.PID))
	require.NoError(t, err)
	require.Regexp(t, `^0::/system\.slice/docker-[0-9a-f]{64}\.scope\n$`, string(text))
	require.Contains(t, string(text), c.ID)
	return scope{cgroupMount, "/system.slice/docker-" + c.ID + ".scope"}
}

// The machine is what the rest of these tests takes it for.
func TestMachineIsWhatMostUsersRun(t *testing.T) {
	result, err := engine(t).Client().Info(t.Context(), client.InfoOptions{})
	require.NoError(t, err)
	info := result.Info
	t.Logf("%s, Linux %s, Docker %s, %s, cgroup driver %s, cgroup version %s",
		info.OperatingSystem, info.KernelVersion, info.ServerVersion, info.Driver, info.CgroupDriver, info.CgroupVersion)
	require.Equal(t, "systemd", info.CgroupDriver)
	require.Equal(t, "2", info.CgroupVersion)

	var st unix.Statfs_t
	require.NoError(t, unix.Statfs(cgroupMount, &st))
	require.EqualValues(t, unix.CGROUP2_SUPER_MAGIC, st.Type)
	mounts, err := os.ReadFile("/proc/mounts")
	require.NoError(t, err)
	require.NotContains(t, string(mounts), " cgroup ", "a v1 hierarchy is mounted")
	first, err := os.ReadFile("/proc/1/comm")
	require.NoError(t, err)
	require.Equal(t, "systemd\n", string(first))

	runAgent(t)
	own, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", mainPID(t)))
	require.NoError(t, err)
	require.Equal(t, "0::/system.slice/"+unit+"\n", string(own))
}

// subject is a container with something to measure, and what must have been measured for a comparison to mean anything.
type subject struct {
	spec  testkit.ContainerSpec
	shows figures

	*testkit.Container
	scope scope
}

func subjects() []*subject {
	return []*subject{
		{spec: testkit.ContainerSpec{Name: "idle"}, shows: figures{"container_pids_count": 1}},
		{
			// dd holds its block while the pipe is full.
			spec: testkit.ContainerSpec{
				Name: "holder", Memory: 64 * mib, MemorySwap: 64 * mib, PidsLimit: 32,
				Cmd: shell(`sleep 2147483647 & sleep 2147483647 & dd if=/dev/zero bs=16M | sleep 2147483647`),
			},
			shows: figures{
				"container_memory_limit_bytes": 64 * mib, "container_memory_rss_bytes": 16 * mib,
				"container_pids_limit": 32, "container_pids_count": 5,
			},
		},
		{
			spec: testkit.ContainerSpec{Name: "burner", CPUQuota: 25_000, Cmd: shell(`while :; do :; done`)},
			shows: figures{
				"container_cpu_limit": 0.25, `container_cpu_time_seconds_total{cpu_mode="user"}`: 0.2,
				`container_cpu_throttling_periods_total{cpu_throttled="true"}`: 5,
			},
		},
	}
}

// Containers appear, and every number lies between two readings of the kernel's own files.
func TestNumbersAgree(t *testing.T) {
	runAgent(t)
	list := subjects()
	for _, s := range list {
		s.Container = start(t, s.spec)
		s.scope = scopeOf(t, s.Container)
	}
	limit, err := os.ReadFile(filepath.Join(cgroupMount, list[1].scope.path, "memory.max"))
	require.NoError(t, err)
	require.Equal(t, "67108864\n", string(limit), "the engine has set the limit")
	for _, s := range list {
		eventually(t, soon, func() error {
			now, err := shownOf(s.ID)
			for name, least := range s.shows {
				err = errors.Join(err, now.least(name, least))
			}
			return err
		})
		// Early on the runtime's helper may be all there is, so whom it names is told and not judged.
		named := waitEvent(t, s.ID, "container.start").attributes["container.pid"]
		t.Logf("%s: container.start names process %v, the engine %d", s.Name, named, s.PID)
	}
	eventually(t, soon, func() error { return agree(t, list) })
	for _, s := range list {
		checkUptime(t, s)
	}
}

// span is how much older (s) a container must be on the page before every number on it is newer than a moment: the limits
// and memory.stat are read every 5 s, when a pass comes by; a pass may have been on its way, and takes up to two seconds
// when the machine is busy.
const span = 10

// agree reads the kernel, waits until everything on the page is newer than that, and reads again.
func agree(t *testing.T, list []*subject) error {
	t.Helper()
	before := map[string]facts{}
	var ids []string
	for _, s := range list {
		var err error
		before[s.ID], err = s.scope.read()
		require.NoError(t, err)
		ids = append(ids, s.ID)
	}
	waitUptime(t, span, ids...)
	var errs []error
	compared := 0
	for _, s := range list {
		now, err := shownOf(s.ID)
		require.NoError(t, err)
		after, err := s.scope.read()
		require.NoError(t, err)
		b := bracket{before: before[s.ID], after: after, page: now}
		require.NoError(t, b.wrong(), s.Name)
		if err := b.unsettled(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.Name, err))
		}
		compared += len(b.before)
	}
	if errs == nil {
		t.Logf("%d numbers of %d containers agree with the kernel", compared, len(list))
	}
	return errors.Join(errs...)
}

// checkUptime holds a container's age against systemd's own record of when it made the scope.
func checkUptime(t *testing.T, s *subject) {
	t.Helper()
	stamp := properties(t, filepath.Base(s.scope.path))["InactiveExitTimestampMonotonic"]
	usec, err := strconv.ParseInt(stamp, 10, 64)
	require.NoError(t, err, "systemd's time of %s", s.scope.path)
	old, err := shownOf(s.ID)
	require.NoError(t, err)
	var asked, answered float64 // before the last page with the old number, after the first with the new one
	var now figures
	eventually(t, soon, func() error {
		at := monotonic(t)
		now, err = shownOf(s.ID)
		if err != nil || now[uptime] != old[uptime] {
			return err
		}
		asked = at
		return errWait
	})
	answered = monotonic(t)
	// A pass takes time, too: what is new on the page may have been measured while the old one was fetched.
	const pass = 2
	age := now[uptime]
	began := float64(usec) * micro
	require.GreaterOrEqual(t, age, asked-began-pass, "%s is older", s.Name)
	require.LessOrEqual(t, age, answered-began+pass, "%s is younger", s.Name)
}

// monotonic is systemd's clock (s).
func monotonic(t *testing.T) float64 {
	t.Helper()
	var ts unix.Timespec
	require.NoError(t, unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts))
	return float64(ts.Nano()) * 1e-9
}

// systemd, its journal and the agent's own telemetry have nothing to complain about.
func TestStatusAndJournal(t *testing.T) {
	runAgent(t)
	status := systemctl(t, "status", unit)
	t.Logf("systemctl status:\n%s", strings.SplitN(status, "\n\n", 2)[0])
	require.Contains(t, status, "Active: active (running)")
	require.Equal(t, "0", properties(t, unit)["NRestarts"])
	requireQuiet(t)

	own, err := telemetry()
	require.NoError(t, err)
	require.Contains(t, own, series("otelcol_cgroup_containers"))
	for name, value := range own {
		for _, bad := range []string{"read_errors", "dropped", "failed", "refused", "errored"} {
			if strings.Contains(string(name), "_"+bad) {
				require.Zero(t, value, name)
			}
		}
	}
}

// A restart by systemd loses no container.
func TestRestart(t *testing.T) {
	runAgent(t)
	s := &subject{Container: start(t, testkit.ContainerSpec{Name: "stays", NetworkMode: "none"})}
	s.scope = scopeOf(t, s.Container)
	waitPage(t, s.ID)
	before := properties(t, unit)
	systemctl(t, "restart", unit)
	runAgent(t)
	after := properties(t, unit)
	require.NotEqual(t, before["MainPID"], after["MainPID"])
	require.NotEqual(t, before["InvocationID"], after["InvocationID"])
	requireState(t, after, "active", "running")
	waitPage(t, s.ID)
	eventually(t, soon, func() error { return agree(t, []*subject{s}) })
	checkUptime(t, s)
	requireQuiet(t)
}

// A stop ends every process of the unit, orderly.
func TestStop(t *testing.T) {
	runAgent(t)
	began := time.Now()
	systemctl(t, "stop", unit)
	t.Logf("stopped within %.1f s", time.Since(began).Seconds())
	after := properties(t, unit)
	requireState(t, after, "inactive", "dead")
	require.Equal(t, "0", after["ExecMainStatus"])
	require.Equal(t, "0", after["MainPID"])
	procs, err := os.ReadFile(filepath.Join(cgroupMount, "system.slice", unit, "cgroup.procs"))
	if !errors.Is(err, os.ErrNotExist) { // systemd removes it
		require.NoError(t, err)
		require.Empty(t, string(procs), "processes are left")
	}
	require.Error(t, healthy(), "somebody still answers")
	requireQuiet(t)
	require.NotContains(t, systemctl(t, "list-units", "--failed", "--plain", "--no-legend"), ".")
}

func requireState(t *testing.T, got map[string]string, active, sub string) {
	t.Helper()
	require.Equal(t, active, got["ActiveState"])
	require.Equal(t, sub, got["SubState"])
	require.Equal(t, "success", got["Result"])
	require.Equal(t, "0", got["NRestarts"])
}

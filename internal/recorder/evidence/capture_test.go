package evidence

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/recorder/capture"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/state"
	"github.com/tallymanhq/tallyman/internal/recorder/metricstore"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

var errNoTrigger = errors.New("no such trigger yet")

// kill is the second at which the child of the forwarder is killed.
const kill = 600

// forwarder is the container of the tests: its memory grows for ten minutes, its
// child is killed, and it runs on without.
func forwarder() actor {
	a := idler(1)
	a.name, a.project, a.limit = "worker", "shop", 512<<20
	a.memory = func(s int) float64 {
		if s > kill {
			return 24 << 20
		}
		return min(511<<20, (100+412*float64(s)/(kill-20))*(1<<20))
	}
	a.cpu = func(s int) float64 {
		if s > kill {
			return 0.002
		}
		return 0.8 + float64(s%60)/60
	}
	return a
}

// scenery is a camera that shows what the kernel shows in the moment of the kill.
type scenery struct{ scene *scene }

// Take implements [capture.Camera].
func (c scenery) Take(_ context.Context, r state.Request) *state.Snapshot {
	start := c.scene.clock().Add(-time.Hour)
	s := &state.Snapshot{
		Container: r.Container, At: c.scene.clock(), TookMicros: 4200,
		Host: map[string]string{"loadavg": "1.42 1.10 0.98 3/402 1234\n", "meminfo": "MemTotal: 8048576 kB\nMemAvailable: 3048576 kB\n"},
	}
	if !r.KernelFrom.IsZero() {
		s.Kernel = "python invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\n" +
			"memory: usage 524288kB, limit 524288kB, failcnt 1337\n" +
			"Memory cgroup out of memory: Killed process 211 (python) total-vm:700000kB, anon-rss:510000kB\n"
	}
	if r.Container == "" {
		return s
	}
	s.CgroupPath = "/docker/" + r.Container
	s.Cgroup = map[string]string{"memory.events": "low 0\nhigh 0\nmax 1337\noom 1\noom_kill 1\n", "memory.max": "536870912\n", "cpu.stat": "usage_usec 99\n"}
	s.Processes = []state.Process{
		{PID: 200, PPID: 180, VPID: 1, Comm: "sh", Exe: "/bin/busybox", Argv: []string{"sh", "/forward.sh"}, State: "S", RSS: 1 << 20, Threads: 1, Files: 4, Start: start},
		{PID: 210, PPID: 200, VPID: 7, Comm: "supervise", Argv: []string{"supervise", "--every", "5s"}, State: "S", RSS: 2 << 20, Threads: 3, Files: 9, Start: start},
		{PID: 211, PPID: 210, VPID: 8, Comm: "python", Argv: []string{"python", "/app/worker.py", "--queue", "orders"}, State: "D", RSS: 498 << 20, Threads: 12, Files: 41, Start: start},
		{PID: 215, PPID: 210, VPID: 12, Comm: "kworker", State: "Z", Start: start},
	}
	s.Sockets = []state.Netns{{
		Inode: 4026532281, PID: 200, States: map[string]int{"LISTEN": 1, "ESTABLISHED": 2, "TIME_WAIT": 14}, Listen: []string{"0.0.0.0:8080"},
		Open: []state.Socket{
			{Local: "172.18.0.4:41022", Remote: "172.18.0.2:5432", State: "ESTABLISHED", Receive: 8192},
			{Local: "172.18.0.4:8080", Remote: "172.18.0.1:51234", State: "ESTABLISHED", Send: 320},
		},
	}}
	return s
}

// staged plays the incident and returns the capture of it.
func staged(t *testing.T) capture.Capture {
	t.Helper()
	s := newScene(t)
	worker, db, hog := forwarder(), idler(2), idler(4)
	db.name, db.project, worker.peer, hog.name = "db", "shop", db.id, "batch"
	hog.cpu = func(int) float64 { return 1.8 }
	all := []actor{worker, db, hog}
	s.tell(worker, "container.start", "The container started.", nil)
	c := newCapturer(t, s, scenery{s})
	s.record(kill-90, all...)
	s.tell(db, "container.health_status", "db was checked", map[string]any{"container.health.status": "unhealthy"})
	s.record(90, all...)
	about := map[string]any{"process.pid": 211, "process.vpid": 8, "process.executable.name": "python", "process.memory.rss": 510000 << 10}
	for _, e := range []struct{ name, text string }{
		{"container.oom_kill", "The OOM killer killed python of the container."},
		{"container.degraded", "The container runs on without python, which was OOM-killed and not replaced."},
	} {
		logs := happening{e.name, e.text, about}.of(worker, s.now)
		c.engine.ObserveEvents(logs)
		s.table.ObserveLogs(logs)
		s.events.Append(logs)
		c.wait(e.name)
		s.record(3, all...)
	}
	s.record(60, all...)
	s.tell(db, "container.stop", "The container stopped.", map[string]any{"container.exit_code": 0})
	s.record(70, all...)
	return c.finish()
}

// finish returns the capture of an OOM kill whose window is over. The clock of the
// tests wakes nobody: a request does.
func (c *capturer) finish() capture.Capture {
	c.t.Helper()
	_, err := c.engine.Manual(c.t.Context(), capture.Request{Last: time.Minute})
	require.NoError(c.t, err)
	made := []capture.Capture{<-c.done, <-c.done}
	return made[slices.IndexFunc(made, func(c capture.Capture) bool { return c.Manifest.Triggers[0].Kind == "oom" })]
}

// wait waits until the engine has seen a trigger of that event.
func (c *capturer) wait(event string) {
	c.t.Helper()
	kind := map[string]string{"container.oom_kill": "oom", "container.degraded": "degraded"}[event]
	testkit.Eventually(c.t, 30*time.Second, func() error {
		for _, u := range c.engine.Unfinished() {
			if slices.ContainsFunc(u.Triggers, func(t bundle.Trigger) bool { return t.Kind == kind }) {
				return nil
			}
		}
		return errNoTrigger
	})
}

// A capture over real stores has what it is to have, and its report reads alone.
// With -artifacts the page can be looked at.
func TestCaptureOfAnOOMKill(t *testing.T) {
	made := staged(t)
	m := made.Manifest
	require.Equal(t, "OOM kill of python (pid 211) in worker at 03:10:00 UTC, which runs on without it.", m.Verdict)
	require.Equal(t, bundle.Window{From: began, To: began.Add(12*time.Minute + 3*time.Second)}, m.Window)
	require.ElementsMatch(t, []string{id(1), id(2), id(4)}, m.Scope.Containers, "itself, its project and peer, and who is busy")
	require.Empty(t, m.Drops)
	require.Empty(t, m.Gaps)
	require.Equal(t, []bundle.Missing{{What: "inspect", Why: "this agent has none"}}, m.Missing)

	reader, err := bundle.Open(made.Path)
	require.NoError(t, err)
	defer func() { require.NoError(t, reader.Close()) }()
	require.NoError(t, reader.Verify())
	dir := t.TempDir()
	require.NoError(t, reader.Extract(dir, nil))
	require.Equal(t, 723.0, counted(t, filepath.Join(dir, bundle.MetricsDir), "container_memory_usage_bytes", m.Window)[id(1)])
	blocks, err := metricstore.OpenBlocks(filepath.Join(dir, bundle.MetricsDir))
	require.NoError(t, err)
	require.NoError(t, blocks.Close())
	page, err := reader.ReadFile(bundle.ReportName)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(t.ArtifactDir(), bundle.ReportName), page, 0o600))
	t.Logf("capture of %d bytes, report of %d bytes", made.Size, len(page))
	for _, part := range []string{"runs on without it", "supervise", "172.18.0.2:5432", "Killed process 211", "Memory", "db was checked: unhealthy"} {
		require.Contains(t, string(page), part)
	}
	require.LessOrEqual(t, len(page), 600<<10)
}

// A capture of the whole host shows who was busy.
func TestCaptureOfTheHost(t *testing.T) {
	s := newScene(t)
	var all []actor
	for n := range 8 {
		a := idler(n)
		a.cpu = func(second int) float64 { return float64(n) / 4 * float64(1+second%90) / 90 }
		all = append(all, a)
	}
	s.record(300, all...)
	s.tell(all[3], "container.start", "The container started.", nil)
	s.tell(all[5], "container.stop", "The container stopped.", map[string]any{"container.exit_code": 3})
	s.record(300, all...)
	c := newCapturer(t, s, hostCamera())
	_, err := c.engine.Manual(t.Context(), capture.Request{Reason: "everything is slow", Host: true})
	require.NoError(t, err)
	made := <-c.done
	require.Equal(t, "Asked for: everything is slow at 03:10:00 UTC.", made.Manifest.Verdict)
	require.Empty(t, made.Manifest.Scope.Containers)
	reader, err := bundle.Open(made.Path)
	require.NoError(t, err)
	defer func() { require.NoError(t, reader.Close()) }()
	dir := t.TempDir()
	require.NoError(t, reader.Extract(dir, nil))
	require.Len(t, counted(t, filepath.Join(dir, bundle.MetricsDir), "container_memory_usage_bytes", made.Manifest.Window), len(all))
	page, err := reader.ReadFile(bundle.ReportName)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(t.ArtifactDir(), bundle.ReportName), page, 0o600))
	for _, part := range []string{"the host and all its containers", "CPU of the busiest containers", "app-7", "The container stopped: exit code 3"} {
		require.Contains(t, string(page), part)
	}
}

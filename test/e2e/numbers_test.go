package e2e_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

const mib = 1 << 20

// subject is a container with something to measure, and what must have been
// measured for the comparison to mean anything.
type subject struct {
	spec         testkit.ContainerSpec
	bytes, tasks float64 // how far memory and tasks go up and down
	shows        map[series]float64

	*testkit.Container
	dirs cgroups
}

func shell(script string) []string { return []string{"sh", "-c", script} }

// subjects are ten kinds of containers. Together they use less than one CPU.
func subjects(t testing.TB) []*subject {
	t.Helper()
	return []*subject{
		{spec: testkit.ContainerSpec{Name: "idle"}},
		{
			spec:  testkit.ContainerSpec{Name: "burner", CPUQuota: 25_000, Cmd: shell(`while :; do :; done`)},
			shows: map[series]float64{"container_cpu_throttling_time_seconds_total": 0.5, `container_cpu_throttling_periods_total{cpu_throttled="true"}`: 5, "container_cpu_limit": 0.25},
		},
		{
			spec:  testkit.ContainerSpec{Name: "system", NanoCPUs: 2e8, Cmd: shell(`exec dd if=/dev/zero of=/dev/null bs=64k`)},
			shows: map[series]float64{`container_cpu_time_seconds_total{cpu_mode="system"}`: 0.1, "container_cpu_limit": 0.2},
		},
		{
			// A file in shared memory is page cache that stays.
			spec: testkit.ContainerSpec{
				Name: "holder", Memory: 128 * mib, MemorySwap: 128 * mib,
				Cmd:    shell(`dd if=/dev/zero of=/dev/shm/held bs=1M count=64 2>/dev/null; exec sleep 2147483647`),
				Adjust: func(_ *container.Config, h *container.HostConfig) { h.ShmSize = 65 * mib },
			},
			shows: map[series]float64{"container_memory_cache_bytes": 64 * mib, "container_memory_limit_bytes": 128 * mib, "container_memory_utilization_ratio": 0.5},
		},
		{
			// dd holds its block while the pipe is full.
			spec:  testkit.ContainerSpec{Name: "anonymous", Memory: 64 * mib, MemorySwap: 96 * mib, Cmd: shell(`dd if=/dev/zero bs=32M | sleep 2147483647`)},
			shows: map[series]float64{"container_memory_rss_bytes": 32 * mib},
		},
		{
			spec: testkit.ContainerSpec{
				Name:   "writer",
				Cmd:    shell(`while :; do i=$(((i + 1) % 8)); dd if=/dev/zero of=/data.$i bs=256k count=1 conv=fsync 2>/dev/null; sleep 0.2; done`),
				Adjust: countIO(t),
			},
			bytes: 4 * mib, tasks: 2,
			shows: map[series]float64{"container_disk_io_bytes_total write": mib, "container_disk_operations_total write": 4},
		},
		{
			// A file larger than the memory is read from the disk again and again.
			// The limit with swap is higher: cgroup v1 tries it first, and counts
			// what meets it in memory.memsw.failcnt.
			spec: testkit.ContainerSpec{
				Name: "reader", Memory: 16 * mib, MemorySwap: 32 * mib,
				Cmd:    shell(`dd if=/dev/zero of=/data bs=1M count=24 conv=fsync 2>/dev/null; while :; do cat /data >/dev/null; sleep 0.5; done`),
				Adjust: countIO(t),
			},
			bytes: 16 * mib, tasks: 2,
			shows: map[series]float64{"container_disk_io_bytes_total read": mib, `container_memory_events_total{memory_event_type="max"}`: 1},
		},
		{
			spec:  testkit.ContainerSpec{Name: "crowd", PidsLimit: 64, Cmd: shell(`for i in 1 2 3 4 5 6 7 8 9; do sleep 2147483647 & done; wait`)},
			shows: map[series]float64{"container_pids_count": 10, "container_pids_limit": 64},
		},
		{
			spec:  testkit.ContainerSpec{Name: "forker", PidsLimit: 32, Cmd: shell(`while :; do usleep 20000; done`)},
			bytes: mib, tasks: 2,
			shows: map[series]float64{"container_pids_limit": 32},
		},
		{
			spec:  testkit.ContainerSpec{Name: "faulter", Cmd: shell(`while :; do dd if=/dev/zero of=/dev/null bs=8M count=1 2>/dev/null; sleep 0.1; done`)},
			bytes: 9 * mib, tasks: 2,
			shows: map[series]float64{`container_paging_faults_total{system_paging_fault_type="minor"}`: 4096},
		},
	}
}

// countIO puts a limit that nothing reaches on every disk: cgroup v1 counts a
// device's IO only once some rule for it was set in the cgroup.
func countIO(t testing.TB) func(*container.Config, *container.HostConfig) {
	t.Helper()
	disks, err := filepath.Glob("/sys/block/*d*")
	require.NoError(t, err)
	var rules []*blkiodev.ThrottleDevice
	for _, disk := range disks {
		path := "/dev/" + filepath.Base(disk)
		var st unix.Stat_t
		if unix.Stat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFBLK {
			rules = append(rules, &blkiodev.ThrottleDevice{Path: path, Rate: 1 << 40})
		}
	}
	return func(_ *container.Config, h *container.HostConfig) {
		h.BlkioDeviceReadBps, h.BlkioDeviceWriteBps = rules, rules
	}
}

func TestNumbersAgree(t *testing.T) {
	t.Parallel()
	engine := testkit.Docker(t)
	list := subjects(t)
	for _, s := range list {
		s.Container = engine.RunContainer(t, s.spec)
		var err error
		s.dirs, err = findCgroups(s.PID)
		require.NoError(t, err)
	}
	a := startAgent(t, settings{set: []string{
		"receivers::cgroup::memory_stat_interval: 0s",
		// So that it can be told whether a number is newer than ours.
		"exporters::prometheus::send_timestamps: true",
		// A name that a busy engine tells late makes a second line, beside the first one
		// for this long; what comes every 10 s must not go in between.
		"exporters::prometheus::metric_expiration: 25s",
	}})
	// All at once, however many tests are allowed to be: they wait for the same agent.
	var comparing sync.WaitGroup
	for _, s := range list {
		comparing.Go(func() {
			t.Run(s.spec.Name, func(t *testing.T) {
				testkit.Eventually(t, soon, func() error { return a.showsAll(s) })
				testkit.Eventually(t, soon, func() error { return a.agreesWithKernel(t, s) })
				testkit.Eventually(t, soon, func() error { return a.agreesWithEngine(t, s) })
				a.checkDerived(t, s)
			})
		})
	}
	comparing.Wait()
}

// showsAll returns nil once the container has done what it is there for.
func (a *agent) showsAll(s *subject) error {
	now, err := a.figures(s.ID)
	if err != nil {
		return err
	}
	var errs []error
	for name, least := range s.shows {
		if got := now.sum(string(name)); got < least-rounding {
			errs = append(errs, fmt.Errorf("%s: %w: %v is not yet %v", s.Name, errMissing, got, least))
		}
	}
	return errors.Join(errs...)
}

// sum adds the series that the words occur in: a metric, and a direction.
func (f figures) sum(words string) float64 {
	total := 0.0
	for name, p := range f {
		matches := true
		for word := range strings.FieldsSeq(words) {
			matches = matches && strings.Contains(string(name), word)
		}
		if matches {
			total += p.value
		}
	}
	return total
}

// agreesWithKernel holds every number of one container against the kernel's
// files. A counter that is wrong once fails the test at once.
func (a *agent) agreesWithKernel(t *testing.T, s *subject) error {
	t.Helper()
	since := time.Now()
	before, err := readFacts(s.PID, s.dirs)
	require.NoError(t, err)
	// A millisecond later: the page's timestamps are cut to milliseconds.
	read := time.Now().Add(time.Millisecond)
	now := a.newer(t, s, read)
	after, err := readFacts(s.PID, s.dirs)
	require.NoError(t, err)
	b := bracket{before: before, after: after, since: since, page: now, bytes: s.bytes, tasks: s.tasks}
	require.NoError(t, b.wrong(), s.Name)
	return b.unsettled()
}

// newer waits for figures that were measured after the given moment.
func (a *agent) newer(t *testing.T, s *subject, than time.Time) figures {
	t.Helper()
	var now figures
	testkit.Eventually(t, soon, func() error {
		var err error
		if now, err = a.figures(s.ID); err != nil {
			return err
		}
		for name, p := range now {
			if !p.at.After(than) {
				return fmt.Errorf("%s: %w", name, errOld)
			}
		}
		return nil
	})
	return now
}

// agreesWithEngine holds the engine's own figures between two of the agent's.
func (a *agent) agreesWithEngine(t *testing.T, s *subject) error {
	t.Helper()
	before, err := a.figures(s.ID)
	require.NoError(t, err)
	stats, err := s.Stats(t.Context())
	require.NoError(t, err)
	after := a.newer(t, s, time.Now())
	var read, written float64
	for _, entry := range stats.BlkioStats.IoServiceBytesRecursive {
		switch strings.ToLower(entry.Op) {
		case "read":
			read += float64(entry.Value)
		case "write":
			written += float64(entry.Value)
		}
	}
	var errs []error
	f := func(what string, engine, slack float64) {
		low, high := before.sum(what), after.sum(what)
		if err := within(engine, min(low, high)-slack, max(low, high)+slack); err != nil {
			errs = append(errs, fmt.Errorf("%s: the engine's %s: %w", s.Name, what, err))
		}
	}
	f("container_cpu_time_seconds_total", float64(stats.CPUStats.CPUUsage.TotalUsage)*nano, 0.01)
	f("container_memory_usage_bytes", float64(stats.MemoryStats.Usage), s.bytes)
	f("container_pids_count", float64(stats.PidsStats.Current), s.tasks)
	f("container_disk_io_bytes_total read", read, 0)
	f("container_disk_io_bytes_total write", written, 0)
	if limit := before.sum("container_memory_limit_bytes"); limit > 0 {
		f("container_memory_limit_bytes", float64(stats.MemoryStats.Limit), 0)
	}
	return errors.Join(errs...)
}

// checkDerived looks at what no cgroup file holds.
func (a *agent) checkDerived(t *testing.T, s *subject) {
	t.Helper()
	info, err := s.Inspect(t.Context())
	require.NoError(t, err)
	started, err := time.Parse(time.RFC3339Nano, info.State.StartedAt)
	require.NoError(t, err)
	before := a.newer(t, s, time.Now())
	now := a.newer(t, s, before["container_uptime_seconds"].at)

	uptime := now["container_uptime_seconds"]
	require.InDelta(t, uptime.at.Sub(started).Seconds(), uptime.value, 1, "uptime")
	require.NoError(t, now.want(`container_degraded_ratio{degraded_reason="oom"}`, 0))
	require.NoError(t, now.want(`container_oom_kill_count_total{oom_victim_init="true"}`, 0))
	require.NoError(t, now.want(`container_oom_kill_count_total{oom_victim_init="false"}`, 0))

	require.Contains(t, now, series("container_cpu_usage"))
	// The page has the time of the whole pass; on a busy machine a container's
	// own files may have been read a good deal later, so another pair is tried.
	testkit.Eventually(t, soon, func() error {
		before, now = now, a.newer(t, s, now["container_uptime_seconds"].at)
		elapsed := now["container_uptime_seconds"].value - before["container_uptime_seconds"].value
		grown := now.sum("container_cpu_time_seconds_total") - before.sum("container_cpu_time_seconds_total")
		usage := now["container_cpu_usage"].value
		slack := 0.001 + 0.01*usage
		return within(usage, grown/elapsed-slack, grown/elapsed+slack)
	})
}

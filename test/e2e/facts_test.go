package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	micro = 1e-6 // s
	nano  = 1e-9
)

// fact is what the kernel says about one series of a container.
type fact struct {
	value float64
	// gauge goes up and down; what is not a gauge never falls.
	gauge bool
	// slack is how far a gauge may be outside of what was read before and
	// after: so much, and so much per byte and task by which the container's
	// memory and tasks go up and down.
	slack, perByte, perTask float64
}

type facts map[series]fact

func (f facts) counter(name series, value float64) { f[name] = fact{value: value} }

func (f facts) bytes(name series, value float64) {
	f[name] = fact{value: value, gauge: true, perByte: 1}
}

func (f facts) exact(name series, value float64) { f[name] = fact{value: value, gauge: true} }

// readFacts reads everything that the page should have about a container.
func readFacts(pid int, c cgroups) (facts, error) {
	f := facts{}
	for _, read := range []func(cgroups) error{
		f.cpu, f.throttling, f.memory, f.memoryEvents, f.swap, f.disk, f.pids, f.pressure,
	} {
		if err := read(c); err != nil {
			return nil, err
		}
	}
	return f, f.filesystem(pid)
}

// cpu prefers the unified hierarchy, which splits the time exactly. On v1
// alone only the sum is exact: see sumOfModes.
func (f facts) cpu(c cgroups) error {
	if d, ok := c[""]; ok {
		v, err := d.keyed("cpu.stat", "user_usec", "system_usec")
		if err != nil {
			return err
		}
		f.counter(`container_cpu_time_seconds_total{cpu_mode="user"}`, v[0]*micro)
		f.counter(`container_cpu_time_seconds_total{cpu_mode="system"}`, v[1]*micro)
		return nil
	}
	d, err := c.dir("cpuacct")
	if err != nil {
		return err
	}
	usage, err := d.number("cpuacct.usage")
	f.counter(sumOfModes, usage*nano)
	return err
}

// sumOfModes is on no page: compare adds it up.
const sumOfModes series = "container_cpu_time_seconds_total"

func (f facts) throttling(c cgroups) error {
	d, err := c.dir("cpu")
	if err != nil {
		return err
	}
	file, unit := "throttled_time", nano
	if d.unified {
		file, unit = "throttled_usec", micro
	}
	v, err := d.keyed("cpu.stat", "nr_periods", "nr_throttled", file)
	if err != nil {
		return err
	}
	f.counter("container_cpu_throttling_time_seconds_total", v[2]*unit)
	f.counter(`container_cpu_throttling_periods_total{cpu_throttled="true"}`, v[1])
	f.counter(`container_cpu_throttling_periods_total{cpu_throttled="false"}`, v[0]-v[1])
	cpus, ok, err := d.lowest(readQuota)
	if ok {
		f.exact("container_cpu_limit", cpus)
	}
	return err
}

// readQuota reads the CPU bandwidth limit as a number of CPUs.
func readQuota(d directory) (cpus float64, ok bool, err error) {
	if d.unified {
		text, err := d.text("cpu.max")
		if err != nil || strings.HasPrefix(text, "max ") {
			return 0, false, err
		}
		var quota, period float64
		_, err = fmt.Sscan(text, &quota, &period)
		return quota / period, true, err
	}
	quota, err := d.number("cpu.cfs_quota_us")
	if err != nil || quota < 0 {
		return 0, false, err
	}
	period, err := d.number("cpu.cfs_period_us")
	return quota / period, true, err
}

// memoryFiles are the names that differ between the two cgroup versions.
type memoryFiles struct {
	usage, peak, limit                  string
	rss, cache, inactive, faults, major string // keys of memory.stat
}

func (d directory) memoryFiles() memoryFiles {
	if d.unified {
		return memoryFiles{
			usage: "memory.current", peak: "memory.peak", limit: "memory.max",
			rss: "anon", cache: "file", inactive: "inactive_file", faults: "pgfault", major: "pgmajfault",
		}
	}
	return memoryFiles{
		usage: "memory.usage_in_bytes", peak: "memory.max_usage_in_bytes", limit: "memory.limit_in_bytes",
		rss: "total_rss", cache: "total_cache", inactive: "total_inactive_file", faults: "total_pgfault", major: "total_pgmajfault",
	}
}

func (f facts) memory(c cgroups) error {
	d, err := c.dir("memory")
	if err != nil {
		return err
	}
	names := d.memoryFiles()
	usage, err := d.number(names.usage)
	if err != nil {
		return err
	}
	v, err := d.keyed("memory.stat", names.rss, names.cache, names.inactive, names.faults, names.major)
	if err != nil {
		return err
	}
	workingSet := max(0, usage-v[2])
	f.bytes("container_memory_usage_bytes", usage)
	f.bytes("container_memory_rss_bytes", v[0])
	f.bytes("container_memory_cache_bytes", v[1])
	f.bytes("container_memory_working_set_bytes", workingSet)
	f.counter(`container_paging_faults_total{system_paging_fault_type="major"}`, v[4])
	f.counter(`container_paging_faults_total{system_paging_fault_type="minor"}`, v[3]-v[4])
	if d.has(names.peak) { // memory.peak came with Linux 5.19
		peak, err := d.number(names.peak)
		if err != nil {
			return err
		}
		f.counter("container_memory_peak_bytes", peak)
	}
	limit, ok, err := d.lowest(limit(names.limit))
	if err != nil || !ok {
		return err
	}
	f.exact("container_memory_limit_bytes", limit)
	f.bytes("container_memory_available_bytes", limit-workingSet)
	f["container_memory_utilization_ratio"] = fact{value: usage / limit, gauge: true, perByte: 1 / limit}
	return nil
}

// kernelMemory is apart because its file depends on the kernel's age.
func (f facts) kernelMemory(d directory) error {
	if d.unified {
		v, err := d.keyed("memory.stat", "kernel") // since Linux 5.18
		if err == nil {
			f.bytes("container_memory_kernel_bytes", v[0])
		}
		return nil
	}
	if !d.has("memory.kmem.usage_in_bytes") {
		return nil
	}
	used, err := d.number("memory.kmem.usage_in_bytes")
	f.bytes("container_memory_kernel_bytes", used)
	return err
}

func (f facts) memoryEvents(c cgroups) error {
	d, err := c.dir("memory")
	if err != nil {
		return err
	}
	if err := f.kernelMemory(d); err != nil {
		return err
	}
	event := func(kind string, n float64) {
		f.counter(series(fmt.Sprintf("container_memory_events_total{memory_event_type=%q}", kind)), n)
	}
	if d.unified {
		kinds := []string{"low", "high", "max", "oom", "oom_kill"}
		if text, err := d.text("memory.events"); err == nil && strings.Contains(text, "oom_group_kill") {
			kinds = append(kinds, "oom_group_kill")
		}
		v, err := d.keyed("memory.events", kinds...)
		if err != nil {
			return err
		}
		for i, kind := range kinds {
			event(kind, v[i])
		}
		return nil
	}
	failures, err := d.number("memory.failcnt")
	if err != nil {
		return err
	}
	v, err := d.keyed("memory.oom_control", "oom_kill")
	if err != nil {
		return err
	}
	event("max", failures)
	event("oom_kill", v[0])
	return nil
}

// swap is on the page where the kernel accounts for it.
func (f facts) swap(c cgroups) error {
	d, err := c.dir("memory")
	if err != nil {
		return err
	}
	read := limit("memory.swap.max")
	used, err := d.number("memory.swap.current")
	if !d.unified {
		var v []float64
		if v, err = d.keyed("memory.stat", "total_swap"); err == nil {
			used = v[0]
		}
		read = swapLimitV1
	}
	if err != nil {
		return nil // no swap accounting
	}
	f.bytes("container_memory_swap_usage_bytes", used)
	lowest, ok, err := d.lowest(read)
	if err != nil || !ok {
		return err
	}
	f.exact("container_memory_swap_limit_bytes", lowest)
	if lowest > 0 {
		f["container_memory_swap_utilization_ratio"] = fact{value: used / lowest, gauge: true, perByte: 1 / lowest}
	}
	return nil
}

// swapLimitV1: v1 limits memory and swap together.
func swapLimitV1(d directory) (float64, bool, error) {
	both, is, err := limit("memory.memsw.limit_in_bytes")(d)
	if err != nil || !is {
		return 0, false, err
	}
	memory, is, err := limit("memory.limit_in_bytes")(d)
	return max(0, both-memory), is, err
}

func (f facts) disk(c cgroups) error {
	d, err := c.dir("blkio", "io")
	if err != nil {
		return err
	}
	if d.unified {
		return f.ioStat(d)
	}
	for _, file := range []struct{ name, metric string }{
		{"blkio.throttle.io_service_bytes_recursive", "container_disk_io_bytes_total"},
		{"blkio.throttle.io_serviced_recursive", "container_disk_operations_total"},
	} {
		text, err := d.text(file.name)
		if err != nil {
			return err
		}
		for line := range strings.Lines(text) { // "254:0 Read 4096"
			fields := strings.Fields(line)
			if len(fields) != 3 || fields[1] != "Read" && fields[1] != "Write" {
				continue
			}
			if err := f.device(file.metric, fields[0], strings.ToLower(fields[1]), fields[2]); err != nil {
				return err
			}
		}
	}
	return nil
}

// ioStat reads "254:0 rbytes=4096 wbytes=0 rios=1 wios=0 ...".
func (f facts) ioStat(d directory) error {
	text, err := d.text("io.stat")
	if err != nil {
		return err
	}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		for _, field := range fields[1:] {
			key, value, _ := strings.Cut(field, "=")
			metric, direction := "container_disk_operations_total", "read"
			switch key {
			case "rbytes", "wbytes":
				metric = "container_disk_io_bytes_total"
			case "rios", "wios":
			default:
				continue
			}
			if key[0] == 'w' {
				direction = "write"
			}
			if err := f.device(metric, fields[0], direction, value); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f facts) device(metric, number, direction, text string) error {
	link, err := os.Readlink(filepath.Join("/sys/dev/block", number))
	if err != nil {
		return err // has verb and path
	}
	value, err := parseNumber(text)
	f.counter(seriesOf(metric, map[string]string{"system_device": filepath.Base(link), "disk_io_direction": direction}), value)
	return err
}

func (f facts) pids(c cgroups) error {
	d, err := c.dir("pids")
	if err != nil {
		return err
	}
	now, err := d.number("pids.current")
	if err != nil {
		return err
	}
	f["container_pids_count"] = fact{value: now, gauge: true, perTask: 1}
	lowest, ok, err := d.lowest(limit("pids.max"))
	if ok {
		f.exact("container_pids_limit", lowest)
	}
	return err
}

// pressure is only in the unified hierarchy, and only with PSI switched on.
func (f facts) pressure(c cgroups) error {
	d, ok := c[""]
	if !ok {
		return nil
	}
	for _, resource := range []string{"cpu", "memory", "io"} {
		text, err := d.text(resource + ".pressure")
		if err != nil {
			return nil // not in this kernel, or switched off
		}
		for line := range strings.Lines(text) { // "some avg10=0.00 avg60=0.00 avg300=0.00 total=0"
			fields := strings.Fields(line)
			_, total, _ := strings.Cut(line, "total=")
			value, err := parseNumber(strings.TrimSpace(total))
			if err != nil {
				return err
			}
			f.counter(seriesOf("container_"+resource+"_pressure_seconds_total", map[string]string{"psi_type": fields[0]}), value*micro)
		}
	}
	return nil
}

// othersSpace is what others on this host may write and delete meanwhile.
const othersSpace = 256 << 20

// filesystem is the one under the container's root.
func (f facts) filesystem(pid int) error {
	var st unix.Statfs_t
	if err := unix.Statfs(fmt.Sprintf("/proc/%d/root", pid), &st); err != nil {
		return fmt.Errorf("statfs root of process %d: %w", pid, err)
	}
	f.exact("container_filesystem_capacity_bytes", float64(st.Blocks)*float64(st.Bsize))
	f["container_filesystem_available_bytes"] = fact{value: float64(st.Bavail) * float64(st.Bsize), gauge: true, slack: othersSpace}
	return nil
}

package main

import (
	"os"
	"path/filepath"
	"strings"
)

const (
	// tallyman is our agent, as scripts/build.sh leaves it.
	tallyman = "bin/tallyman"
	// collectorPage is where every Collector tells about itself by default.
	collectorPage = "http://localhost:8888/metrics"
	// cadvisorAddress is not cAdvisor's 8080, which is often taken.
	cadvisorAddress = "127.0.0.1:18080"
)

// variant is one row: a program with its settings. What refers to the host of
// this run is filled in from a setting.
type variant struct {
	name  string // for -only
	title string // in the table
	needs string // component that our binary must have; without it the row is left out
	extra bool   // measured only when -only names it
	argv  func(setting) []string
	env   func(setting) []string
	// meter knows how to ask the program how far it is.
	meter func(setting) meter
	// engine tells that the engine works for the program, and that this counts.
	engine bool
	// page is scraped after the window; "" where there is none.
	page string
}

// setting is where things are in this run.
type setting struct {
	dir     string // binaries of the peers
	state   string // empty directory for what a program keeps
	engine  string // address of the engine, unix://...
	api     string // version of the engine's API
	network string // of the containers
}

// variants is the table of rows, ours first: ratios are to the first row and,
// where it was measured, to the second.
func variants() []variant {
	return []variant{
		{
			name: "cgroup", title: "Tallyman, `cgroup` to nop",
			argv:  ours("test/bench/peers/ours.yaml"),
			meter: oursMeter("otelcol_cgroup_containers"),
		},
		{
			name: "netns", title: "Tallyman, `cgroup` and `netns` to nop", needs: "netns",
			argv:  ours("test/bench/peers/ours-netns.yaml"),
			meter: oursMeter("otelcol_cgroup_containers", "otelcol_netns_members"),
		},
		{
			name: "default", title: "Tallyman, otelcol-config.yaml as it is",
			argv: ours("otelcol-config.yaml"),
			// As make run starts it.
			env:   func(s setting) []string { return []string{"TALLYMAN_STATE=" + s.state, "GOMEMLIMIT=320MiB"} },
			meter: oursMeter("otelcol_cgroup_containers"),
			page:  "http://localhost:9464/metrics",
		},
		{
			name: "cadvisor", title: "cAdvisor",
			argv: cadvisor(), meter: cadvisorMeter, engine: true,
			page: "http://" + cadvisorAddress + "/metrics",
		},
		{
			name: "cadvisor-lean", title: "cAdvisor, lean",
			argv: cadvisor("--docker_only=true", "--disable_metrics="+leftOut), meter: cadvisorMeter, engine: true,
			page: "http://" + cadvisorAddress + "/metrics",
		},
		{
			// By default cAdvisor waits for one to two intervals, at random.
			name: "cadvisor-even", title: "cAdvisor, without jitter", extra: true,
			argv: cadvisor("--jitter_factor=0"), meter: cadvisorMeter, engine: true,
			page: "http://" + cadvisorAddress + "/metrics",
		},
		{
			name: "docker_stats", title: "Collector, `docker_stats` to nop",
			argv: collector, env: dockerStats("1s", "false"), meter: dockerStatsMeter, engine: true,
		},
		{
			name: "docker_stats-stream", title: "Collector, `docker_stats` with `stream_stats` to nop", extra: true,
			argv: collector, env: dockerStats("1s", "true"), meter: dockerStatsMeter, engine: true,
		},
		{
			name: "docker_stats-10s", title: "Collector, `docker_stats` every 10 s to nop", extra: true,
			argv: collector, env: dockerStats("10s", "false"), meter: dockerStatsMeter, engine: true,
		},
	}
}

// leftOut are all of cAdvisor's kinds of metrics but those that the receiver
// cgroup has too: cpu, memory, diskIO, oom_event, pressure.
const leftOut = "advtcp,app,cpuLoad,cpu_topology,cpuset,disk,hugetlb,memory_numa,network,percpu,perf_event," +
	"process,referenced_memory,resctrl,sched,tcp,udp"

func ours(config string) func(setting) []string {
	return func(setting) []string { return []string{tallyman, "--config", config} }
}

// cadvisor reads every container once per second, busy or not; by default it
// would read idle ones less often, up to once per minute. With each reading it
// asks the engine about the container (seen with v0.60.6), so the engine counts.
func cadvisor(more ...string) func(setting) []string {
	return func(s setting) []string {
		return append([]string{
			filepath.Join(s.dir, "cadvisor"), "--listen=" + cadvisorAddress, "--docker=" + s.engine,
			"--housekeeping_interval=1s", "--allow_dynamic_housekeeping=false",
		}, more...)
	}
}

func collector(s setting) []string {
	return []string{filepath.Join(s.dir, "collector"), "--config", "test/bench/peers/docker-stats.yaml"}
}

func dockerStats(interval, stream string) func(setting) []string {
	return func(s setting) []string {
		return []string{"BENCH_ENGINE=" + s.engine, "BENCH_API=" + s.api, "BENCH_INTERVAL=" + interval, "BENCH_STREAM=" + stream}
	}
}

func (v variant) environ(s setting) []string {
	if v.env == nil {
		return os.Environ()
	}
	return append(os.Environ(), v.env(s)...)
}

func names() []string {
	var all []string
	for _, v := range variants() {
		all = append(all, v.name)
	}
	return all
}

// command is how the row's program is started, with this run's places left out.
func (v variant) command() string {
	s := setting{dir: ".cache/peers", state: "...", engine: "...", api: "..."}
	words := v.argv(s)
	if v.env != nil {
		words = append(v.env(s), words...)
	}
	return strings.Join(words, " ")
}

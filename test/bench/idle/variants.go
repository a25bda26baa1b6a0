package main

// variant is a row: the default configuration with something left out of it, or with
// other settings.
type variant struct {
	name    string
	without []string // components
	set     []string // configuration
	env     []string
}

// variants is the table of rows. The first one is what the others are compared with.
func variants() []variant {
	return []variant{
		{name: "all on"},
		{name: "no recorder", without: []string{"flight_recorder"}},
		{name: "no page", without: []string{"prometheus"}},
		{name: "no container logs", without: []string{"file_log/docker", "file_log/cri"}},
		{name: "no netns", without: []string{"netns"}},
		{name: "no connections", without: []string{"ebpf_conntrack"}},
		{name: "no discovery", without: []string{"discovery"}},
		{name: "no statsd", without: []string{"uds_statsd"}},
		{name: "no container_status", without: []string{"container_status"}},
		{name: "no tags", without: []string{"container_tag"}},
		{name: "no host", without: []string{"host_metrics"}},
		{name: "no agent metrics", without: []string{"prometheus/agent"}},
		{name: "cgroup and page", without: []string{
			"flight_recorder", "file_log/docker", "file_log/cri", "netns", "ebpf_conntrack",
			"discovery", "uds_statsd", "container_status", "docker_filter", "container_tag", "host_metrics", "prometheus/agent",
		}},
		{name: "program pages kept", without: []string{"program_pages"}},
		{name: "ring of 8 MiB", set: []string{"receivers::ebpf_conntrack::limits::ring_mib: 8"}},
		{name: "all told", set: []string{"receivers::cgroup::unchanged_interval: 0s", "receivers::netns::unchanged_interval: 0s"}},
		{name: "GOGC=50", env: []string{"GOGC=50"}},
		{name: "GOGC=200", env: []string{"GOGC=200"}},
		{name: "logs every 500ms", set: []string{
			"receivers::file_log/docker::poll_interval: 500ms", "receivers::file_log/cri::poll_interval: 500ms",
		}},
		{name: "GOMAXPROCS=1", env: []string{"GOMAXPROCS=1"}},
		{name: "every 2s", set: every("2s")},
		{name: "every 5s", set: every("5s")},
		{name: "every 10s", set: every("10s")},
		{name: "lean", set: append(every("10s"), // as docs/tuning.md has it
			"receivers::cgroup::memory_stat_interval: 30s", "receivers::netns::protocol_interval: 60s",
			"receivers::ebpf_conntrack::collection_interval: 30s", "receivers::ebpf_conntrack::events: unusual",
			`receivers::ebpf_conntrack::response_times: "off"`, "receivers::host_metrics::collection_interval: 30s",
			"receivers::file_log/docker::poll_interval: 5s", "receivers::file_log/cri::poll_interval: 5s")},
	}
}

// every reads cgroups and interfaces in an interval.
func every(interval string) []string {
	return []string{
		"receivers::cgroup::collection_interval: " + interval, "receivers::netns::collection_interval: " + interval,
	}
}

func names() []string {
	var all []string
	for _, v := range variants() {
		all = append(all, v.name)
	}
	return all
}

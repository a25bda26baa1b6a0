package evidence

// panel is a plot and what it asks for. Names are those of the metric store:
// underscores, and suffixes for unit and type.
type panel struct {
	title, unit string
	lines       []line
}

// line is one question: name is what the legend says, by the label whose values
// come before it if there can be several.
type line struct{ name, expr, by string }

// peak is the highest value of a gauge within each step or, where samples come more
// rarely than steps, the last one. "max without ()" takes the name away from both alike.
func peak(series string) string {
	return "max without () (max_over_time(" + series + "[$s]) or " + series + ")"
}

// sumRate sums what series count per second, by a label or all of them. How far a
// rate looks back is chosen for each series: no further than its samples need. That is
// told by how many there are in a window that always holds some more of a silent
// container than of one whose samples are rare: with those in the near one counted, a
// line would jump where a container falls silent, and with those far back that of a
// young one would begin too low. "and" ends a line with its container: far back there
// are samples for some time after.
func sumRate(by, series string) string {
	if by != "" {
		by = " by (" + by + ") "
	}
	return "sum" + by + "(rate(" + series + "[$r]) and count_over_time(" + series + "[$m]) >= $n or rate(" + series + "[$f]) and " + series + ")"
}

// containerPanels are in the order in which people look at them. The plots of the
// web view ask the same.
func containerPanels() []panel {
	return []panel{
		{"CPU (100 % is one core)", "{cpu}", []line{
			{"used", peak("container_cpu_usage{$c}"), ""},
			{"limit", `container_cpu_limit{$c}`, ""},
			{"throttled", sumRate("", `container_cpu_throttling_time_seconds_total{$c}`), ""},
		}},
		{"Memory", "By", []line{
			{"used", peak("container_memory_usage_bytes{$c}"), ""},
			{"limit", `container_memory_limit_bytes{$c}`, ""},
			{"processes", peak("container_memory_rss_bytes{$c}"), ""},
			{"file cache", peak("container_memory_cache_bytes{$c}"), ""},
			{"kernel", peak("container_memory_kernel_bytes{$c}"), ""},
			{"swap", peak("container_memory_swap_usage_bytes{$c}") + ` > 0`, ""},
		}},
		{"Pressure: share of time in which a task waits", "1", []line{
			{"CPU", sumRate("", `container_cpu_pressure_seconds_total{$c,psi_type="some"}`), ""},
			{"memory", sumRate("", `container_memory_pressure_seconds_total{$c,psi_type="some"}`), ""},
			{"IO", sumRate("", `container_io_pressure_seconds_total{$c,psi_type="some"}`), ""},
		}},
		hostPressure(),
		{"Disk", "By/s", []line{{"", sumRate("disk_io_direction", `container_disk_io_bytes_total{$c}`), "disk_io_direction"}}},
		{"Network", "By/s", []line{{"", sumRate("network_io_direction", `container_network_io_bytes_total{$c}`), "network_io_direction"}}},
		{"Processes and threads", "", []line{
			{"tasks", peak("container_pids_count{$c}"), ""},
			{"limit", `container_pids_limit{$c}`, ""},
		}},
		{"TCP connections", "", []line{
			{"open", `sum(container_connection_active{$c}) or sum(container_network_tcp_connection_count{$c,network_connection_state="established"})`, ""},
			{"per second", sumRate("connection_outcome", `container_connection_count_total{$c}`), "connection_outcome"},
		}},
	}
}

func hostPressure() panel {
	return panel{"Pressure on the host", "1", []line{
		{"CPU", sumRate("", `system_cpu_pressure_seconds_total{psi_type="some"}`), ""},
		{"memory", sumRate("", `system_memory_pressure_seconds_total{psi_type="some"}`), ""},
		{"IO", sumRate("", `system_io_pressure_seconds_total{psi_type="some"}`), ""},
	}}
}

// hostPanels show the containers that used most within the window: by the second, as
// what does not change has fewer samples than what does.
func hostPanels() []panel {
	return []panel{
		hostPressure(),
		{"CPU of the busiest containers (100 % is one core)", "{cpu}", []line{
			{"", `container_cpu_usage and on (container_id) topk(5, avg_over_time(container_cpu_usage[$w:1s] @ end()))`, "container_name"},
		}},
		{"Memory of the largest containers", "By", []line{
			{"", `container_memory_usage_bytes and on (container_id) topk(5, avg_over_time(container_memory_usage_bytes[$w:1s] @ end()))`, "container_name"},
		}},
		{"CPU of all containers (100 % is one core)", "{cpu}", []line{{"used", `sum(container_cpu_usage)`, ""}}},
		{"Memory of all containers", "By", []line{{"used", `sum(container_memory_usage_bytes)`, ""}}},
		{"Disk of all containers", "By/s", []line{{"", sumRate("disk_io_direction", `container_disk_io_bytes_total`), "disk_io_direction"}}},
		{"Network of the host", "By/s", []line{{"", sumRate("network_io_direction", `system_network_io_bytes_total`), "network_io_direction"}}},
	}
}

package ship_test

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// probes tell of each feature of the page whether it yields data now. Nothing here asks the
// agent what it thinks that it does.
func probes() map[string]func(sight) bool {
	subject := func(s sight) string { return label("container_id", s.agent.world.subject.ID) }
	dialer := func(s sight) string { return label("container_id", s.agent.world.dialer.ID) }
	return map[string]func(sight) bool{
		"cgroups": func(s sight) bool { return s.has("container_cpu_time", subject(s)) },
		"names": func(s sight) bool {
			return s.has("container_cpu_time", subject(s), label("container_name", s.agent.world.subject.Name))
		},
		"host": func(s sight) bool {
			return strings.Contains(s.events, hostName) && strings.Contains(s.events, machineID) && strings.Contains(s.events, osName)
		},
		"networks":    func(s sight) bool { return s.has("container_network_io", subject(s)) },
		"filesystems": func(s sight) bool { return s.has("container_filesystem_capacity", subject(s)) },
		"discovery":   func(s sight) bool { return s.has("ship_page_value", subject(s)) },
		"origin":      func(s sight) bool { return s.has("ship_sent", label("container_id", s.agent.sender.ID)) },
		"open":        func(s sight) bool { return s.has("container_connection_active", dialer(s)) },
		"connections": func(s sight) bool {
			return s.asks("network.connection.closed", s.agent.world.dialer.ID, s.agent.world.subject.ID)
		},
		"processes": func(s sight) bool { return s.asks("process.exec", s.agent.world.dialer.ID, "wget") },
		// The dialer dials another address and port; only conntrack knows who answers.
		"nat": func(s sight) bool {
			answers := label("peer_container_id", s.agent.world.subject.ID)
			return s.has("container_edge_io", dialer(s), answers, label("server_port", natHold)) ||
				s.has("container_edge_connections", dialer(s), answers, label("server_port", natPage))
		},
		"queue":      func(s sight) bool { return s.agent.depth > deep },
		"logs":       func(s sight) bool { return outputHas(s.output, s.agent.world.dialer.ID, marker) },
		"kernel log": func(s sight) bool { return s.agent.pictures.hasKernel },
		"open files": func(s sight) bool { return s.agent.pictures.hasFiles },
		"recorder": func(s sight) bool {
			url := "http://" + s.agent.address + ":9480/api/entities"
			known, err := get(url, s.token)
			return err == nil && strings.Contains(known, s.agent.world.subject.ID) && answers(url, "", http.StatusUnauthorized) == nil
		},
	}
}

func label(name, value string) string { return name + `="` + value + `"` }

// has tells whether the page has a series with the labels, of a metric whose name begins
// so, that is more than zero.
func (s sight) has(metric string, labels ...string) bool { return pageHas(s.page, metric, labels...) }

func pageHas(page, metric string, labels ...string) bool {
	return pageValue(page, metric, labels...) > 0
}

// pageValue is the largest value of these series, 0 if there is none.
func pageValue(page, metric string, labels ...string) (largest float64) {
	for line := range strings.Lines(page) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), "{")
		end := strings.LastIndexByte(rest, '}')
		if !strings.HasPrefix(name, metric) || end < 0 {
			continue
		}
		value, err := strconv.ParseFloat(strings.TrimSpace(rest[end+1:]), 64)
		missing := slices.ContainsFunc(labels, func(l string) bool { return !strings.Contains(rest[:end], l) })
		if err == nil && value > largest && !missing {
			largest = value
		}
	}
	return largest
}

// outputHas tells whether a line of container-logs.jsonl is of the container and has the
// words.
func outputHas(output, id, words string) bool {
	for line := range strings.Lines(output) {
		if strings.Contains(line, id) && strings.Contains(line, words) {
			return true
		}
	}
	return false
}

func TestPageHas(t *testing.T) {
	const page = "# TYPE a counter\na_total{x=\"1\",y=\"2\"} 3\nb{x=\"1\"} 0\nc 5\nd{x=\"}\"} 1.5e+01\n"
	require.True(t, pageHas(page, "a", label("x", "1"), label("y", "2")))
	require.True(t, pageHas(page, "a_total"))
	require.True(t, pageHas(page, "d", label("x", "}")))
	require.False(t, pageHas(page, "a", label("x", "2")))
	require.False(t, pageHas(page, "b", label("x", "1")), "zero")
	require.False(t, pageHas(page, "c"), "no labels")
	require.True(t, outputHas("{id1 words}\n{id2 others}\n", "id1", "words"))
	require.InDelta(t, 15, pageValue(page+"d{x=\"y\"} 3\n", "d"), 0)
	require.False(t, outputHas("{id1 words}\n{id2 others}\n", "id2", "words"))
}

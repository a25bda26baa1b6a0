package docs_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// soon is far above what any of this takes.
const soon = 90 * time.Second

var errMissing = errors.New("not there")

// The pod of the DaemonSet, with its rights and mounts and no others, on a real containerd:
// it gets ready, knows a neighbour by the runtime's word, its network, its output and what
// is sent to it, and says nothing but what the page says.
func TestPodOnNode(t *testing.T) {
	n := newNode(t)
	web := n.run(t, newPod("web-0"), neighbour(), nil)
	for _, c := range []struct {
		name, processes string
		components      []string
		granted         []string // checks of doctor
	}{
		{"full", "bpf", nil, []string{"bpf.program.on_exec", "process.seccomp", "connections.stream"}},
		{"bpf-off", "proc", []string{"bpf-off"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := render(t, overlayOf(t, c.components))
			spec := &r.daemonSet(t).Spec.Template.Spec
			agent := n.run(t, newPod("tallyman-"+c.name), spec, r.configMap(t))
			t.Cleanup(func() { n.end(t, agent) })
			testkit.Eventually(t, soon, n.probed(t, agent, spec.Containers[0].StartupProbe.Exec.Command))
			page := func() error { return n.onPage(t, agent, web) }
			testkit.Eventually(t, soon, page)
			n.takesMetrics(t, agent)
			testkit.Eventually(t, soon, func() error { return n.hasOutput(agent) })
			checkLog(t, agent, c.processes)
			lacks := n.lacks(t, agent)
			for _, check := range append([]string{"pid.namespace", "capability.sys_ptrace", "logs.files"}, c.granted...) {
				require.NotContains(t, lacks, check)
			}
		})
	}
}

// neighbour writes a line and waits.
func neighbour() *corev1.PodSpec {
	return &corev1.PodSpec{Containers: []corev1.Container{{
		Name: "front", Command: []string{"/bin/busybox", "sh", "-c"},
		Args: []string{"while :; do echo hello from the neighbour; busybox sleep 1; done"},
		Env:  []corev1.EnvVar{{Name: "PATH", Value: "/bin"}},
	}}}
}

func (n *node) probed(t *testing.T, p pod, command []string) func() error {
	return func() error {
		said, code, err := n.exec(t, p, command...)
		if err != nil || code != 0 {
			log, _ := os.ReadFile(p.log)
			return fmt.Errorf("%v: %w: %d %s\n%s", command, errors.Join(err, errMissing), code, said, log[max(0, len(log)-2000):])
		}
		return nil
	}
}

// onPage looks for the neighbour, under the name that the runtime gives it. The network is
// the pod's, not one container's.
func (n *node) onPage(t *testing.T, agent, seen pod) error {
	page, _, err := n.exec(t, agent, "/bin/busybox", "wget", "-q", "-O-", "http://localhost:9464/metrics")
	if err != nil {
		return err
	}
	ofPod := []string{`k8s_pod_name="` + seen.name + `"`, `k8s_pod_uid="` + seen.uid + `"`, `k8s_namespace_name="shop"`}
	ofContainer := append([]string{`container_id="` + seen.container + `"`, `container_name="front"`,
		`container_image_name="docker.io/tallyman-test/node"`}, ofPod...)
	for metric, labels := range map[string][]string{
		"container_memory_usage_bytes": ofContainer, "container_cpu_time_seconds_total": ofContainer,
		"container_network_io_bytes_total": ofPod,
	} {
		if !hasSeries(page, metric, labels...) {
			return fmt.Errorf("%s %v: %w", metric, labels, errMissing)
		}
	}
	return nil
}

func hasSeries(page, metric string, labels ...string) bool {
	for line := range strings.Lines(page) {
		found := strings.HasPrefix(line, metric+"{")
		for _, label := range labels {
			found = found && strings.Contains(line, label)
		}
		if found {
			return true
		}
	}
	return false
}

// takesMetrics sends to the socket on the node, as a pod that mounts it does.
func (n *node) takesMetrics(t *testing.T, agent pod) {
	t.Helper()
	conn, err := net.Dial("unixgram", n.own(agent, "statsd", "dsd.socket"))
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("page.views:1|c|#pod:" + agent.name))
	require.NoError(t, err)
	testkit.Eventually(t, soon, func() error {
		page, _, err := n.exec(t, agent, "/bin/busybox", "wget", "-q", "-O-", "http://localhost:9464/metrics")
		if err == nil && !hasSeries(page, "page_views_total", `pod="`+agent.name+`"`) {
			err = errMissing
		}
		return err
	})
}

// hasOutput looks for what the neighbour writes, by the kubelet's file.
func (n *node) hasOutput(agent pod) error {
	text, err := os.ReadFile(n.own(agent, "state", "container-logs.jsonl"))
	if err == nil && !strings.Contains(string(text), "hello from the neighbour") {
		err = errMissing
	}
	return err
}

// processStream is how the agent says that it sees processes.
var processStream = regexp.MustCompile(`reading cgroups.*"processes": "([a-z]+)"`)

// checkLog: the agent sees processes that way, and has nothing to complain about.
func checkLog(t *testing.T, agent pod, processes string) {
	t.Helper()
	text, err := os.ReadFile(agent.log)
	require.NoError(t, err)
	found := processStream.FindStringSubmatch(string(text))
	require.NotNil(t, found, string(text))
	require.Equal(t, processes, found[1])
	require.Empty(t, complaints(string(text)))
}

// criLine is one of the kubelet's file: the runtime's time, stream and tag before what was
// written, which for the agent's own lines begins with its time and level.
var criLine = regexp.MustCompile(`^\S+ (?:stdout|stderr) [FP] (.*)$`)

// complaints are the agent's lines above info with what belongs to them, such as stacks,
// and what is no line of its log at all. Left out is that the machine was too busy for it to
// get its own metrics in ten seconds, and files of containers that went while they were
// looked for: those of tests beside this one.
func complaints(log string) (found []string) {
	isQuiet := false
	for line := range strings.Lines(log) {
		said := strings.TrimSpace(line)
		if parts := criLine.FindStringSubmatch(said); parts != nil {
			said = parts[1]
		}
		fields := strings.SplitN(said, "\t", 3)
		if len(fields) == 3 && strings.HasPrefix(said, "20") {
			isBusy := strings.Contains(said, "http://localhost:8888/metrics") && strings.Contains(said, "context deadline exceeded")
			isGone := strings.Contains(said, "no such file or directory") && strings.Contains(said, "Failed to open file")
			isQuiet = fields[1] == "info" || fields[1] == "debug" || isBusy || isGone
		} else if strings.HasPrefix(said, "panic:") || strings.HasPrefix(said, "Error:") {
			isQuiet = false
		}
		if !isQuiet {
			found = append(found, said)
		}
	}
	return found
}

func TestComplaints(t *testing.T) {
	t.Parallel()
	const before = "2026-11-22T18:00:41.9Z stderr F "
	const quiet = before + "2026-11-22T18:00:41.897Z\tinfo\ta.go:1\tstarted\n"
	const busy = before + "2026-11-22T18:00:41.897Z\twarn\tb.go:2\tscrape\t{\"url\": \"http://localhost:8888/metrics\", \"err\": \"context deadline exceeded\"}\n"
	require.Empty(t, complaints(quiet+busy+before+"\tstack of that\n"+quiet))
	for _, loud := range []string{"2026-11-22T18:00:41.897Z\twarn\ta.go:1\tmind this", "panic: nil", "Error: invalid configuration"} {
		require.Equal(t, []string{loud}, complaints(quiet+busy+before+loud+"\n"))
	}
}

// lacks are the checks of doctor that are not passed, in the pod.
func (n *node) lacks(t *testing.T, agent pod) (names []string) {
	t.Helper()
	text, _, err := n.exec(t, agent, "/tallymanctl", "doctor", "--json")
	require.NoError(t, err)
	var report struct {
		Checks []struct{ Name, Status string }
	}
	require.NoError(t, json.Unmarshal([]byte(text), &report), text)
	for _, check := range report.Checks {
		if check.Status != "pass" {
			names = append(names, check.Name)
		}
	}
	return sorted(names)
}

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
	web := n.run(t, pod{name: "web-0", uid: "3f1c6a52-9f0e-4c6b-9d3a-0d8f6a1b2c3d"}, neighbour(), nil)
	for _, c := range []struct {
		name, uid, processes string
		components           []string
		granted              []string // checks of doctor
	}{
		{"full", "5a2d7b63-0a1f-4d7c-8e4b-1e9a7b2c3d4e", "bpf", nil,
			[]string{"bpf.program.on_exec", "process.seccomp", "connections.stream"}},
		{"bpf-off", "6b3e8c74-1b20-4e8d-9f5c-2f0b8c3d4e5f", "proc", []string{"bpf-off"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := render(t, overlayOf(t, c.components))
			spec := &r.daemonSet(t).Spec.Template.Spec
			agent := n.run(t, pod{name: "tallyman-" + c.name, uid: c.uid}, spec, r.configMap(t))
			t.Cleanup(func() { n.end(t, agent) })
			testkit.Eventually(t, soon, n.probed(t, agent, spec.Containers[0].StartupProbe.Exec.Command))
			page := func() error { return n.onPage(t, agent, web) }
			testkit.Eventually(t, soon, page)
			n.takesMetrics(t, agent)
			testkit.Eventually(t, soon, n.hasOutput)
			n.checkLog(t, agent, c.processes)
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
	conn, err := net.Dial("unixgram", n.path("statsd", "dsd.socket"))
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
func (n *node) hasOutput() error {
	text, err := os.ReadFile(n.path("state", "container-logs.jsonl"))
	if err == nil && !strings.Contains(string(text), "hello from the neighbour") {
		err = errMissing
	}
	return err
}

// processStream is how the agent says that it sees processes.
var processStream = regexp.MustCompile(`reading cgroups.*"processes": "([a-z]+)"`)

// checkLog: the agent sees processes that way, and has nothing to complain about.
func (n *node) checkLog(t *testing.T, agent pod, processes string) {
	t.Helper()
	text, err := os.ReadFile(agent.log)
	require.NoError(t, err)
	found := processStream.FindStringSubmatch(string(text))
	require.NotNil(t, found, string(text))
	require.Equal(t, processes, found[1])
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, "\tinfo\t") {
			t.Errorf("the agent complains: %s", line)
		}
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

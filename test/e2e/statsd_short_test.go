package e2e_test

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

const (
	shortSenders = 1000
	// shortGroups cgroups exist at a time, and in as many as shortAtOnce of them
	// somebody is sending.
	shortGroups, shortAtOnce = 50, 2
)

var errUnattributed = errors.New("not all have their container")

// statsdAlone has nothing but the receiver: an agent that also measures a
// thousand containers each second has no time left on a small machine.
const statsdAlone = `
receivers:
  uds_statsd:
    endpoint: "${env:TALLYMAN_STATSD_DIR}/dsd.socket"
    create_directory: true
    aggregation_interval: 1s
exporters:
  otlp_grpc: {endpoint: "${env:OTEL_EXPORTER_OTLP_ENDPOINT}", tls: {insecure: true}}
extensions:
  health_check: {}
service:
  extensions: [health_check]
  pipelines:
    metrics: {receivers: [uds_statsd], exporters: [otlp_grpc]}
`

func statsdAloneSettings(t *testing.T, sink *testkit.Sink) settings {
	t.Helper()
	return settings{
		configs: []string{ownConfig(t, statsdAlone)},
		env:     []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + sink.Address()},
	}
}

// A thousand processes live a few milliseconds, each in a new container, which is
// removed soon after, and send one metric. All are put down to their containers,
// with and without the process stream, in peace and beside a flood.
func TestStatsdShortSenders(t *testing.T) {
	t.Parallel()
	testkit.NeedBPF(t)
	testkit.NeedCgroup(t)
	testkit.NeedCommand(t, "unshare", "mount")
	engine := testkit.Docker(t)
	program := buildStatsdClient(t)
	withoutBTF := []string{
		"unshare", "--mount", "--propagation", "private",
		"sh", "-c", `mount -t tmpfs none /sys/kernel/btf && exec "$@"`, "sh",
	}
	for tier, wrap := range map[string][]string{"stream": nil, "pidfd": withoutBTF} {
		t.Run(tier, func(t *testing.T) {
			sink := testkit.NewSink(t)
			s := statsdAloneSettings(t, sink)
			s.wrap = wrap
			a := startAgent(t, s)
			a.findsSendersBy(t, tier)
			view := newStatsdView(sink)
			t.Run("idle", func(t *testing.T) {
				runShortSenders(t, program, a, "idle.sent")
				allAttributed(t, view, "idle.sent")
			})
			t.Run("flood", func(t *testing.T) {
				spec := program.container("statsd-flood", a, "flood", "-metric", "flood.sent")
				spec.CPUQuota = 50_000 // half a CPU: the short-lived have to start on this machine, too
				flooder := engine.RunContainer(t, spec)
				testkit.Eventually(t, soon, func() error {
					view.take()
					if view.total(statsdOf(flooder.ID, "flood.sent")) == 0 {
						return fmt.Errorf("flood: %w", errMissing)
					}
					return nil
				})
				runShortSenders(t, program, a, "beside.sent")
				ended(t, flooder, "SIGTERM")
				allAttributed(t, view, "beside.sent")
			})
			_, code := a.stop()
			require.Zero(t, code)
			view.take()
			require.EqualValues(t, shortSenders, view.total(statsdOf("", "idle.sent")))
			require.EqualValues(t, shortSenders, view.total(statsdOf("", "beside.sent")))
			require.False(t, view.has(func(key statsdKey) bool { return key.origin != "kernel" || key.container == "" }))
		})
	}
}

// findsSendersBy makes sure of the way in which the agent finds senders.
func (a *agent) findsSendersBy(t *testing.T, tier string) {
	t.Helper()
	var said string
	for line := range strings.Lines(a.log()) {
		if strings.Contains(line, "finding senders") {
			said += line
		}
	}
	if tier == "pidfd" && strings.Contains(said, `"tier": "proc"`) {
		testkit.Lack(t, testkit.Feature{Name: "PIDFD_INFO_EXIT", MinKernel: "6.17"}, errors.New(said))
	}
	require.Contains(t, said, fmt.Sprintf(`"tier": %q`, tier))
}

// runShortSenders has each container's one process send the metric once. It
// returns when all have ended and their cgroups are gone.
func runShortSenders(t *testing.T, program statsdProgram, a *agent, metric string) {
	t.Helper()
	all := testkit.Cgroup(t, "statsd-"+metric)
	began := time.Now()
	var lived []time.Duration
	for range shortSenders / shortGroups {
		var groups []*testkit.Group
		var commands []*exec.Cmd
		for range shortGroups {
			group := all.Child(newContainerID(t))
			groups = append(groups, group)
			commands = append(commands, exec.Command(program.path(), "once",
				"-socket", a.statsdSocket(), "-metric", metric, "-cgroup", strings.Join(procsOf(t, group), ",")))
		}
		lived = append(lived, runAll(t, commands)...)
		for _, group := range groups {
			group.Remove()
		}
	}
	slices.Sort(lived)
	t.Logf("%d processes in %v; half of them lived up to %v", len(lived), time.Since(began), lived[len(lived)/2])
}

// procsOf are the files of a cgroup that take processes, one of each hierarchy.
func procsOf(t *testing.T, group *testkit.Group) []string {
	t.Helper()
	var files []string
	for _, mount := range []string{"/sys/fs/cgroup/*", "/sys/fs/cgroup"} {
		found, err := filepath.Glob(mount + group.Path() + "/cgroup.procs")
		require.NoError(t, err)
		files = append(files, found...)
	}
	require.NotEmpty(t, files)
	return files
}

// runAll runs some of the commands at a time to their ends, and returns how long
// each took.
func runAll(t *testing.T, commands []*exec.Cmd) []time.Duration {
	t.Helper()
	took, errs := make([]time.Duration, len(commands)), make([]error, len(commands))
	var next atomic.Int64
	var running sync.WaitGroup
	for range shortAtOnce {
		running.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(commands); i = next.Add(1) - 1 {
				at := time.Now()
				_, errs[i] = commands[i].Output() // the error has what it said
				took[i] = time.Since(at)
			}
		})
	}
	running.Wait()
	require.NoError(t, errors.Join(errs...))
	return took
}

// allAttributed waits until each process' container has the metric, once.
func allAttributed(t *testing.T, view *statsdView, metric string) {
	t.Helper()
	testkit.Eventually(t, soon, func() error {
		view.take()
		containers, nobody := 0, 0.0
		for key, starts := range view.series {
			if key.metric != metric {
				continue
			}
			for _, p := range starts {
				if key.origin != "kernel" || key.container == "" {
					nobody += p.value
					continue
				}
				require.EqualValues(t, 1, p.value, "%v", key)
				containers++
			}
		}
		require.LessOrEqual(t, containers, shortSenders)
		if containers != shortSenders {
			return fmt.Errorf("%d of %d, %v have none: %w", containers, shortSenders, nobody, errUnattributed)
		}
		return nil
	})
}

// newContainerID is what runtimes name containers by.
func newContainerID(t *testing.T) string {
	t.Helper()
	id := make([]byte, 32)
	_, err := rand.Read(id)
	require.NoError(t, err)
	return hex.EncodeToString(id)
}

package ocb_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.yaml.in/yaml/v3"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

const (
	root = "../.."
	page = root + "/docs/distribution.md"
	// soon is for what takes seconds: the receivers begin with a second's delay and
	// flush every ten.
	soon = 60 * time.Second
)

var errNotArrived = errors.New("not arrived")

func TestMain(m *testing.M) { testkit.Main(m) }

// A collector with two receivers of ours is built and works.
func TestThirdParty(t *testing.T) {
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "go")
	engine := testkit.Docker(t)
	sink := testkit.NewSink(t)
	dir := t.TempDir()
	program := build(t, dir)
	socket := filepath.Join(dir, "run", "dsd.socket")
	config := replace(t, snippet(t, "acme.yaml"),
		"/run/acme/dsd.socket", socket,
		"backend.example.com:4317", sink.Address()+"\n    tls: {insecure: true}",
		// Another collector may have the port of its own metrics.
		"service:\n", "service:\n  telemetry: {metrics: {level: none}}\n",
	)
	file := filepath.Join(dir, "acme.yaml")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
	c := engine.RunContainer(t, testkit.ContainerSpec{Name: "third-party"})
	run := start(t, program, "--config", file)

	testkit.Eventually(t, soon, func() error {
		return errors.Join(run.alive(t), send(socket, "acme.orders:5|c"))
	})
	testkit.Eventually(t, soon, func() error {
		return errors.Join(run.alive(t),
			has(sink, "container.cpu.time", func(r map[string]any, _ float64) bool { return r["container.id"] == c.ID }),
			has(sink, "acme.orders", func(_ map[string]any, value float64) bool { return value == 5 }))
	})
	// Warnings would be of what our components miss.
	require.NotContains(t, run.log(t), "\twarn\t")
	require.NotContains(t, run.log(t), "\terror\t")
}

// The distribution for gateways has all that the agent has, in the same versions.
func TestFullHasAll(t *testing.T) {
	agent := modules(t, "builder-config.yaml")
	full := modules(t, "distributions/full/builder-config.yaml")
	require.NotEmpty(t, agent)
	for _, module := range agent {
		require.Contains(t, full, module)
	}
	require.Greater(t, len(full), len(agent))
}

// modules are the kinds, versions and imports of what a configuration of the builder names.
func modules(t *testing.T, name string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	require.NoError(t, err)
	var config map[string]any
	require.NoError(t, yaml.Unmarshal(text, &config))
	var found []string
	for kind, list := range config {
		entries, _ := list.([]any)
		for _, entry := range entries {
			found = append(found, fmt.Sprint(kind, " ", entry))
		}
	}
	return found
}

// build makes the collector as the page says, and returns its binary.
func build(t *testing.T, dir string) string {
	t.Helper()
	builder := filepath.Join(dir, "builder")
	command(t, root, "go", "build", "-o", builder, "go.opentelemetry.io/collector/cmd/builder")
	checkout, err := filepath.Abs(root)
	require.NoError(t, err)
	config := replace(t, snippet(t, "acme-builder.yaml"), "../../tallyman", checkout)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "acme-builder.yaml"), []byte(config), 0o600))
	// Nobody else has the flags of this repository.
	t.Setenv("GOFLAGS", "")
	began := time.Now()
	command(t, dir, builder, "--config", "acme-builder.yaml")
	program := filepath.Join(dir, "_build", "acme-collector")
	info, err := os.Stat(program)
	require.NoError(t, err)
	t.Logf("built in %v, %.1f MB", time.Since(began).Round(time.Second), float64(info.Size())/1e6)
	return program
}

func command(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// snippet is the block of the page whose first line names the file.
func snippet(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	_, block, found := strings.Cut(string(text), "```yaml\n# "+name+"\n")
	require.True(t, found, "%s shows no %s", page, name)
	block, _, found = strings.Cut(block, "```\n")
	require.True(t, found)
	return block
}

// replace puts new for old, each of which must be there once.
func replace(t *testing.T, text string, oldNew ...string) string {
	t.Helper()
	for pair := range slices.Chunk(oldNew, 2) {
		require.Equal(t, 1, strings.Count(text, pair[0]), "%q in\n%s", pair[0], text)
		text = strings.Replace(text, pair[0], pair[1], 1)
	}
	return text
}

// process is a started collector. The end of the test kills it.
type process struct {
	cmd   *exec.Cmd
	file  string
	ended chan struct{}
}

func start(t *testing.T, program string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(program, args...), file: filepath.Join(t.TempDir(), "log"), ended: make(chan struct{})}
	log, err := os.Create(p.file)
	require.NoError(t, err)
	defer log.Close()
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	go func() {
		defer close(p.ended)
		runtime.LockOSThread() // the parent death signal is sent at the end of the thread
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait()
		}
	}()
	require.NoError(t, <-started)
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
	})
	return p
}

func (p *process) log(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(p.file)
	require.NoError(t, err)
	return string(text)
}

// alive fails the test when the collector has ended.
func (p *process) alive(t *testing.T) error {
	t.Helper()
	select {
	case <-p.ended:
		t.Fatalf("the collector ended: %v\n%s", p.cmd.ProcessState, p.log(t))
	default:
	}
	return nil
}

// send sends one datagram.
func send(socket, text string) error {
	conn, err := net.Dial("unixgram", socket)
	if err != nil {
		return err // has verb and path
	}
	defer conn.Close()
	_, err = conn.Write([]byte(text))
	return err
}

// has returns nil once a metric has arrived with a point that fits its resource and value.
func has(sink *testkit.Sink, name string, fits func(resource map[string]any, value float64) bool) error {
	for _, batch := range sink.Metrics() {
		for _, resource := range batch.ResourceMetrics().All() {
			attributes := resource.Resource().Attributes().AsRaw()
			for _, scope := range resource.ScopeMetrics().All() {
				for _, metric := range scope.Metrics().All() {
					if metric.Name() == name && metric.Type() == pmetric.MetricTypeSum && anyFits(metric.Sum(), attributes, fits) {
						return nil
					}
				}
			}
		}
	}
	return fmt.Errorf("%s: %w", name, errNotArrived)
}

func anyFits(sum pmetric.Sum, resource map[string]any, fits func(map[string]any, float64) bool) bool {
	for _, p := range sum.DataPoints().All() {
		value := p.DoubleValue()
		if p.ValueType() == pmetric.NumberDataPointValueTypeInt {
			value = float64(p.IntValue())
		}
		if fits(resource, value) {
			return true
		}
	}
	return false
}

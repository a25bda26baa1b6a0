package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

const (
	// connInside is where the client program is in containers.
	connInside = "/opt/connclient"
	// servedPort is what servers listen at, publishedPort where the host offers it.
	servedPort, publishedPort = 80, 18080
)

var errConnections = errors.New("not the connections that were made")

// startRouter starts an engine that publishes ports by iptables. Tests that use
// it are not parallel: it cannot be had beside the engine of the other ones.
func startRouter(t *testing.T, flags ...string) *testkit.Engine {
	t.Helper()
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "dockerd", "ip", "iptables", "go")
	engine, err := testkit.StartRouter(t.Context(), t.TempDir(), t.Logf, flags...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, engine.Stop()) })
	return engine
}

// rule adds a rule of iptables until the end of the test.
func rule(t *testing.T, table, chain string, words ...string) {
	t.Helper()
	do := func(how string) {
		out, err := exec.Command("iptables", append([]string{"-w", "-t", table, how, chain}, words...)...).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	do("-I")
	t.Cleanup(func() { do("-D") })
}

// connProgram is the directory with the built program.
type connProgram struct{ dir string }

func buildConnClient(t *testing.T) connProgram {
	t.Helper()
	testkit.NeedCommand(t, "go")
	p := connProgram{dir: t.TempDir()}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", p.path(), "./connclient")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return p
}

func (p connProgram) path() string { return filepath.Join(p.dir, "connclient") }

// container is one that runs the program.
func (p connProgram) container(name string, args ...string) testkit.ContainerSpec {
	return testkit.ContainerSpec{
		Name: name, Cmd: append([]string{connInside + "/connclient"}, args...),
		Binds: []string{p.dir + ":" + connInside + ":ro"},
	}
}

// server is a container that listens, also at the host's published port.
func (p connProgram) server(t *testing.T, engine *testkit.Engine) *testkit.Container {
	t.Helper()
	spec := p.container("server", "serve", "-address", ":"+strconv.Itoa(servedPort), "-ready", "/ready")
	port := network.MustParsePort(fmt.Sprintf("%d/tcp", servedPort))
	spec.Adjust = func(c *container.Config, h *container.HostConfig) {
		c.ExposedPorts = network.PortSet{port: {}}
		h.PortBindings = network.PortMap{port: {{HostPort: strconv.Itoa(publishedPort)}}}
	}
	c := engine.RunContainer(t, spec)
	testkit.Eventually(t, soon, func() error {
		_, err := os.Stat(fmt.Sprintf("/proc/%d/root/ready", c.PID))
		return err
	})
	return c
}

// bridgeAddress is the host's address on the engine's bridge.
func bridgeAddress(t *testing.T, engine *testkit.Engine) netip.Addr {
	t.Helper()
	out, err := exec.Command("ip", "-json", "-4", "addr", "show", "dev", engine.Bridge()).Output()
	require.NoError(t, err)
	var links []struct {
		Addresses []struct {
			Local netip.Addr `json:"local"`
		} `json:"addr_info"`
	}
	require.NoError(t, json.Unmarshal(out, &links))
	require.Len(t, links, 1)
	require.Len(t, links[0].Addresses, 1)
	return links[0].Addresses[0].Local
}

// published is where a server of the engine is reached at the host.
func published(t *testing.T, engine *testkit.Engine) netip.AddrPort {
	t.Helper()
	return netip.AddrPortFrom(bridgeAddress(t, engine), publishedPort)
}

// inContainer is a container's address and port.
func inContainer(t *testing.T, c *testkit.Container, port uint16) netip.AddrPort {
	t.Helper()
	a, ok := netip.AddrFromSlice(address(t, c))
	require.True(t, ok)
	return netip.AddrPortFrom(a.Unmap(), port)
}

// told is one connection as an end of it tells.
type told struct {
	Local, Remote  netip.AddrPort
	Sent, Received int64
	Error          string
}

func parseTold(t *testing.T, said string) []told {
	t.Helper()
	var all []told
	for line := range strings.Lines(said) {
		var raw struct {
			Local, Remote, Error string
			Sent, Received       int64
		}
		require.NoError(t, json.Unmarshal([]byte(line), &raw), line)
		one := told{Sent: raw.Sent, Received: raw.Received, Error: raw.Error}
		one.Local, _ = netip.ParseAddrPort(raw.Local) // not where nothing was established
		one.Remote, _ = netip.ParseAddrPort(raw.Remote)
		all = append(all, one)
	}
	return all
}

// runTold runs the program on the host, or where wrap takes it.
func (p connProgram) runTold(t *testing.T, wrap []string, args ...string) []told {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	argv := append(append(slices.Clone(wrap), p.path()), args...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	out, err := cmd.Output()
	require.NoError(t, err)
	return parseTold(t, string(out))
}

// inNetns is a command in front of another one that takes it to a test host.
func inNetns(name string) []string { return []string{"nsenter", "--net=/run/netns/" + name} }

// connAlone has nothing but the receiver, which looks every second.
const connAlone = `
receivers:
  ebpf_conntrack:
    collection_interval: 1s
    events: all
exporters:
  otlp_grpc: {endpoint: "${env:OTEL_EXPORTER_OTLP_ENDPOINT}", tls: {insecure: true}}
extensions:
  health_check: {}
service:
  extensions: [health_check]
  pipelines:
    metrics: {receivers: [ebpf_conntrack], exporters: [otlp_grpc]}
    logs: {receivers: [ebpf_conntrack], exporters: [otlp_grpc]}
`

func connSettings(t *testing.T, sink *testkit.Sink, set ...string) settings {
	t.Helper()
	// The flags of settings are for the whole configuration; none of these
	// components is in a pipeline here.
	return settings{
		configs: []string{ownConfig(t, connAlone)},
		env:     []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + sink.Address()},
		set:     set,
	}
}

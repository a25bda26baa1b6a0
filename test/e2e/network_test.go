package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

var errNoise = errors.New("somebody else sent packets")

// Traffic between two containers is seen to the byte, on both, once each.
func TestNetworkToTheByte(t *testing.T) {
	t.Parallel()
	engine := testkit.Docker(t)
	network := newNetwork(t, engine)
	a := engine.RunContainer(t, testkit.ContainerSpec{Name: "sender", NetworkMode: network})
	b := engine.RunContainer(t, testkit.ContainerSpec{Name: "receiver", NetworkMode: network})
	sidecar := engine.RunContainer(t, testkit.ContainerSpec{Name: "sidecar", NetworkMode: "container:" + a.ID})
	onHost := engine.RunContainer(t, testkit.ContainerSpec{Name: "on-host", NetworkMode: "host"})
	alone := engine.RunContainer(t, testkit.ContainerSpec{Name: "alone", NetworkMode: "none"})

	agent := startAgent(t, settings{set: []string{"receivers::netns::protocol_interval: 1s"}})
	var err error
	for range 20 {
		if err = agent.transfer(t, a, b); !errors.Is(err, errNoise) {
			break
		}
	}
	require.NoError(t, err)

	for _, c := range []*testkit.Container{sidecar, onHost} {
		require.NoError(t, agent.onPage(c.ID))
		require.Empty(t, agent.series(t, c.ID, "container_network_"), "%s has no namespace of its own", c.Name)
	}
	require.Empty(t, agent.series(t, alone.ID, "container_network_io"), "it has only lo")
	require.NotEmpty(t, agent.series(t, alone.ID, "container_network_tcp"))
	require.NotEmpty(t, agent.series(t, "", "system_network_io"))
	for _, name := range agent.series(t, "", "system_network_") {
		require.NotContains(t, name, `"veth`, "the host's end of a container's interface")
	}
	require.Empty(t, complaints(agent.log()))
}

// newNetwork makes a bridge of this test's own: on the default one the other
// tests' containers come and go, and each announces itself to all.
func newNetwork(t *testing.T, engine *testkit.Engine) string {
	t.Helper()
	name := fmt.Sprintf("tallyman-e2e-%d", os.Getpid())
	_, err := engine.Client().NetworkCreate(t.Context(), name, client.NetworkCreateOptions{Driver: "bridge", Internal: true})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), soon)
		defer cancel()
		_, err := engine.Client().NetworkRemove(ctx, name, client.NetworkRemoveOptions{})
		require.NoError(t, err)
	})
	return name
}

const (
	datagrams = 500
	payload   = 1000
	// headers are those of UDP, IPv4 and Ethernet.
	headers = 8 + 20 + 14
)

// transfer sends a known number of bytes from one container to the other and
// compares the page before and after. Packets that were not ours (the kernel's
// neighbour and group messages) give errNoise.
func (a *agent) transfer(t *testing.T, from, to *testkit.Container) error {
	t.Helper()
	link := dial(t, from, to)
	defer link.close()
	require.NoError(t, link.send(1)) // who has that address?
	// The kernel is asked first and last, so that it has counted whatever
	// falsifies the page's figures.
	before := wire(t, from, to)
	shown := a.settle(t, from, to)
	require.NoError(t, link.send(datagrams))
	shownAfter := a.settle(t, from, to)
	after := wire(t, from, to)
	for _, name := range []string{"sender transmit", "receiver receive"} {
		if after[name+" packets"]-before[name+" packets"] != datagrams {
			return fmt.Errorf("%s: %w", name, errNoise)
		}
		grown := shownAfter[name] - shown[name]
		if grown != datagrams*(payload+headers) {
			return fmt.Errorf("%s: the page grew by %v bytes, %d were sent", name, grown, datagrams*(payload+headers))
		}
	}
	for _, name := range []string{"sender receive", "receiver transmit"} {
		if after[name+" packets"] == before[name+" packets"] && shownAfter[name] != shown[name] {
			return fmt.Errorf("%s: the page grew by %v bytes, none were sent", name, shownAfter[name]-shown[name])
		}
	}
	return nil
}

// udpLink is a socket in each of two containers.
type udpLink struct{ in, out *net.UDPConn }

func dial(t *testing.T, from, to *testkit.Container) udpLink {
	t.Helper()
	var l udpLink
	var err error
	testkit.InNetns(t, to.PID, func() error {
		l.in, err = net.ListenUDP("udp4", &net.UDPAddr{IP: address(t, to)})
		return err
	})
	testkit.InNetns(t, from.PID, func() error {
		l.out, err = net.DialUDP("udp4", nil, l.in.LocalAddr().(*net.UDPAddr))
		return err
	})
	return l
}

func address(t *testing.T, c *testkit.Container) net.IP {
	t.Helper()
	info, err := c.Inspect(t.Context())
	require.NoError(t, err)
	for _, endpoint := range info.NetworkSettings.Networks {
		return net.IP(endpoint.IPAddress.AsSlice())
	}
	t.Fatalf("%s has no address", c.Name)
	return nil
}

// send waits for each datagram to arrive, so that none finds a full buffer.
func (l udpLink) send(n int) error {
	out, in := make([]byte, payload), make([]byte, 2*payload)
	for range n {
		if _, err := l.out.Write(out); err != nil {
			return err
		}
		if got, err := l.in.Read(in); err != nil || got != payload {
			return fmt.Errorf("received %d bytes: %w", got, err)
		}
	}
	return nil
}

func (l udpLink) close() {
	_ = l.in.Close()
	_ = l.out.Close()
}

// wire is what the kernel counted, by container, direction and unit.
func wire(t *testing.T, from, to *testkit.Container) map[string]float64 {
	t.Helper()
	counted := map[string]float64{}
	for who, c := range map[string]*testkit.Container{"sender": from, "receiver": to} {
		device := kernelDevice(t, c.PID, "eth0")
		counted[who+" receive"], counted[who+" receive packets"] = device[0], device[1]
		counted[who+" transmit"], counted[who+" transmit packets"] = device[8], device[9]
	}
	return counted
}

// kernelDevice returns the columns of one interface in a process' net/dev.
func kernelDevice(t *testing.T, pid int, name string) []float64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", pid))
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		got, values, _ := strings.Cut(strings.TrimSpace(line), ":")
		if got != name {
			continue
		}
		var columns []float64
		for _, word := range strings.Fields(values) {
			n, err := strconv.ParseFloat(word, 64)
			require.NoError(t, err)
			columns = append(columns, n)
		}
		return columns
	}
	t.Fatalf("process %d has no interface %s", pid, name)
	return nil
}

// settle waits until the page shows what the kernel counted, and returns it.
func (a *agent) settle(t *testing.T, from, to *testkit.Container) map[string]float64 {
	t.Helper()
	shown := map[string]float64{}
	testkit.Eventually(t, soon, func() error {
		counted := wire(t, from, to)
		for who, c := range map[string]*testkit.Container{"sender": from, "receiver": to} {
			now, err := a.figures(c.ID)
			if err != nil {
				return err
			}
			for _, direction := range []string{"receive", "transmit"} {
				name := series(fmt.Sprintf("container_network_io_bytes_total{network_interface_name=\"eth0\",network_io_direction=%q}", direction))
				if err := now.want(name, counted[who+" "+direction]); err != nil {
					return err
				}
				shown[who+" "+direction] = now[name].value
			}
		}
		return nil
	})
	return shown
}

// series are the names on the page, of a container or the host, that begin so.
func (a *agent) series(t *testing.T, id, prefix string) []string {
	t.Helper()
	now, err := a.page()
	require.NoError(t, err)
	var names []string
	for name := range now[id] {
		if strings.HasPrefix(string(name), prefix) {
			names = append(names, string(name))
		}
	}
	return names
}

// An agent with a network of its own still shows the host's.
func TestHostNetworkFromAnotherNamespace(t *testing.T) {
	t.Parallel()
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "unshare", "ip")
	file := filepath.Join(t.TempDir(), "metrics.jsonl")
	before := kernelDevice(t, 1, "lo")
	launch(t, settings{
		wrap: []string{"unshare", "--net", "sh", "-c", `ip link set lo up && exec "$@"`, "sh"},
		set: []string{
			"receivers::netns::exclude_interfaces: []",
			"exporters::file/metrics::path: " + file,
			"service::pipelines::metrics::receivers: [netns]",
			"service::pipelines::metrics::exporters: [file/metrics, forward/metrics]",
		},
	})
	var shown float64
	testkit.Eventually(t, soon, func() error {
		var err error
		shown, err = hostBytes(file, "lo")
		return err
	})
	require.NoError(t, within(shown, before[0], kernelDevice(t, 1, "lo")[0]))
	require.NotZero(t, shown, "the agent's own lo has carried nothing")
}

// hostBytes finds what the host's interface received in a file of metrics.
func hostBytes(file, device string) (float64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(text) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // it is being written
		}
		var decoder pmetric.JSONUnmarshaler
		metrics, err := decoder.UnmarshalMetrics(line)
		if err != nil {
			return 0, err
		}
		for _, rm := range metrics.ResourceMetrics().All() {
			for _, m := range rm.ScopeMetrics().At(0).Metrics().All() {
				if m.Name() != "system.network.io" {
					continue
				}
				for _, p := range m.Sum().DataPoints().All() {
					name, _ := p.Attributes().Get("network.interface.name")
					direction, _ := p.Attributes().Get("network.io.direction")
					if name.Str() == device && direction.Str() == "receive" {
						return float64(p.IntValue()), nil
					}
				}
			}
		}
	}
	return 0, fmt.Errorf("system.network.io of %s: %w", device, errMissing)
}

package udsstatsdreceiver

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

func (r *rig) sendUDP(datagram string) {
	r.t.Helper()
	r.write("udp", r.udpAddress(), datagram)
}

func (r *rig) sendStream(payload string) {
	r.t.Helper()
	frame := binary.LittleEndian.AppendUint32(nil, uint32(len(payload)))
	r.write("unix", r.cfg.StreamEndpoint, string(frame)+payload)
}

func (r *rig) write(network, address, text string) {
	r.t.Helper()
	c, err := net.Dial(network, address)
	require.NoError(r.t, err)
	defer c.Close()
	_, err = c.Write([]byte(text))
	require.NoError(r.t, err)
}

// counted adds up the points of one of the receiver's own metrics, by reason.
func (r *rig) counted(name string) map[string]int64 {
	r.t.Helper()
	got, err := r.own.GetMetric(name)
	if err != nil {
		return nil // nothing yet
	}
	sums := map[string]int64{}
	for _, p := range got.Data.(metricdata.Sum[int64]).DataPoints {
		reason, _ := p.Attributes.Value("reason")
		sums[reason.AsString()] += p.Value
	}
	return sums
}

// Where the kernel does not tell, as of UDP, the sender's own word may count.
func TestClientOrigin(t *testing.T) {
	client := map[string]any{"statsd.origin": "client", "container.id": "abc"}
	kernel := map[string]any{"statsd.origin": "kernel"}
	f := func(mode string, udp, unix map[string]any) {
		t.Helper()
		dir := t.TempDir()
		r := start(t, func(c *Config) {
			c.ClientOrigin = mode
			c.UDPEndpoint = "127.0.0.1:0"
			c.StreamEndpoint = filepath.Join(dir, "stream.socket")
		})
		r.sendUDP("by.udp:1|c|c:ci-abc")
		r.sendStream("by.stream:1|c|c:ci-abc")
		r.send("by.datagram:1|c|c:ci-abc")
		for name, want := range map[string]map[string]any{"by.udp": udp, "by.stream": unix, "by.datagram": unix} {
			_, resource := r.await(name)
			require.Equal(t, want, resource, "%s %s", mode, name)
		}
		r.stop()
	}
	f(clientOff, map[string]any{"statsd.origin": "none"}, kernel)
	f(clientFallback, client, kernel)
	f(clientFirst, client, client)
}

// A client that finds a queue full tells later, in band.
func TestClientLosses(t *testing.T) {
	r := start(t, nil)
	const name = "datadog.dogstatsd.client."
	r.send(
		name+"packets_dropped_queue:3|c|#client:go\n"+name+"packets_dropped_writer:2|c\n"+name+"packets_dropped:5|c",
		name+"metric_dropped_on_receive:7|c\n"+name+"packets_dropped_queue:0|c\n"+name+"packets_dropped_writer:-4|c",
		name+"packets_dropped_queue:9|g", "x"+name+"packets_dropped_queue:9|c",
	)
	got, _ := r.await(name + "packets_dropped")
	require.InDelta(t, 5, got.Sum().DataPoints().At(0).DoubleValue(), 0, "it is handed on as well")
	require.Equal(t, map[string]int64{"queue": 3, "writer": 2, "receive": 7}, r.counted("otelcol_uds_statsd_client_dropped"))
}

// What is sent is taken or counted as dropped.
func TestRateLimit(t *testing.T) {
	r := start(t, func(c *Config) { c.Limits.OriginRate = 100 })
	const sent = 1000
	c, err := net.Dial("unixgram", r.cfg.Endpoint)
	require.NoError(t, err)
	defer c.Close()
	for range sent / 10 {
		_, err := c.Write([]byte(strings.TrimSuffix(strings.Repeat("a:1|c\n", 10), "\n")))
		require.NoError(t, err)
	}
	var taken, dropped int64
	testkit.Eventually(t, patience, func() error {
		taken = r.counted("otelcol_uds_statsd_messages")[""]
		dropped = r.counted("otelcol_uds_statsd_dropped")["origin_rate"]
		if taken+dropped != sent {
			return fmt.Errorf("%d taken, %d dropped", taken, dropped)
		}
		return nil
	})
	require.GreaterOrEqual(t, taken, int64(100), "a second's worth at once")
	require.Positive(t, dropped)
	r.stop()
	total := 0.0
	for _, md := range r.metrics.AllMetrics() {
		for _, m := range md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().All() {
			if m.Name() == "a" {
				total = m.Sum().DataPoints().At(0).DoubleValue() // cumulative
			}
		}
	}
	require.InDelta(t, float64(taken), total, 0)
}

func TestCreateDirectory(t *testing.T) {
	root := t.TempDir()
	r := start(t, func(c *Config) {
		c.Endpoint, c.CreateDirectory = filepath.Join(root, "a", "b", "dsd.socket"), true
	})
	info, err := os.Stat(filepath.Dir(r.cfg.Endpoint))
	require.NoError(t, err)
	require.EqualValues(t, directoryMode, info.Mode().Perm())
	r.send("x:1|c")
	r.await("x")
}

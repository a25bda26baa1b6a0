package udsstatsdreceiver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/metadata"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/metadatatest"
)

const patience = 30 * time.Second

// rig is the receiver of both signals.
type rig struct {
	t       *testing.T
	own     *componenttest.Telemetry
	cfg     *Config
	metrics *consumertest.MetricsSink
	logs    *consumertest.LogsSink
	server  *server
	stop    func()

	receiver     *metricsReceiver
	logsReceiver *logsReceiver
}

func start(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, cfg: createDefaultConfig().(*Config), metrics: &consumertest.MetricsSink{}, logs: &consumertest.LogsSink{}}
	r.cfg.Endpoint = filepath.Join(t.TempDir(), "dsd.socket")
	r.cfg.AggregationInterval = time.Second
	if change != nil {
		change(r.cfg)
	}
	require.NoError(t, r.cfg.Validate())
	f := NewFactory()
	r.own = componenttest.NewTelemetry()
	t.Cleanup(func() { require.NoError(t, r.own.Shutdown(context.Background())) })
	set := metadatatest.NewSettings(r.own)
	m, err := f.CreateMetrics(t.Context(), set, r.cfg, r.metrics)
	require.NoError(t, err)
	l, err := f.CreateLogs(t.Context(), set, r.cfg, r.logs)
	require.NoError(t, err)
	require.NoError(t, m.Start(t.Context(), componenttest.NewNopHost()))
	require.NoError(t, l.Start(t.Context(), componenttest.NewNopHost()))
	r.receiver, r.logsReceiver = m.(*metricsReceiver), l.(*logsReceiver)
	r.server = r.receiver.holding.server
	stopped := false
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		require.NoError(t, m.Shutdown(context.Background()))
		require.NoError(t, l.Shutdown(context.Background()))
	}
	t.Cleanup(r.stop)
	return r
}

// udpAddress is where it listens, for who asked for any port.
func (r *rig) udpAddress() string {
	for _, socket := range r.server.sockets {
		if address := socket.Addr(); address != nil {
			return address.String()
		}
	}
	return ""
}

func (r *rig) send(datagrams ...string) {
	r.t.Helper()
	c, err := net.Dial("unixgram", r.cfg.Endpoint)
	require.NoError(r.t, err)
	defer c.Close()
	for _, d := range datagrams {
		_, err := c.Write([]byte(d))
		require.NoError(r.t, err)
	}
}

// metric finds the last state of a metric, and the resource it is of.
func (r *rig) metric(name string) (found pmetric.Metric, resource map[string]any, err error) {
	err = fmt.Errorf("no %s", name)
	for _, md := range r.metrics.AllMetrics() {
		for _, rm := range md.ResourceMetrics().All() {
			for _, sm := range rm.ScopeMetrics().All() {
				for _, m := range sm.Metrics().All() {
					if m.Name() == name {
						found, resource, err = m, rm.Resource().Attributes().AsRaw(), nil
					}
				}
			}
		}
	}
	return found, resource, err
}

func (r *rig) await(name string) (found pmetric.Metric, resource map[string]any) {
	r.t.Helper()
	testkit.Eventually(r.t, patience, func() error {
		var err error
		found, resource, err = r.metric(name)
		return err
	})
	return found, resource
}

func TestDatagrams(t *testing.T) {
	r := start(t, nil)
	r.send("req.count:7|c|#route:/,urgent\nreq.count:3|c|@0.5|#urgent,route:/\nload:1.5|g\nusers:a|s\nusers:b|s\nusers:a|s",
		"took:5:10:20|ms|#route:/", "bad\ngood:1|c")
	count, resource := r.await("req.count")
	require.Equal(t, map[string]any{"statsd.origin": "kernel"}, resource, "this process is in no container")
	require.True(t, count.Sum().IsMonotonic())
	p := count.Sum().DataPoints().At(0)
	require.InDelta(t, 13, p.DoubleValue(), 0)
	require.Equal(t, map[string]any{"route": "/", "urgent": ""}, p.Attributes().AsRaw())
	users, _ := r.await("users")
	require.EqualValues(t, 2, users.Gauge().DataPoints().At(0).IntValue())
	took, _ := r.await("took")
	require.Equal(t, "ms", took.Unit())
	h := took.ExponentialHistogram().DataPoints().At(0)
	require.EqualValues(t, 3, h.Count())
	require.InDelta(t, 35, h.Sum(), 0)
	good, _ := r.await("good")
	require.InDelta(t, 1, good.Sum().DataPoints().At(0).DoubleValue(), 0)
}

func TestEventsAndChecks(t *testing.T) {
	r := start(t, nil)
	r.send("_e{5,4}:title|text|t:error|#a:b", "_sc|db.up|2|#a:b|m:down")
	testkit.Eventually(t, patience, func() error {
		if n := r.logs.LogRecordCount(); n != 2 {
			return fmt.Errorf("%d records", n)
		}
		return nil
	})
	up, _ := r.await("dogstatsd.service_check")
	p := up.Gauge().DataPoints().At(0)
	require.InDelta(t, 2, p.DoubleValue(), 0)
	require.Equal(t, map[string]any{"a": "b", "dogstatsd.check.name": "db.up"}, p.Attributes().AsRaw())
}

// What is there at the end is handed out.
func TestShutdownFlushes(t *testing.T) {
	r := start(t, func(c *Config) { c.AggregationInterval = time.Hour; c.Expiry = 2 * time.Hour })
	r.send("last:1|c")
	r.stop()
	_, _, err := r.metric("last")
	require.NoError(t, err)
}

func TestUDPAndStream(t *testing.T) {
	dir := t.TempDir()
	r := start(t, func(c *Config) {
		c.StreamEndpoint = filepath.Join(dir, "stream.socket")
		c.UDPEndpoint = "127.0.0.1:0"
	})
	r.sendUDP("by.udp:1|c")
	r.sendStream("by.stream:1|c")
	_, resource := r.await("by.udp")
	require.Equal(t, map[string]any{"statsd.origin": "none"}, resource)
	_, resource = r.await("by.stream")
	require.Equal(t, map[string]any{"statsd.origin": "kernel"}, resource)
}

func TestBadPlaces(t *testing.T) {
	for name, c := range map[string]struct {
		path, want string
	}{
		"missing directory": {"/nosuch/dsd.socket", "endpoint: "},
		"regular file":      {"/etc/hostname", "endpoint: "},
	} {
		cfg := createDefaultConfig().(*Config)
		cfg.Endpoint = c.path
		m, err := NewFactory().CreateMetrics(t.Context(), receivertest.NewNopSettings(metadata.Type), cfg, consumertest.NewNop())
		require.NoError(t, err)
		err = m.Start(t.Context(), componenttest.NewNopHost())
		require.ErrorContains(t, err, c.want, name)
		require.NoError(t, errors.Join(m.Shutdown(context.Background())))
	}
}

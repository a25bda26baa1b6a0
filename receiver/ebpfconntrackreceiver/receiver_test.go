package ebpfconntrackreceiver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/metadata"
)

// rig is a receiver of both signals, started on this host.
type rig struct {
	t       *testing.T
	metrics *consumertest.MetricsSink
	logs    *consumertest.LogsSink
	server  *server
	stop    func()
}

func startRig(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	testkit.NeedRoot(t)
	cfg := createDefaultConfig().(*Config)
	cfg.CollectionInterval = time.Second
	cfg.Events = eventsAll
	if change != nil {
		change(cfg)
	}
	factory, ctx := NewFactory(), context.Background()
	r := &rig{t: t, metrics: &consumertest.MetricsSink{}, logs: &consumertest.LogsSink{}}
	m, err := factory.CreateMetrics(ctx, receivertest.NewNopSettings(metadata.Type), cfg, r.metrics)
	require.NoError(t, err)
	l, err := factory.CreateLogs(ctx, receivertest.NewNopSettings(metadata.Type), cfg, r.logs)
	require.NoError(t, err)
	require.NoError(t, m.Start(ctx, componenttest.NewNopHost()))
	require.NoError(t, l.Start(ctx, componenttest.NewNopHost()))
	r.server = m.(*metricsReceiver).holding.server
	stopped := false
	r.stop = func() {
		if !stopped {
			stopped = true
			require.NoError(t, errors.Join(m.Shutdown(ctx), l.Shutdown(ctx)))
		}
	}
	t.Cleanup(r.stop)
	return r
}

// closed are the log records of connections with a server at this port.
func (r *rig) closed(port int) (found []map[string]any) {
	for _, batch := range r.logs.AllLogs() {
		eachRecord(batch, func(record plog.LogRecord) {
			to, ok := record.Attributes().Get("destination.port")
			if record.EventName() == "network.connection.closed" && ok && to.Int() == int64(port) {
				found = append(found, record.Attributes().AsRaw())
			}
		})
	}
	return found
}

func eachRecord(batch plog.Logs, f func(plog.LogRecord)) {
	for _, rl := range batch.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, record := range sl.LogRecords().All() {
				f(record)
			}
		}
	}
}

// sum is the last value of a metric of the host's own processes, over all points
// with these attributes.
func (r *rig) sum(name string, with map[string]any) (total int64) {
	last := map[string]int64{}
	for _, batch := range r.metrics.AllMetrics() {
		for _, rm := range batch.ResourceMetrics().All() {
			if _, isContainer := rm.Resource().Attributes().Get("container.id"); isContainer {
				continue
			}
			for _, sm := range rm.ScopeMetrics().All() {
				for _, m := range sm.Metrics().All() {
					if m.Name() == name {
						collectPoints(last, m, with)
					}
				}
			}
		}
	}
	for _, v := range last {
		total += v
	}
	return total
}

func collectPoints(last map[string]int64, m pmetric.Metric, with map[string]any) {
	for _, p := range m.Sum().DataPoints().All() {
		all := p.Attributes().AsRaw()
		matches := true
		for k, v := range with {
			matches = matches && all[k] == v
		}
		if matches {
			last[fmt.Sprint(all)] = p.IntValue()
		}
	}
}

// answer sends back all that it reads, on each connection until the other side
// closes it.
func answer(t *testing.T) *net.TCPAddr {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr)
}

func exchange(t *testing.T, c net.Conn, n int) {
	t.Helper()
	sent := make([]byte, n)
	_, err := c.Write(sent)
	require.NoError(t, err)
	_, err = io.ReadFull(c, sent)
	require.NoError(t, err)
}

// One record for each end, which name each other, with bytes to the byte.
func TestEndsNameEachOther(t *testing.T) {
	r := startRig(t, nil)
	to := answer(t)
	for n := 1; n <= 50; n++ {
		c, err := net.Dial("tcp4", to.String())
		require.NoError(t, err)
		exchange(t, c, n)
		require.NoError(t, c.Close())
	}
	testkit.Eventually(t, 30*time.Second, func() error {
		if n := len(r.closed(to.Port)); n != 100 {
			return fmt.Errorf("%d records", n)
		}
		return nil
	})
	seen := map[string]int{}
	for _, a := range r.closed(to.Port) {
		require.Equal(t, "closed", a["connection.outcome"])
		require.Equal(t, a["connection.io.sent"], a["connection.io.received"])
		require.EqualValues(t, os.Getpid(), a["process.pid"])
		seen[fmt.Sprint(a["network.direction"], a["connection.io.sent"])]++
	}
	require.Len(t, seen, 100, "each end once")
	testkit.Eventually(t, 30*time.Second, func() error {
		want := int64(50 * 51 / 2)
		edge := map[string]any{"server.port": int64(to.Port), "network.direction": "outgoing", "peer.address": "host"}
		if n := r.sum("container.edge.connections", edge); n != 50 {
			return fmt.Errorf("%d connections on the edge", n)
		}
		if n := r.sum("container.edge.io", edge); n != 2*want {
			return fmt.Errorf("%d bytes on the edge", n)
		}
		return nil
	})
}

// What a long connection carries is counted while it is open, and once.
func TestLongConnection(t *testing.T) {
	r := startRig(t, nil)
	to := answer(t)
	c, err := net.Dial("tcp4", to.String())
	require.NoError(t, err)
	exchange(t, c, 100_000)
	edge := map[string]any{"server.port": int64(to.Port), "network.direction": "outgoing"}
	bytes := func(want int64) func() error {
		return func() error {
			if n := r.sum("container.edge.io", edge); n != want {
				return fmt.Errorf("%d bytes on the edge", n)
			}
			return nil
		}
	}
	testkit.Eventually(t, 20*time.Second, bytes(200_000))
	require.Zero(t, r.sum("container.edge.connections", edge))
	exchange(t, c, 5_000)
	testkit.Eventually(t, 20*time.Second, bytes(210_000))
	exchange(t, c, 7)
	require.NoError(t, c.Close())
	testkit.Eventually(t, 20*time.Second, bytes(210_014))
	r.stop()
	require.NoError(t, bytes(210_014)())
	require.EqualValues(t, 1, r.sum("container.edge.connections", edge))
}

// Who refuses, and who does not answer.
func TestFailures(t *testing.T) {
	r := startRig(t, func(c *Config) { c.Events, c.Unusual.PerInterval = eventsUnusual, 0 })
	to := nobody(t)
	refuse(t, to, 20)
	testkit.Eventually(t, 30*time.Second, func() error {
		if n := len(r.closed(to.Port)); n != 20 {
			return fmt.Errorf("%d records", n)
		}
		return nil
	})
	for _, a := range r.closed(to.Port) {
		require.Equal(t, "failed", a["connection.outcome"])
		require.Equal(t, "ECONNREFUSED", a["error.type"])
	}
	r.stop()
	require.EqualValues(t, 20, r.sum("container.edge.failures", map[string]any{"server.port": int64(to.Port)}))
}

// nobody listens at this address.
func nobody(t *testing.T) *net.TCPAddr {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().(*net.TCPAddr)
}

// refuse makes connections to where nobody listens.
func refuse(t *testing.T, to *net.TCPAddr, n int) {
	t.Helper()
	for range n {
		_, err := net.Dial("tcp4", to.String())
		require.Error(t, err)
	}
}

// A client that tries again and again has some records in each interval, which say
// how many it does not have.
func TestFailuresAreBounded(t *testing.T) {
	r := startRig(t, func(c *Config) { c.Events = eventsUnusual })
	to := nobody(t)
	made, suppressed := 0, int64(0)
	testkit.Eventually(t, 20*time.Second, func() error {
		refuse(t, to, 50)
		made += 50
		for _, a := range r.closed(to.Port) {
			if n, ok := a["connection.suppressed"].(int64); ok {
				suppressed = n
				return nil
			}
		}
		return fmt.Errorf("%d connections, none told of as left out", made)
	})
	r.stop()
	_, rate := r.server.ended.lost()
	require.Positive(t, suppressed)
	require.GreaterOrEqual(t, int(rate), made-len(r.closed(to.Port)), "this host may have had others that failed")
	require.Greater(t, made, len(r.closed(to.Port)))
	require.EqualValues(t, made, r.sum("container.edge.failures", map[string]any{"server.port": int64(to.Port)}))
}

// A connection that ended in order is no news by default.
func TestUsualIsNoEvent(t *testing.T) {
	r := startRig(t, func(c *Config) { c.Events = eventsUnusual })
	to := answer(t)
	c, err := net.Dial("tcp4", to.String())
	require.NoError(t, err)
	exchange(t, c, 10)
	require.NoError(t, c.Close())
	edge := map[string]any{"server.port": int64(to.Port), "network.direction": "incoming"}
	testkit.Eventually(t, 30*time.Second, func() error {
		if n := r.sum("container.edge.connections", edge); n != 1 {
			return fmt.Errorf("%d connections on the edge", n)
		}
		return nil
	})
	r.stop()
	require.Empty(t, r.closed(to.Port))
}

package ebpfconntrackreceiver

import (
	"context"
	"fmt"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/receiver"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// A reload ends all receivers before it makes new ones in the same process. What a
// connection carries is then counted by one of the two that it has seen, and its end
// by the second.
func TestReload(t *testing.T) {
	f := func(name string, renew func(receiver.Factory, *Config) (receiver.Factory, *Config)) {
		t.Run(name, func(t *testing.T) {
			l, factory := newLife(t, nil), NewFactory()
			l.beginAs(factory)
			to, c := dialEcho(t)
			exchange(t, c, 1000)
			l.awaitSum("container.edge.io", to.Port, 2000)
			first := dialAndEnd(t, 10)
			l.end()
			require.Equal(t, 20, l.closedNumber(first))
			require.EqualValues(t, 10, l.sum("container.edge.connections", outgoing(first)))

			l.metrics, l.logs = &consumertest.MetricsSink{}, &consumertest.LogsSink{}
			factory, l.cfg = renew(factory, l.cfg)
			l.beginAs(factory)
			exchange(t, c, 500)
			l.awaitSum("container.edge.io", to.Port, 1000)
			second := dialAndEnd(t, 10)
			exchange(t, c, 7)
			require.NoError(t, c.Close())
			l.awaitSum("container.edge.connections", to.Port, 1)
			l.end()
			require.EqualValues(t, 1014, l.sum("container.edge.io", outgoing(to.Port)))
			require.Equal(t, 20, l.closedNumber(second))
			require.Zero(t, l.closedNumber(first))
			require.EqualValues(t, 10, l.sum("container.edge.connections", outgoing(second)))
			require.Zero(t, l.sum("container.edge.connections", outgoing(first)))
		})
	}
	f("new factory", func(_ receiver.Factory, c *Config) (receiver.Factory, *Config) {
		other := *c
		return NewFactory(), &other
	})
	f("same factory", func(f receiver.Factory, c *Config) (receiver.Factory, *Config) { return f, c })
}

// dialEcho connects to one that sends each byte back.
func dialEcho(t *testing.T) (*net.TCPAddr, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	c, err := net.Dial("tcp4", l.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	served, err := l.Accept()
	require.NoError(t, err)
	go echo(served)
	return l.Addr().(*net.TCPAddr), c
}

func (l *life) beginAs(f receiver.Factory) {
	l.t.Helper()
	l.makeMetrics(f, l.metrics)
	l.makeLogs(f, l.logs)
	require.NoError(l.t, l.logsReceiver.Start(l.t.Context(), componenttest.NewNopHost()))
	require.NoError(l.t, l.metricsReceiver.Start(l.t.Context(), componenttest.NewNopHost()))
}

func (l *life) end() {
	l.t.Helper()
	require.NoError(l.t, l.logsReceiver.Shutdown(context.Background()))
	require.NoError(l.t, l.metricsReceiver.Shutdown(context.Background()))
}

func (l *life) awaitSum(name string, port int, want int64) {
	l.t.Helper()
	testkit.Eventually(l.t, lifePatience, func() error {
		if n := l.sum(name, outgoing(port)); n != want {
			return fmt.Errorf("%s is %d, not %d", name, n, want)
		}
		return nil
	})
}

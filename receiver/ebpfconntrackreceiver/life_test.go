package ebpfconntrackreceiver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/edges"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/metadata"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/metadatatest"
)

// lifePatience is for what takes a look or two.
const lifePatience = 20 * time.Second

// life is a rig whose receivers are made, started and stopped one by one.
type life struct {
	*rig
	own             *componenttest.Telemetry
	cfg             *Config
	set             receiver.Settings
	metricsReceiver *metricsReceiver
	logsReceiver    *logsReceiver
}

// newLife makes nothing yet. What is left open fails the test.
func newLife(t *testing.T, change func(*Config)) *life {
	t.Helper()
	testkit.NeedRoot(t)
	testkit.VerifyNoLeaks(t)
	l := &life{
		rig: &rig{t: t, metrics: &consumertest.MetricsSink{}, logs: &consumertest.LogsSink{}},
		own: componenttest.NewTelemetry(), cfg: createDefaultConfig().(*Config),
	}
	t.Cleanup(func() { require.NoError(t, l.own.Shutdown(context.Background())) })
	l.set = metadatatest.NewSettings(l.own)
	l.cfg.CollectionInterval = time.Second
	l.cfg.Events = eventsAll
	if change != nil {
		change(l.cfg)
	}
	return l
}

func (l *life) makeMetrics(f receiver.Factory, next consumer.Metrics) {
	l.t.Helper()
	m, err := f.CreateMetrics(l.t.Context(), l.set, l.cfg, next)
	require.NoError(l.t, err)
	l.metricsReceiver = m.(*metricsReceiver)
}

func (l *life) makeLogs(f receiver.Factory, next consumer.Logs) {
	l.t.Helper()
	r, err := f.CreateLogs(l.t.Context(), l.set, l.cfg, next)
	require.NoError(l.t, err)
	l.logsReceiver = r.(*logsReceiver)
}

// startBoth makes receivers of both signals.
func startBoth(t *testing.T, change func(*Config)) *life {
	t.Helper()
	l, f := newLife(t, change), NewFactory()
	l.makeMetrics(f, l.metrics)
	l.makeLogs(f, l.logs)
	require.NoError(t, l.metricsReceiver.Start(t.Context(), componenttest.NewNopHost()))
	require.NoError(t, l.logsReceiver.Start(t.Context(), componenttest.NewNopHost()))
	l.server = l.metricsReceiver.server
	t.Cleanup(func() {
		require.NoError(t, errors.Join(l.metricsReceiver.Shutdown(context.Background()), l.logsReceiver.Shutdown(context.Background())))
	})
	return l
}

// closedNumber is how many log records there are of connections to a port.
func (l *life) closedNumber(port int) (n int) {
	for _, batch := range l.logs.AllLogs() {
		eachRecord(batch, func(record plog.LogRecord) {
			to, ok := record.Attributes().Get("destination.port")
			if record.EventName() == "network.connection.closed" && ok && to.Int() == int64(port) {
				n++
			}
		})
	}
	return n
}

// dialAndEnd makes connections one after the other that carry one byte each way, and
// returns when both ends of each have ended.
func dialAndEnd(t *testing.T, number int) (port int) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	ended := make(chan struct{}, number)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			echo(c)
			ended <- struct{}{}
		}
	}()
	for range number {
		c, err := net.Dial("tcp4", l.Addr().String())
		require.NoError(t, err)
		exchange(t, c, 1)
		require.NoError(t, c.(*net.TCPConn).SetLinger(0)) // thousands would wait for a minute
		require.NoError(t, c.Close())
		<-ended
	}
	return l.Addr().(*net.TCPAddr).Port
}

// echo sends back what comes, and returns when the other side has gone. io.Copy
// would leave a pipe open, for the next one to use.
func echo(c net.Conn) {
	defer c.Close()
	b := make([]byte, 4096)
	for {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		if _, err := c.Write(b[:n]); err != nil {
			return
		}
	}
}

func outgoing(port int) map[string]any {
	return map[string]any{"server.port": int64(port), "network.direction": "outgoing"}
}

// Whichever receiver ends first: what ended before is handed on by both.
func TestEitherEndsFirst(t *testing.T) {
	f := func(name string, logsFirst bool) {
		t.Run(name, func(t *testing.T) {
			l := startBoth(t, func(c *Config) { c.CollectionInterval = time.Hour })
			const number = 200
			port := dialAndEnd(t, number)
			if logsFirst {
				require.NoError(t, l.logsReceiver.Shutdown(context.Background()))
			}
			require.NoError(t, l.metricsReceiver.Shutdown(context.Background()))
			require.NoError(t, l.logsReceiver.Shutdown(context.Background()))
			require.Equal(t, 2*number, l.closedNumber(port))
			require.EqualValues(t, number, l.sum("container.edge.connections", outgoing(port)))
			require.EqualValues(t, 2*number, l.sum("container.edge.io", outgoing(port)))
			require.Empty(t, l.metricsReceiver.holding.shared.servers)
		})
	}
	f("logs", true)
	f("metrics", false)
}

// With only a logs pipeline nobody is remembered for ever.
func TestLogsOnly(t *testing.T) {
	l := newLife(t, nil)
	l.makeLogs(NewFactory(), l.logs)
	table := edges.New(edges.Options{Expiry: time.Millisecond})
	l.logsReceiver.holding.server.table = table
	require.NoError(t, l.logsReceiver.Start(t.Context(), componenttest.NewNopHost()))
	const number = 20
	port := dialAndEnd(t, number)
	testkit.Eventually(t, lifePatience, func() error {
		if n := l.closedNumber(port); n != 2*number {
			return fmt.Errorf("%d records", n)
		}
		if table.Stats().Expired == 0 {
			return errors.New("nothing is forgotten")
		}
		return nil
	})
	require.NoError(t, l.logsReceiver.Shutdown(context.Background()))
	require.Empty(t, l.logsReceiver.holding.shared.servers)
}

// With only a metrics pipeline nothing waits to become a log record, whatever the
// configuration says of events.
func TestMetricsOnly(t *testing.T) {
	l := newLife(t, nil)
	l.makeMetrics(NewFactory(), l.metrics)
	require.NoError(t, l.metricsReceiver.Start(t.Context(), componenttest.NewNopHost()))
	const number = 20
	port := dialAndEnd(t, number)
	testkit.Eventually(t, lifePatience, func() error {
		if n := l.sum("container.edge.connections", outgoing(port)); n != number {
			return fmt.Errorf("%d connections", n)
		}
		return nil
	})
	require.Nil(t, l.metricsReceiver.server.pipe.ended)
	require.NoError(t, l.metricsReceiver.Shutdown(context.Background()))
	require.Empty(t, l.metricsReceiver.holding.shared.servers)
}

// Receivers that are made and never started leave nothing behind, and a second
// shutdown nothing undone.
func TestNeverStarted(t *testing.T) {
	l, f := newLife(t, nil), NewFactory()
	l.makeMetrics(f, l.metrics)
	l.makeLogs(f, l.logs)
	servers := l.metricsReceiver.holding.shared.servers
	require.Same(t, l.metricsReceiver.holding, l.logsReceiver.holding)
	for range 2 {
		require.NoError(t, l.metricsReceiver.Shutdown(context.Background()))
	}
	require.Len(t, servers, 1)
	require.NoError(t, l.logsReceiver.Start(t.Context(), componenttest.NewNopHost()))
	require.NoError(t, l.logsReceiver.Shutdown(context.Background()))
	require.Empty(t, servers)
}

// deafProvider makes instruments that nobody can be asked for, which is an error at
// the very end of a start.
type deafProvider struct{ noop.MeterProvider }

func (deafProvider) Meter(string, ...metric.MeterOption) metric.Meter { return deafMeter{} }

type deafMeter struct{ noop.Meter }

var errDeaf = errors.New("deaf")

func (deafMeter) RegisterCallback(metric.Callback, ...metric.Observable) (metric.Registration, error) {
	return nil, errDeaf
}

// A start that ends with an error leaves nothing behind, early or late, and another
// one may work.
func TestStartError(t *testing.T) {
	f := func(name string, spoil, mend func(*life)) {
		t.Run(name, func(t *testing.T) {
			l, f := newLife(t, nil), NewFactory()
			spoil(l)
			l.makeMetrics(f, l.metrics)
			servers := l.metricsReceiver.holding.shared.servers
			require.Error(t, l.metricsReceiver.Start(t.Context(), componenttest.NewNopHost()))
			require.Empty(t, servers, "before any shutdown")
			require.NoError(t, l.metricsReceiver.Shutdown(context.Background()))

			l.makeMetrics(f, l.metrics)
			mend(l)
			l.makeLogs(f, l.logs)
			require.Same(t, l.metricsReceiver.holding, l.logsReceiver.holding)
			if l.metricsReceiver.set.MeterProvider == (deafProvider{}) {
				require.ErrorIs(t, l.metricsReceiver.Start(t.Context(), componenttest.NewNopHost()), errDeaf)
			}
			require.NoError(t, l.logsReceiver.Start(t.Context(), componenttest.NewNopHost()))
			const number = 20
			port := dialAndEnd(t, number)
			require.NoError(t, l.metricsReceiver.Shutdown(context.Background()))
			require.NoError(t, l.logsReceiver.Shutdown(context.Background()))
			require.Equal(t, 2*number, l.closedNumber(port))
			require.Empty(t, servers)
		})
	}
	f("early",
		func(l *life) { l.cfg.Groups = []GroupConfig{{Name: "db", Prefixes: []string{"nowhere"}}} },
		func(l *life) { l.cfg.Groups = nil })
	f("late",
		func(l *life) {
			l.set = receivertest.NewNopSettings(metadata.Type)
			l.set.MeterProvider = deafProvider{}
		},
		func(l *life) { l.set = metadatatest.NewSettings(l.own) })
}

// blocked is a next component that takes nothing until its caller gives up or go is
// closed. The first call closes called.
type blocked struct {
	called, release chan struct{}
	first           bool
}

func newBlocked() *blocked {
	return &blocked{called: make(chan struct{}), release: make(chan struct{}), first: true}
}

func (b *blocked) wait(ctx context.Context) error {
	if b.first { // calls come one after the other
		b.first = false
		close(b.called)
	}
	select {
	case <-b.release:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A next component that blocks holds the shutdown up for as long as its context
// lasts, during a shutdown and before.
func TestShutdownIsBounded(t *testing.T) {
	f := func(name string, isLogs bool) {
		t.Run(name, func(t *testing.T) {
			l, f, next := newLife(t, nil), NewFactory(), newBlocked()
			c := l.makeBlocked(f, next, isLogs)
			require.NoError(t, c.Start(t.Context(), componenttest.NewNopHost()))
			dialAndEnd(t, 10)
			await(t, next.called)
			ctx, cancel := context.WithCancel(context.Background())
			stopped := make(chan error, 1)
			go func() { stopped <- c.Shutdown(ctx) }()
			cancel()
			await(t, stopped)
		})
	}
	f("logs", true)
	f("metrics", false)
}

// What is being handed on when the shutdown comes is not given up before its time.
func TestShutdownIsPatient(t *testing.T) {
	l, f, next := newLife(t, nil), NewFactory(), newBlocked()
	c := l.makeBlocked(f, next, true)
	require.NoError(t, c.Start(t.Context(), componenttest.NewNopHost()))
	dialAndEnd(t, 10)
	await(t, next.called)
	stopping, stopped := make(chan struct{}), make(chan error, 1)
	cancel := l.logsReceiver.cancel
	l.logsReceiver.cancel = func() { cancel(); close(stopping) }
	server := l.logsReceiver.server
	go func() { stopped <- c.Shutdown(context.Background()) }()
	await(t, stopping)
	close(next.release)
	await(t, stopped)
	require.Zero(t, server.refusedEvents.Load())
}

func (l *life) makeBlocked(f receiver.Factory, next *blocked, isLogs bool) receiver.Logs {
	l.t.Helper()
	if isLogs {
		to, err := consumer.NewLogs(func(ctx context.Context, _ plog.Logs) error { return next.wait(ctx) })
		require.NoError(l.t, err)
		l.makeLogs(f, to)
		return l.logsReceiver
	}
	to, err := consumer.NewMetrics(func(ctx context.Context, _ pmetric.Metrics) error { return next.wait(ctx) })
	require.NoError(l.t, err)
	l.makeMetrics(f, to)
	return l.metricsReceiver
}

func await[T any](t *testing.T, c <-chan T) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(lifePatience):
		t.Fatal("it did not come")
	}
}

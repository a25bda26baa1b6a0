package udsstatsdreceiver

import (
	"context"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receiverhelper"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/aggregate"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/origin"
)

// format is what the Collector's own metrics call the protocol.
const format = "dogstatsd"

// instance is what the receivers of both signals have in common. Start and
// Shutdown are called once, by the Collector.
type instance struct {
	holding *holding
	set     receiver.Settings
	report  *receiverhelper.ObsReport
	cancel  context.CancelFunc
	running sync.WaitGroup
	started bool
}

func newInstance(h *holding, set receiver.Settings) (*instance, error) {
	report, err := receiverhelper.NewObsReport(receiverhelper.ObsReportSettings{
		ReceiverID: set.ID, Transport: "unix", ReceiverCreateSettings: set,
	})
	return &instance{holding: h, set: set, report: report, cancel: func() {}}, err
}

// begin starts the server, and then run beside it until the shutdown.
func (i *instance) begin(host component.Host, run func(context.Context)) error {
	i.holding.server.status = func(err error) {
		componentstatus.ReportStatus(host, componentstatus.NewRecoverableErrorEvent(err))
	}
	if err := i.holding.start(i.set); err != nil {
		return err
	}
	i.started = true
	ctx, cancel := context.WithCancel(context.Background())
	i.cancel = cancel
	i.running.Go(func() { run(ctx) })
	return nil
}

// shutdown stops reading before rest hands out what is left. It is safe without
// Start and twice.
func (i *instance) shutdown(rest func()) error {
	if !i.started {
		return nil
	}
	i.started = false
	i.cancel()
	i.running.Wait()
	err := i.holding.stop()
	rest()
	return err
}

type metricsReceiver struct {
	*instance
	outlet
}

func newMetricsReceiver(h *holding, set receiver.Settings, next consumer.Metrics) (*metricsReceiver, error) {
	i, err := newInstance(h, set)
	if err != nil {
		return nil, err
	}
	return &metricsReceiver{instance: i, outlet: newOutlet(h.server.cfg, i, next)}, nil
}

// Start opens the sockets, unless the logs receiver has.
func (m *metricsReceiver) Start(_ context.Context, host component.Host) error {
	return m.begin(host, func(ctx context.Context) {
		m.holding.server.everyInterval(ctx, func() { m.flush(false) })
	})
}

// Shutdown hands out what was added up since the last flush.
func (m *metricsReceiver) Shutdown(context.Context) error {
	return m.shutdown(func() { m.flush(true) })
}

// flush hands on what was refused before, and then a batch for each origin and
// chunk. It is not ended by the shutdown, which waits for it.
func (m *metricsReceiver) flush(last bool) {
	server := m.holding.server
	server.lose("refused", m.retry())
	server.flush(last, func(from *origin.Origin, points []aggregate.Point) {
		server.lose("refused", m.give(from, points))
	})
}

type logsReceiver struct {
	*instance
	next consumer.Logs
}

func newLogsReceiver(h *holding, set receiver.Settings, next consumer.Logs) (*logsReceiver, error) {
	i, err := newInstance(h, set)
	if err != nil {
		return nil, err
	}
	return &logsReceiver{instance: i, next: next}, nil
}

// Start opens the sockets, unless the metrics receiver has.
func (l *logsReceiver) Start(_ context.Context, host component.Host) error {
	server := l.holding.server
	return l.begin(host, func(ctx context.Context) {
		if !server.adds {
			// Nobody else lets go of who is gone.
			l.running.Go(func() {
				server.everyInterval(ctx, func() { server.flush(false, func(*origin.Origin, []aggregate.Point) {}) })
			})
		}
		server.eachRecord(ctx, l.hand)
	})
}

// Shutdown hands on what is left.
func (l *logsReceiver) Shutdown(context.Context) error {
	return l.shutdown(func() { l.holding.server.takeRecords(true, l.hand) })
}

func (l *logsReceiver) hand(all []record) {
	ld := logsOf(all, l.set.BuildInfo.Version)
	op := l.report.StartLogsOp(context.Background())
	err := l.next.ConsumeLogs(op, ld)
	l.report.EndLogsOp(op, format, len(all), err)
}

package ebpfconntrackreceiver

import (
	"context"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receiverhelper"
	"go.uber.org/zap"
)

// format is what the Collector's own metrics call what comes in.
const format = "kernel"

// instance is what the receivers of both signals have in common. Start and
// Shutdown are called once, by the Collector.
type instance struct {
	holding *holding
	server  *server // from the start on
	set     receiver.Settings
	report  *receiverhelper.ObsReport
	cancel  context.CancelFunc // ends what runs
	abort   context.CancelFunc // ends what is being handed on
	running sync.WaitGroup
	gone    bool
}

func newInstance(h *holding, set receiver.Settings) (*instance, error) {
	report, err := receiverhelper.NewObsReport(receiverhelper.ObsReportSettings{
		ReceiverID: set.ID, Transport: "bpf", ReceiverCreateSettings: set,
	})
	if err != nil {
		h.leave()
		return nil, err
	}
	return &instance{holding: h, set: set, report: report}, nil
}

// begin starts the server, and then run beside it. The first context of run ends
// with the shutdown. The second one is for handing on, and ends when the shutdown
// is to wait no longer.
func (i *instance) begin(run func(ctx, handing context.Context)) error {
	s, err := i.holding.start(i.set)
	if err != nil {
		i.leave()
		return err
	}
	i.server = s
	handing, abort := context.WithCancel(context.Background())
	ctx, cancel := context.WithCancel(handing)
	i.cancel, i.abort = cancel, abort
	i.running.Go(func() { run(ctx, handing) })
	return nil
}

// shutdown stops watching before rest hands out what is left. It is safe without
// Start and twice.
func (i *instance) shutdown(ctx context.Context, rest func(context.Context)) error {
	if i.server == nil || i.gone {
		i.leave()
		return nil
	}
	i.cancel()
	patient := context.AfterFunc(ctx, i.abort)
	i.running.Wait()
	patient()
	i.abort()
	err := i.holding.stop()
	rest(ctx)
	i.holding.done()
	i.leave()
	return err
}

// leave lets go of the holding, once.
func (i *instance) leave() {
	if !i.gone {
		i.gone = true
		i.holding.leave()
	}
}

type metricsReceiver struct {
	*instance
	next consumer.Metrics
}

func newMetricsReceiver(h *holding, set receiver.Settings, next consumer.Metrics) (*metricsReceiver, error) {
	i, err := newInstance(h, set)
	if err != nil {
		return nil, err
	}
	return &metricsReceiver{instance: i, next: next}, nil
}

// Start begins to watch, unless the logs receiver has.
func (m *metricsReceiver) Start(context.Context, component.Host) error {
	return m.begin(func(ctx, handing context.Context) {
		m.server.eachLook(ctx, func() { m.hand(handing) })
	})
}

// Shutdown hands out what was added up since the last look. The next component may
// take as long as ctx lasts.
func (m *metricsReceiver) Shutdown(ctx context.Context) error { return m.shutdown(ctx, m.hand) }

// hand hands on the figures of now. What is refused is in the next ones: they are
// sums since the start.
func (m *metricsReceiver) hand(ctx context.Context) {
	md := m.server.collect(m.set.BuildInfo.Version)
	n := md.DataPointCount()
	if n == 0 {
		return
	}
	op := m.report.StartMetricsOp(ctx)
	err := m.next.ConsumeMetrics(op, md)
	m.report.EndMetricsOp(op, format, n, err)
	if err != nil {
		m.set.Logger.Debug("metrics were refused", zap.Int("points", n), zap.Error(err))
	}
}

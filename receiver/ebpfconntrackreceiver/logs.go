package ebpfconntrackreceiver

import (
	"context"
	"sync/atomic"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"
	"go.uber.org/zap"

	"github.com/tallymanhq/tallyman/internal/hostview"
)

// maxRecords bounds the log records of one batch.
const maxRecords = 2048

// logsReceiver hands on connections that ended and, if asked to, processes.
type logsReceiver struct {
	*instance
	next consumer.Logs
	// processes are nil unless they are wished for, and there is a view of them.
	processes atomic.Pointer[hostview.Subscription]
	names     *names // nil without reverse_dns

	// For the goroutine that hands on.
	flights []flight
	events  []hostview.ProcessEvent
}

func newLogsReceiver(h *holding, set receiver.Settings, next consumer.Logs) (*logsReceiver, error) {
	i, err := newInstance(h, set)
	if err != nil {
		return nil, err
	}
	return &logsReceiver{instance: i, next: next}, nil
}

// Start begins to watch, unless the metrics receiver has.
func (l *logsReceiver) Start(context.Context, component.Host) error {
	if l.holding.server.cfg.ReverseDNS {
		l.names = newNames()
	}
	if err := l.begin(l.run); err != nil {
		l.names.close()
		return err
	}
	return nil
}

// run hands on what comes until ctx ends.
func (l *logsReceiver) run(ctx, handing context.Context) {
	s := l.server
	if !s.adds {
		// Nobody else lets go of who is gone.
		l.running.Go(func() { s.eachLook(ctx, func() { s.collect("") }) })
	}
	var ready <-chan struct{}
	if s.cfg.ProcessEvents && l.explain(s.view) {
		sub := s.view.Subscribe(hostview.SubscriptionOptions{Host: true})
		defer sub.Close()
		l.processes.Store(sub)
		s.processes.Store(sub)
		ready = sub.Ready()
	}
	for {
		select {
		case <-s.ended.ready():
		case <-ready:
		case <-ctx.Done():
			return
		}
		l.hand(handing)
	}
}

// explain says why there are no events of processes, where they were asked for. It
// is false if there can be none.
func (l *logsReceiver) explain(v *hostview.View) bool {
	if v == nil {
		l.set.Logger.Warn("process_events: there are no cgroups here, so processes are not watched")
		return false
	}
	tier, err := v.Tier()
	if tier == hostview.TierProc || tier == hostview.TierOff {
		l.set.Logger.Warn("process_events: nobody tells of processes here", zap.String("process_stream", string(tier)), zap.Error(err))
		return false
	}
	return true
}

// Shutdown hands on what is left. The next component may take as long as ctx lasts.
func (l *logsReceiver) Shutdown(ctx context.Context) error {
	err := l.shutdown(ctx, l.hand)
	l.names.close()
	return err
}

// hand hands on what waits.
func (l *logsReceiver) hand(ctx context.Context) {
	s := l.server
	l.flights = s.ended.take(l.flights[:0])
	l.events = l.events[:0]
	if sub := l.processes.Load(); sub != nil {
		l.events = sub.Take(l.events)
	}
	flights, events := l.flights, l.events
	for len(flights)+len(events) > 0 {
		d := newDiary(l.set.BuildInfo.Version)
		n := min(len(flights), maxRecords)
		for i := range flights[:n] {
			d.connection(s.pipe.owners.identity(flights[i].owner), &flights[i], l.names.lookup())
		}
		flights = flights[n:]
		n = min(len(events), maxRecords)
		for i := range events[:n] {
			d.process(&events[i])
		}
		events = events[n:]
		l.give(ctx, d)
	}
	clear(l.flights)
	clear(l.events)
}

func (l *logsReceiver) give(ctx context.Context, d *diary) {
	n := d.logs.LogRecordCount()
	if n == 0 {
		return // processes that only forked
	}
	op := l.report.StartLogsOp(ctx)
	err := l.next.ConsumeLogs(op, d.logs)
	l.report.EndLogsOp(op, format, n, err)
	if err != nil {
		l.server.refusedEvents.Add(uint64(n))
	}
}

package containerstatusreceiver

import (
	"context"
	"strings"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receiverhelper"
	"go.uber.org/zap"

	"github.com/tallymanhq/tallyman/internal/docker"
	"github.com/tallymanhq/tallyman/receiver/containerstatusreceiver/internal/metadata"
	"github.com/tallymanhq/tallyman/receiver/containerstatusreceiver/internal/roster"
)

const (
	// maxQueued holds what 500 containers say when all of them end and start at
	// once (kill, die, network.disconnect, network.connect, start, health_status,
	// and a restart), about 1 MB. It is needed only while the pipeline is slow.
	maxQueued = 4096
	// maxBatch keeps a request below the 4 MiB that gRPC servers take by
	// default: a record with its resource is less than 1 KiB.
	maxBatch = 1024
)

// logsReceiver hands events on as they come.
type logsReceiver struct {
	*member
	next   consumer.Logs
	lb     *metadata.LogsBuilder
	report *receiverhelper.ObsReport
	roster *roster.Roster
	drops  *roster.Drops
	queue  *roster.Queue
	// refused: the last batch was not taken, and that was logged. Only run uses it.
	refused bool

	// giveUp ends a hand-over that takes too long at the end; done is closed
	// when run has returned. Both are nil before the start.
	giveUp context.CancelFunc
	done   chan struct{}
}

func newLogsReceiver(shared *watches, set receiver.Settings, cfg *Config, next consumer.Logs) (*logsReceiver, error) {
	report, err := receiverhelper.NewObsReport(receiverhelper.ObsReportSettings{
		ReceiverID: set.ID, Transport: "http", ReceiverCreateSettings: set,
	})
	if err != nil {
		return nil, err
	}
	l := &logsReceiver{
		member: shared.join(set, cfg),
		next:   next,
		lb: metadata.NewLogsBuilder(metadata.LogsBuilderConfig{
			Events: cfg.Events, ResourceAttributes: cfg.ResourceAttributes,
		}, set),
		report: report,
	}
	l.roster, l.drops = l.watch.roster, l.watch.drops
	l.queue = roster.NewQueue(maxQueued, told, l.drops)
	l.roster.Attach(l.queue)
	return l, nil
}

// Start begins to hand events on.
func (l *logsReceiver) Start(ctx context.Context, host component.Host) error {
	if err := l.member.start(ctx, host); err != nil {
		return err
	}
	running, cancel := context.WithCancel(context.Background())
	l.giveUp, l.done = cancel, make(chan struct{})
	go func() {
		defer close(l.done)
		l.run(running)
	}()
	return nil
}

// Shutdown hands on what is queued, as long as ctx lets it. It is safe without
// Start and twice.
func (l *logsReceiver) Shutdown(ctx context.Context) error {
	l.leave()
	l.roster.Detach(l.queue)
	l.queue.Close()
	if l.done == nil {
		return nil
	}
	defer context.AfterFunc(ctx, l.giveUp)()
	<-l.done
	l.giveUp()
	return nil
}

func (l *logsReceiver) run(ctx context.Context) {
	for items := l.queue.Take(); len(items) > 0; items = l.queue.Take() {
		for len(items) > 0 {
			n := min(len(items), maxBatch)
			l.handOn(ctx, items[:n])
			items = items[n:]
		}
	}
}

// handOn gives one batch to the pipeline. There is nobody to give a refused one
// back to, and to try again would tell those twice who have taken it.
func (l *logsReceiver) handOn(ctx context.Context, items []roster.Item) {
	if ctx.Err() != nil {
		l.drops.Abandoned.Add(uint64(len(items)))
		return
	}
	logs := l.batch(ctx, items)
	n := logs.LogRecordCount()
	if n == 0 {
		return // all of them are switched off
	}
	op := l.report.StartLogsOp(ctx)
	err := l.next.ConsumeLogs(op, logs)
	l.report.EndLogsOp(op, metadata.Type.String(), n, err)
	if err != nil {
		l.drops.Refused.Add(uint64(n))
	}
	l.logRefusal(err)
}

// logRefusal writes one line when the pipeline begins to refuse events.
func (l *logsReceiver) logRefusal(err error) {
	if err != nil && !l.refused {
		l.set.Logger.Warn("the pipeline refuses events; they are lost and counted", zap.Error(err))
	}
	l.refused = err != nil
}

// batch makes one resource of each event: their order matters, and a builder
// keeps it only within one kind of event.
func (l *logsReceiver) batch(ctx context.Context, items []roster.Item) plog.Logs {
	out := plog.NewLogs()
	for i := range items {
		l.event(ctx, &items[i]).ResourceLogs().MoveAndAppendTo(out.ResourceLogs())
	}
	return out
}

func (l *logsReceiver) event(ctx context.Context, i *roster.Item) plog.Logs {
	e := &i.Event
	k := kinds[kindOf(e)]
	k.record(l.lb, ctx, timestamp(e.Time), k.options(e)...)
	logs := l.lb.Emit(metadata.WithLogsResource(resource(l.lb.NewResourceBuilder(), containerOf(e), i.Runtime)))
	finish(logs, timestamp(i.Observed), k.severity(e), k.sentence(e))
	return logs
}

// containerOf is the id of the container an event is about, or "".
func containerOf(e *docker.Event) string {
	if e.Type == typeContainer {
		return e.ID
	}
	return e.Container
}

// timestamp is 0, which stands for unknown, for a time that nobody has told.
func timestamp(t time.Time) pcommon.Timestamp {
	if t.IsZero() {
		return 0
	}
	return pcommon.NewTimestampFromTime(t)
}

// finish adds what the builder does not know: when we learned of it, how bad it
// is, and the readable sentence.
func finish(logs plog.Logs, observed pcommon.Timestamp, severity plog.SeverityNumber, text string) {
	for _, rl := range logs.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, r := range sl.LogRecords().All() {
				r.SetObservedTimestamp(observed)
				r.SetSeverityNumber(severity)
				r.SetSeverityText(strings.ToUpper(severity.String()))
				r.Body().SetStr(text)
			}
		}
	}
}

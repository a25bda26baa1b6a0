package netnsreceiver

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver"

	"github.com/tallymanhq/tallyman/internal/netns"
	"github.com/tallymanhq/tallyman/receiver/netnsreceiver/internal/metadata"
)

// logsEmitter tells which containers share a namespace.
type logsEmitter struct {
	core
	lb *metadata.LogsBuilder
}

func newLogsEmitter(cfg *Config, set receiver.Settings) *logsEmitter {
	return &logsEmitter{core: core{cfg: cfg, set: set}}
}

func (e *logsEmitter) start(ctx context.Context, host component.Host) error {
	if err := e.core.start(ctx, host); err != nil {
		return err
	}
	e.lb = metadata.NewLogsBuilder(metadata.LogsBuilderConfig{
		Events:             e.cfg.Events,
		ResourceAttributes: e.cfg.ResourceAttributes,
	}, e.set)
	return nil
}

// scrape returns one event for each namespace whose members have changed and
// are several, or were.
func (e *logsEmitter) scrape(ctx context.Context) (plog.Logs, error) {
	out := plog.NewLogs()
	if e.tracker == nil {
		return out, nil
	}
	namespaces, now := e.refresh()
	for _, n := range namespaces {
		if n.Changed && (len(n.Members) > 1 || n.WasShared) {
			e.event(ctx, n, now).ResourceLogs().MoveAndAppendTo(out.ResourceLogs())
		}
	}
	return out, nil
}

func (e *logsEmitter) event(ctx context.Context, n *netns.Namespace, now time.Time) plog.Logs {
	at := pcommon.NewTimestampFromTime(now)
	ids := make([]any, 0, len(n.Members))
	for _, m := range n.Members {
		ids = append(ids, utf8(m.Cgroup.ID))
	}
	e.lb.RecordContainerNetworkSharedEvent(ctx, at, ids)
	logs := e.lb.Emit(metadata.WithLogsResource(resource(e.lb.NewResourceBuilder(), n)))
	for _, rl := range logs.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, record := range sl.LogRecords().All() {
				record.SetObservedTimestamp(at)
				record.SetSeverityNumber(plog.SeverityNumberInfo)
				record.SetSeverityText("INFO")
				record.Body().SetStr(sentence(len(ids)))
			}
		}
	}
	return logs
}

func sentence(members int) string {
	if members == 1 {
		return "The container no longer shares its network namespace."
	}
	return fmt.Sprintf("%d containers share one network namespace.", members)
}

// withoutEmpty keeps scrapes without an event from the pipeline.
type withoutEmpty struct{ consumer.Logs }

func (w withoutEmpty) ConsumeLogs(ctx context.Context, logs plog.Logs) error {
	if logs.LogRecordCount() == 0 {
		return nil
	}
	return w.Logs.ConsumeLogs(ctx, logs)
}

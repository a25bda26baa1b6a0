package discoveryreceiver

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync/atomic"

	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receiverhelper"

	"github.com/tallymanhq/tallyman/receiver/discoveryreceiver/internal/metadata"
)

// format is what the Collector's own metrics call what comes in.
const format = "discovery"

// countedMetrics counts what started receivers collect as discovery's: their own
// counters are not kept.
type countedMetrics struct {
	consumer.Metrics
	report *receiverhelper.ObsReport
}

func countMetrics(set receiver.Settings, next consumer.Metrics) (consumer.Metrics, error) {
	report, err := newReport(set)
	return &countedMetrics{Metrics: next, report: report}, err
}

// ConsumeMetrics implements [consumer.Metrics].
func (c *countedMetrics) ConsumeMetrics(ctx context.Context, md pmetric.Metrics) error {
	n := md.DataPointCount()
	op := c.report.StartMetricsOp(ctx)
	err := c.Metrics.ConsumeMetrics(op, md)
	c.report.EndMetricsOp(op, format, n, err)
	return err
}

// countedLogs does the same for logs.
type countedLogs struct {
	consumer.Logs
	report *receiverhelper.ObsReport
}

func countLogs(set receiver.Settings, next consumer.Logs) (consumer.Logs, error) {
	report, err := newReport(set)
	return &countedLogs{Logs: next, report: report}, err
}

// ConsumeLogs implements [consumer.Logs].
func (c *countedLogs) ConsumeLogs(ctx context.Context, ld plog.Logs) error {
	n := ld.LogRecordCount()
	op := c.report.StartLogsOp(ctx)
	err := c.Logs.ConsumeLogs(op, ld)
	c.report.EndLogsOp(op, format, n, err)
	return err
}

func newReport(set receiver.Settings) (*receiverhelper.ObsReport, error) {
	return receiverhelper.NewObsReport(receiverhelper.ObsReportSettings{
		ReceiverID: set.ID, Transport: "none", ReceiverCreateSettings: set,
	})
}

// The names of events and of their attributes, a contract with users: README.md.
const (
	eventStart  = "discovery.receiver.start"
	eventStop   = "discovery.receiver.stop"
	eventFailed = "discovery.receiver.failed"

	attributeRule     = "discovery.rule"
	attributeReceiver = "discovery.receiver"
	attributeEndpoint = "discovery.endpoint"
	attributeReason   = "discovery.reason"
	attributeError    = "error.message"
)

// eventEmitter turns what happens to receivers into log records. Its methods belong to
// one goroutine.
type eventEmitter struct {
	next    consumer.Logs
	version string // of the agent, for the scope
	// refused counts records that the pipeline did not take.
	refused atomic.Uint64
}

// run hands on what comes until quit is closed, and then what waits. The context ends
// a hand-over that takes too long.
func (e *eventEmitter) run(ctx context.Context, quit <-chan struct{}, happenings <-chan happening) {
	for {
		select {
		case h := <-happenings:
			e.hand(ctx, &h)
		case <-quit:
			for len(happenings) > 0 {
				h := <-happenings
				e.hand(ctx, &h)
			}
			return
		}
	}
}

func (e *eventEmitter) hand(ctx context.Context, h *happening) {
	if ctx.Err() != nil || e.next.ConsumeLogs(ctx, e.logs(h)) != nil {
		e.refused.Add(1)
	}
}

// logs is one happening as a log record of its container, which container_tag says
// more of.
func (e *eventEmitter) logs(h *happening) plog.Logs {
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	putText(rl.Resource().Attributes(), "container.name", cmp.Or(h.called, h.resource["container.name"]))
	putText(rl.Resource().Attributes(), "container.runtime.name", h.resource["container.runtime.name"])
	rl.Resource().Attributes().PutStr("container.id", h.container)
	sl := rl.ScopeLogs().AppendEmpty()
	sl.Scope().SetName(metadata.ScopeName)
	sl.Scope().SetVersion(e.version)
	record := sl.LogRecords().AppendEmpty()
	record.SetTimestamp(pcommon.NewTimestampFromTime(h.at))
	record.SetObservedTimestamp(record.Timestamp())
	describe(record, h)
	attributes := record.Attributes()
	putText(attributes, attributeRule, h.rule)
	putText(attributes, attributeReceiver, h.receiver)
	putText(attributes, attributeEndpoint, h.endpoint)
	putText(attributes, attributeReason, h.reason)
	if h.err != nil {
		putText(attributes, attributeError, h.err.Error())
	}
	return ld
}

// describe says what has happened, by name and in a sentence.
func describe(record plog.LogRecord, h *happening) {
	severity := plog.SeverityNumberInfo
	switch h.kind {
	case started:
		record.SetEventName(eventStart)
		record.Body().SetStr(fmt.Sprintf("Receiver %s was started for container %s by %s %s.", h.receiver, h.name(), h.reason, h.rule))
	case stopped:
		record.SetEventName(eventStop)
		record.Body().SetStr(fmt.Sprintf("Receiver %s of container %s was stopped.", h.receiver, h.name()))
	case stopping:
		severity = plog.SeverityNumberWarn
		record.SetEventName(eventFailed)
		record.Body().SetStr(fmt.Sprintf("Receiver %s of container %s is to stop and still runs: %v.", h.receiver, h.name(), h.err))
	case failed:
		severity = plog.SeverityNumberWarn
		record.SetEventName(eventFailed)
		record.Body().SetStr(fmt.Sprintf("What %s asks for does not run for container %s: %v.", h.rule, h.name(), h.err))
	}
	record.SetSeverityNumber(severity)
	record.SetSeverityText(strings.ToUpper(severity.String()))
}

func putText(attributes pcommon.Map, key, value string) {
	if value != "" {
		attributes.PutStr(key, value)
	}
}

package cgroupreceiver

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver"

	"github.com/tallymanhq/tallyman/internal/cgroup"
	"github.com/tallymanhq/tallyman/internal/hostview/sampler"
	"github.com/tallymanhq/tallyman/receiver/cgroupreceiver/internal/metadata"
)

// logsEmitter turns events into log records.
type logsEmitter struct {
	core
	lb *metadata.LogsBuilder
}

func newLogsEmitter(cfg *Config, set receiver.Settings) *logsEmitter {
	return &logsEmitter{core: core{cfg: cfg, set: set}}
}

func (e *logsEmitter) start(ctx context.Context, host component.Host) error {
	if err := e.core.start(ctx, host); err != nil || e.view == nil {
		return err
	}
	e.lb = metadata.NewLogsBuilder(metadata.LogsBuilderConfig{
		Events:             e.cfg.Events,
		ResourceAttributes: e.cfg.ResourceAttributes,
	}, e.set)
	e.logStart()
	return nil
}

// scrape returns the events since the last call, one resource per event: they
// are rare, and their order matters.
func (e *logsEmitter) scrape(ctx context.Context) (plog.Logs, error) {
	if e.view == nil {
		return plog.NewLogs(), nil
	}
	out := plog.NewLogs()
	e.consumer.Collect(func(p *sampler.Pass) {
		for i := range p.Events {
			e.event(ctx, &p.Events[i], p.At).ResourceLogs().MoveAndAppendTo(out.ResourceLogs())
		}
	})
	return out, nil
}

// event is one event as logs of its own; observed is when we learned of it.
func (e *logsEmitter) event(ctx context.Context, ev *sampler.Event, observed time.Time) plog.Logs {
	e.record(ctx, ev)
	logs := e.lb.Emit(metadata.WithLogsResource(resource(e.lb.NewResourceBuilder(), ev.Target.Cgroup)))
	finish(logs, ev, pcommon.NewTimestampFromTime(observed))
	return logs
}

func (e *logsEmitter) record(ctx context.Context, ev *sampler.Event) {
	at, t, v := pcommon.NewTimestampFromTime(ev.At), ev.Target, ev.Victim
	switch ev.Kind {
	case sampler.Started:
		var opts []metadata.EventAttributeOption
		if t.InitPID > 0 {
			opts = append(opts, metadata.WithContainerPidEventAttribute(int64(t.InitPID)))
		}
		e.lb.RecordContainerStartEvent(ctx, at, opts...)
	case sampler.Stopped:
		e.lb.RecordContainerStopEvent(ctx, at, t.End.Sub(t.Start).Seconds(), stopOptions(t)...)
	case sampler.OOMKilled:
		opts := victimOptions(v)
		if ev.SurvivedKnown {
			opts = append(opts, metadata.WithContainerSurvivedEventAttribute(ev.Survived))
		}
		if ev.Group {
			opts = append(opts, metadata.WithCountEventAttribute(int64(ev.Count)))
		}
		e.lb.RecordContainerOomKillEvent(ctx, at, opts...)
	case sampler.BecameDegraded:
		e.lb.RecordContainerDegradedEvent(ctx, at, degradedReason(ev.Reason), append(processOptions(v), metadata.WithCountEventAttribute(int64(ev.Count)))...)
	case sampler.Recovered:
		e.lb.RecordContainerRecoveredEvent(ctx, at, ev.Duration.Seconds(), processOptions(v)...)
	}
}

func stopOptions(t *sampler.Target) []metadata.EventAttributeOption {
	var opts []metadata.EventAttributeOption
	if t.Sample.Known&cgroup.PartMemoryPeak != 0 {
		opts = append(opts, metadata.WithContainerMemoryPeakEventAttribute(int64(t.Sample.Memory.Peak)))
	}
	if t.Sample.Known&cgroup.PartCPUTime != 0 {
		opts = append(opts, metadata.WithContainerCPUTimeEventAttribute(t.Sample.CPU.Usage.Seconds()))
	}
	if t.PidsPeak > 0 {
		opts = append(opts, metadata.WithContainerPidsPeakEventAttribute(int64(t.PidsPeak)))
	}
	if t.HasExit && t.Exit.Status.Exited() {
		opts = append(opts, metadata.WithContainerExitCodeEventAttribute(int64(t.Exit.Status.ExitStatus())))
	}
	if t.HasExit && t.Exit.Status.Signaled() {
		// As engines and shells say it: 137 is 128 + SIGKILL.
		signal := int64(t.Exit.Status.Signal())
		opts = append(opts, metadata.WithContainerExitCodeEventAttribute(128+signal), metadata.WithContainerExitSignalEventAttribute(signal))
	}
	// No kill counted is not "no kill": the cgroup may have gone before the
	// counter was read again.
	if t.Events.OOMKill > 0 || t.Kills.Total() > 0 {
		opts = append(opts, metadata.WithContainerOomKilledEventAttribute(true))
	}
	return opts
}

func victimOptions(v sampler.Victim) []metadata.EventAttributeOption {
	opts := processOptions(v)
	if v.VPID > 0 {
		opts = append(opts, metadata.WithProcessVpidEventAttribute(int64(v.VPID)))
	}
	if v.InitKnown {
		opts = append(opts, metadata.WithOomVictimInitEventAttribute(v.Init))
	}
	if v.RSS > 0 {
		opts = append(opts, metadata.WithProcessMemoryRssEventAttribute(int64(v.RSS)))
	}
	return opts
}

func processOptions(v sampler.Victim) []metadata.EventAttributeOption {
	var opts []metadata.EventAttributeOption
	if v.PID > 0 {
		opts = append(opts, metadata.WithProcessPidEventAttribute(int64(v.PID)))
	}
	if v.Executable != "" {
		opts = append(opts, metadata.WithProcessExecutableNameEventAttribute(v.Executable))
	}
	return opts
}

// finish adds what the builder does not know: severity, the readable
// sentence, and when we learned of it.
func finish(logs plog.Logs, ev *sampler.Event, observed pcommon.Timestamp) {
	severity, text := describe(ev)
	for i := range logs.ResourceLogs().Len() {
		records := logs.ResourceLogs().At(i).ScopeLogs().At(0).LogRecords()
		for j := range records.Len() {
			r := records.At(j)
			r.SetObservedTimestamp(observed)
			r.SetSeverityNumber(severity)
			r.SetSeverityText(severity.String())
			r.Body().SetStr(text)
		}
	}
}

func describe(ev *sampler.Event) (plog.SeverityNumber, string) {
	who := ev.Victim.Executable
	if who == "" {
		who = "a process"
	}
	switch ev.Kind {
	case sampler.Started:
		return plog.SeverityNumberInfo, "The container started."
	case sampler.Stopped:
		return plog.SeverityNumberInfo, "The container stopped."
	case sampler.OOMKilled:
		if ev.Group {
			return plog.SeverityNumberWarn, fmt.Sprintf("The OOM killer killed %d processes of the container as one (memory.oom.group).", ev.Count)
		}
		return plog.SeverityNumberWarn, fmt.Sprintf("The OOM killer killed %s of the container.", who)
	case sampler.BecameDegraded:
		return plog.SeverityNumberError, describeDegraded(ev, who)
	default:
		return plog.SeverityNumberInfo, fmt.Sprintf("The container has recovered: %s runs again.", who)
	}
}

func describeDegraded(ev *sampler.Event, who string) string {
	switch ev.Reason {
	case sampler.ReasonGaveUp:
		return fmt.Sprintf("The container runs on without %s, which failed %d times in a row and is not started again.", who, ev.Count)
	case sampler.ReasonCrash:
		if ev.Count == 1 {
			return fmt.Sprintf("The container runs on without %s, which crashed and was not replaced.", who)
		}
		return fmt.Sprintf("The container runs on while %s keeps crashing: %d times in a row.", who, ev.Count)
	default:
		return fmt.Sprintf("The container runs on without %s, which was OOM-killed and not replaced.", who)
	}
}

func degradedReason(r sampler.Reason) metadata.AttributeDegradedReason {
	switch r {
	case sampler.ReasonCrash:
		return metadata.AttributeDegradedReasonCrash
	case sampler.ReasonGaveUp:
		return metadata.AttributeDegradedReasonGaveUp
	default:
		return metadata.AttributeDegradedReasonOom
	}
}

// withoutEmpty keeps passes without events from the pipeline: at one pass per
// second every exporter would send an empty request each time.
type withoutEmpty struct{ consumer.Logs }

// ConsumeLogs passes logs on unless there are none.
func (w withoutEmpty) ConsumeLogs(ctx context.Context, logs plog.Logs) error {
	if logs.LogRecordCount() == 0 {
		return nil
	}
	return w.Logs.ConsumeLogs(ctx, logs)
}

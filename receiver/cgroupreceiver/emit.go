package cgroupreceiver

import (
	"context"
	"strings"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver"

	"github.com/tallymanhq/tallyman/internal/cadence"
	"github.com/tallymanhq/tallyman/internal/cgroup"
	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/hostview/sampler"
	"github.com/tallymanhq/tallyman/receiver/cgroupreceiver/internal/metadata"
)

// metricsEmitter turns passes into metrics.
type metricsEmitter struct {
	core
	mb      *metadata.MetricsBuilder
	devices *deviceNames
	// bootedAt is the start of the host's own counters.
	bootedAt pcommon.Timestamp
	// cadence leaves out what has not changed; telling is what was told.
	cadence cadence.Cadence
	telling telling
}

func newMetricsEmitter(cfg *Config, set receiver.Settings) *metricsEmitter {
	return &metricsEmitter{
		core:    core{cfg: cfg, set: set},
		cadence: cadence.New(cfg.CollectionInterval, cfg.UnchangedInterval),
		telling: newTelling(),
	}
}

func (e *metricsEmitter) start(ctx context.Context, host component.Host) error {
	if err := e.core.start(ctx, host); err != nil || e.view == nil {
		return err
	}
	h, err := newHealth(e.set, healthOf{e.sampler, e.view, e.telling.leftOut.Load})
	if err != nil {
		return err
	}
	e.health = h
	e.mb = metadata.NewMetricsBuilder(e.cfg.MetricsBuilderConfig, e.set)
	e.devices = newDeviceNames(e.cfg.RootPath)
	e.bootedAt = pcommon.NewTimestampFromTime(e.view.BootTime())
	e.logStart()
	return nil
}

// scrape makes a pass and returns it as one resource per container and one
// for the host, each where something has changed or its turn has come.
func (e *metricsEmitter) scrape(context.Context) (pmetric.Metrics, error) {
	if e.view == nil {
		return pmetric.NewMetrics(), nil
	}
	e.consumer.Collect(func(p *sampler.Pass) {
		e.targets(p)
		e.host(p.At, hostReadingOf(e.view.Index().Counts(), &p.Pressure))
	})
	e.health.logProblems(e.sampler.Stats().Problems)
	return e.mb.Emit(), nil
}

// targets emits those that ended first: one that began again has the same name, and
// its series go on.
func (e *metricsEmitter) targets(p *sampler.Pass) {
	e.telling.pass++
	for _, t := range p.Ended {
		if !t.At.IsZero() {
			e.ended(t)
		}
	}
	for _, t := range p.Live {
		if t.At.IsZero() {
			continue
		}
		last := e.telling.of(t)
		// One that could not be read is about to end, and its end is before this pass.
		if !t.At.Before(p.At) {
			e.live(p.At, t, last)
		}
	}
	e.telling.forget()
}

// live emits a cgroup that is there, if there is something to tell.
func (e *metricsEmitter) live(at time.Time, t *sampler.Target, last *lastReading) {
	now := &e.telling.now
	now.take(t, t.Sample.Have, e.cfg)
	tell, before := last.steps.Next(e.cadence, !last.same(now))
	if before {
		e.target(last.at, t, &last.reading)
	}
	if tell {
		e.target(at, t, now)
	} else {
		e.telling.leftOut.Add(1)
	}
	last.keep(at, now)
}

// ended emits what was last known of one that is gone: all that was ever read.
func (e *metricsEmitter) ended(t *sampler.Target) {
	if last := e.telling.end(t); last != nil && last.steps.Quiet() && last.at.Before(t.End) {
		e.target(last.at, t, &last.reading)
	}
	now := &e.telling.now
	now.take(t, t.Sample.Known, e.cfg)
	e.target(t.End, t, now)
}

// target emits one reading of a cgroup.
func (e *metricsEmitter) target(when time.Time, t *sampler.Target, r *reading) {
	at := pcommon.NewTimestampFromTime(when)
	e.cpu(at, r)
	e.memory(at, r)
	e.memoryLimits(at, r)
	e.memoryEvents(at, r)
	e.disk(at, r)
	e.pids(at, r)
	e.pressure(at, r)
	if r.filesystem.Capacity > 0 {
		e.mb.RecordContainerFilesystemCapacityDataPoint(at, int64(r.filesystem.Capacity))
		e.mb.RecordContainerFilesystemAvailableDataPoint(at, int64(r.filesystem.Available))
	}
	if r.filesystem.HasLayerUsage {
		e.mb.RecordContainerFilesystemUsageDataPoint(at, int64(r.filesystem.LayerUsage))
	}
	e.mb.RecordContainerUptimeDataPoint(at, max(0, at.AsTime().Sub(r.start).Seconds()))
	e.mb.EmitForResource(
		metadata.WithResource(resource(e.mb.NewResourceBuilder(), t.Cgroup)),
		metadata.WithStartTimeOverride(pcommon.NewTimestampFromTime(r.start)),
	)
}

func (e *metricsEmitter) cpu(at pcommon.Timestamp, r *reading) {
	if r.has(cgroup.PartCPUTime) {
		e.mb.RecordContainerCPUTimeDataPoint(at, r.cpu.User.Seconds(), metadata.AttributeCPUModeUser)
		e.mb.RecordContainerCPUTimeDataPoint(at, r.cpu.System.Seconds(), metadata.AttributeCPUModeSystem)
		if r.hasCPUs {
			e.mb.RecordContainerCPUUsageDataPoint(at, r.cpus)
		}
	}
	if limit := r.limits.CPUs(); limit > 0 {
		e.mb.RecordContainerCPULimitDataPoint(at, limit)
	}
	if r.has(cgroup.PartThrottling) {
		e.mb.RecordContainerCPUThrottlingTimeDataPoint(at, r.cpu.ThrottledTime.Seconds())
		e.mb.RecordContainerCPUThrottlingPeriodsDataPoint(at, int64(r.cpu.ThrottledPeriods), true)
		e.mb.RecordContainerCPUThrottlingPeriodsDataPoint(at, int64(r.cpu.Periods-r.cpu.ThrottledPeriods), false)
	}
}

func (e *metricsEmitter) memory(at pcommon.Timestamp, r *reading) {
	m := &r.memoryUse
	if r.has(cgroup.PartMemory) {
		e.mb.RecordContainerMemoryUsageDataPoint(at, int64(m.Usage))
	}
	if r.has(cgroup.PartMemoryPeak) {
		e.mb.RecordContainerMemoryPeakDataPoint(at, int64(m.Peak))
	}
	if r.has(cgroup.PartMemoryStat) {
		e.mb.RecordContainerMemoryRssDataPoint(at, int64(m.RSS))
		e.mb.RecordContainerMemoryCacheDataPoint(at, int64(m.Cache))
		e.mb.RecordContainerPagingFaultsDataPoint(at, int64(m.MajorFaults), metadata.AttributeSystemPagingFaultTypeMajor)
		e.mb.RecordContainerPagingFaultsDataPoint(at, int64(m.MinorFaults()), metadata.AttributeSystemPagingFaultTypeMinor)
	}
	if r.has(cgroup.PartKernelMemory) {
		e.mb.RecordContainerMemoryKernelDataPoint(at, int64(m.Kernel))
	}
	if r.has(cgroup.PartSwap) {
		e.mb.RecordContainerMemorySwapUsageDataPoint(at, int64(m.Swap))
	}
	if r.hasWorkingSet {
		e.mb.RecordContainerMemoryWorkingSetDataPoint(at, int64(r.workingSet))
	}
}

func (e *metricsEmitter) memoryLimits(at pcommon.Timestamp, r *reading) {
	limits := r.limits
	if limits.Memory != cgroup.Unlimited {
		e.mb.RecordContainerMemoryLimitDataPoint(at, int64(limits.Memory))
		if r.hasWorkingSet {
			e.mb.RecordContainerMemoryAvailableDataPoint(at, max(0, int64(limits.Memory)-int64(r.workingSet)))
		}
		if r.has(cgroup.PartMemory) && limits.Memory > 0 {
			e.mb.RecordContainerMemoryUtilizationDataPoint(at, float64(r.memoryUse.Usage)/float64(limits.Memory))
		}
	}
	if limits.Swap != cgroup.Unlimited {
		e.mb.RecordContainerMemorySwapLimitDataPoint(at, int64(limits.Swap))
		if r.has(cgroup.PartSwap) && limits.Swap > 0 {
			e.mb.RecordContainerMemorySwapUtilizationDataPoint(at, float64(r.memoryUse.Swap)/float64(limits.Swap))
		}
	}
}

func (e *metricsEmitter) memoryEvents(at pcommon.Timestamp, r *reading) {
	for _, ev := range []struct {
		part cgroup.Part
		n    uint64
		kind metadata.AttributeMemoryEventType
	}{
		{cgroup.PartEventOthers, r.events.Low, metadata.AttributeMemoryEventTypeLow},
		{cgroup.PartEventOthers, r.events.High, metadata.AttributeMemoryEventTypeHigh},
		{cgroup.PartEventMax, r.events.Max, metadata.AttributeMemoryEventTypeMax},
		{cgroup.PartEventOthers, r.events.OOM, metadata.AttributeMemoryEventTypeOom},
		{cgroup.PartEventOOMKill, r.events.OOMKill, metadata.AttributeMemoryEventTypeOomKill},
		{cgroup.PartEventGroup, r.events.OOMGroupKill, metadata.AttributeMemoryEventTypeOomGroupKill},
	} {
		if r.has(ev.part) {
			e.mb.RecordContainerMemoryEventsDataPoint(at, int64(ev.n), ev.kind)
		}
	}
	if !r.has(cgroup.PartEventOOMKill) || !r.isContainer {
		return
	}
	e.mb.RecordContainerOomKillCountDataPoint(at, int64(r.kills.Other), metadata.WithOomVictimInitMetricAttribute(false))
	e.mb.RecordContainerOomKillCountDataPoint(at, int64(r.kills.Init), metadata.WithOomVictimInitMetricAttribute(true))
	if r.kills.Unknown > 0 {
		e.mb.RecordContainerOomKillCountDataPoint(at, int64(r.kills.Unknown))
	}
	for _, d := range r.degraded {
		if d.reason != "" {
			e.mb.RecordContainerDegradedDataPoint(at, d.is, degradedReason(d.reason))
		}
	}
}

func (e *metricsEmitter) disk(at pcommon.Timestamp, r *reading) {
	for _, d := range r.io {
		name := e.devices.name(d.Major, d.Minor)
		if r.has(cgroup.PartIOBytes) {
			e.mb.RecordContainerDiskIoDataPoint(at, int64(d.ReadBytes), metadata.AttributeDiskIoDirectionRead, name)
			e.mb.RecordContainerDiskIoDataPoint(at, int64(d.WriteBytes), metadata.AttributeDiskIoDirectionWrite, name)
		}
		if r.has(cgroup.PartIOOperations) {
			e.mb.RecordContainerDiskOperationsDataPoint(at, int64(d.Reads), metadata.AttributeDiskIoDirectionRead, name)
			e.mb.RecordContainerDiskOperationsDataPoint(at, int64(d.Writes), metadata.AttributeDiskIoDirectionWrite, name)
		}
	}
}

func (e *metricsEmitter) pids(at pcommon.Timestamp, r *reading) {
	if r.has(cgroup.PartPids) {
		e.mb.RecordContainerPidsCountDataPoint(at, int64(r.pids))
	}
	if r.limits.Pids != cgroup.Unlimited {
		e.mb.RecordContainerPidsLimitDataPoint(at, int64(r.limits.Pids))
	}
}

// host emits what belongs to no container, if there is something to tell.
func (e *metricsEmitter) host(at time.Time, now hostReading) {
	last := &e.telling.host
	tell, before := last.steps.Next(e.cadence, last.hostReading != now)
	if before {
		e.hostReading(last.at, &last.hostReading)
	}
	if tell {
		e.hostReading(at, &now)
	} else {
		e.telling.leftOut.Add(1)
	}
	last.at, last.hostReading = at, now
}

func (e *metricsEmitter) hostReading(when time.Time, r *hostReading) {
	at := pcommon.NewTimestampFromTime(when)
	for name, attribute := range metadata.MapAttributeCgroupClass {
		if class, err := container.ParseClass(name); err == nil {
			e.mb.RecordSystemCgroupCountDataPoint(at, int64(r.counts[class]), attribute)
		}
	}
	e.hostPressure(at, &r.pressure)
	e.mb.EmitForResource(metadata.WithStartTimeOverride(e.bootedAt))
}

// withoutNothing keeps passes in which nothing was to be told from the pipeline.
type withoutNothing struct{ consumer.Metrics }

// ConsumeMetrics passes metrics on unless there are none.
func (w withoutNothing) ConsumeMetrics(ctx context.Context, md pmetric.Metrics) error {
	if md.ResourceMetrics().Len() == 0 {
		return nil
	}
	return w.Metrics.ConsumeMetrics(ctx, md)
}

// resource names the container, or else the cgroup. Names of directories may
// hold any bytes; OTLP takes UTF-8 alone and refuses the whole request else.
func resource(rb *metadata.ResourceBuilder, c container.Cgroup) pcommon.Resource {
	cgroupPath := utf8(c.Path)
	if c.ID != "" {
		rb.SetContainerID(utf8(c.ID))
	}
	if c.Runtime != "" && (c.Class == container.ClassContainer || c.Class == container.ClassSandbox) {
		rb.SetContainerRuntimeName(c.Runtime)
	}
	if c.PodUID != "" {
		rb.SetK8sPodUID(c.PodUID)
	}
	if c.ParentID != "" {
		rb.SetContainerParentID(utf8(c.ParentID))
	}
	rb.SetLinuxCgroupPath(cgroupPath)
	res := rb.Emit()
	if c.ID == "" && c.PodUID == "" {
		res.Attributes().PutStr("linux.cgroup.path", cgroupPath)
	}
	return res
}

func utf8(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

package cgroupreceiver

import (
	"context"
	"strings"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver"

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
}

func newMetricsEmitter(cfg *Config, set receiver.Settings) *metricsEmitter {
	return &metricsEmitter{core: core{cfg: cfg, set: set}}
}

func (e *metricsEmitter) start(ctx context.Context, host component.Host) error {
	if err := e.core.start(ctx, host); err != nil || e.view == nil {
		return err
	}
	h, err := newHealth(e.set, e.sampler, e.view)
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
// for the host.
func (e *metricsEmitter) scrape(context.Context) (pmetric.Metrics, error) {
	if e.view == nil {
		return pmetric.NewMetrics(), nil
	}
	e.consumer.Collect(func(p *sampler.Pass) {
		at := pcommon.NewTimestampFromTime(p.At)
		for _, t := range p.Live {
			if !t.At.IsZero() {
				e.target(at, t, t.Sample.Have)
			}
		}
		for _, t := range p.Ended {
			if !t.At.IsZero() {
				e.target(pcommon.NewTimestampFromTime(t.End), t, t.Sample.Known)
			}
		}
		e.host(at, p.Pressure)
	})
	e.health.logProblems(e.sampler.Stats().Problems)
	return e.mb.Emit(), nil
}

// target emits one cgroup. have are the parts of its sample to emit: of an
// ended one all that was ever known.
func (e *metricsEmitter) target(at pcommon.Timestamp, t *sampler.Target, have cgroup.Part) {
	e.cpu(at, t, have)
	e.memory(at, t, have)
	e.memoryLimits(at, t, have)
	e.memoryEvents(at, t, have)
	e.disk(at, t, have)
	e.pids(at, t, have)
	e.pressure(at, t, have)
	if t.Filesystem.Capacity > 0 {
		e.mb.RecordContainerFilesystemCapacityDataPoint(at, int64(t.Filesystem.Capacity))
		e.mb.RecordContainerFilesystemAvailableDataPoint(at, int64(t.Filesystem.Available))
	}
	if t.Filesystem.HasLayerUsage {
		e.mb.RecordContainerFilesystemUsageDataPoint(at, int64(t.Filesystem.LayerUsage))
	}
	e.mb.RecordContainerUptimeDataPoint(at, max(0, at.AsTime().Sub(t.Start).Seconds()))
	e.mb.EmitForResource(
		metadata.WithResource(resource(e.mb.NewResourceBuilder(), t.Cgroup)),
		metadata.WithStartTimeOverride(pcommon.NewTimestampFromTime(t.Start)),
	)
}

func (e *metricsEmitter) cpu(at pcommon.Timestamp, t *sampler.Target, have cgroup.Part) {
	s := &t.Sample
	if have&cgroup.PartCPUTime != 0 {
		e.mb.RecordContainerCPUTimeDataPoint(at, s.CPU.User.Seconds(), metadata.AttributeCPUModeUser)
		e.mb.RecordContainerCPUTimeDataPoint(at, s.CPU.System.Seconds(), metadata.AttributeCPUModeSystem)
		if t.HasCPUs && t.End.IsZero() {
			e.mb.RecordContainerCPUUsageDataPoint(at, t.CPUs)
		}
	}
	if limit := t.Effective.CPUs(); limit > 0 {
		e.mb.RecordContainerCPULimitDataPoint(at, limit)
	}
	if have&cgroup.PartThrottling != 0 {
		e.mb.RecordContainerCPUThrottlingTimeDataPoint(at, s.CPU.ThrottledTime.Seconds())
		e.mb.RecordContainerCPUThrottlingPeriodsDataPoint(at, int64(s.CPU.ThrottledPeriods), true)
		e.mb.RecordContainerCPUThrottlingPeriodsDataPoint(at, int64(s.CPU.Periods-s.CPU.ThrottledPeriods), false)
	}
}

func (e *metricsEmitter) memory(at pcommon.Timestamp, t *sampler.Target, have cgroup.Part) {
	m := &t.Sample.Memory
	if have&cgroup.PartMemory != 0 {
		e.mb.RecordContainerMemoryUsageDataPoint(at, int64(m.Usage))
	}
	if have&cgroup.PartMemoryPeak != 0 {
		e.mb.RecordContainerMemoryPeakDataPoint(at, int64(m.Peak))
	}
	if have&cgroup.PartMemoryStat != 0 {
		e.mb.RecordContainerMemoryRssDataPoint(at, int64(m.RSS))
		e.mb.RecordContainerMemoryCacheDataPoint(at, int64(m.Cache))
		e.mb.RecordContainerPagingFaultsDataPoint(at, int64(m.MajorFaults), metadata.AttributeSystemPagingFaultTypeMajor)
		e.mb.RecordContainerPagingFaultsDataPoint(at, int64(m.MinorFaults()), metadata.AttributeSystemPagingFaultTypeMinor)
	}
	if have&cgroup.PartKernelMemory != 0 {
		e.mb.RecordContainerMemoryKernelDataPoint(at, int64(m.Kernel))
	}
	if have&cgroup.PartSwap != 0 {
		e.mb.RecordContainerMemorySwapUsageDataPoint(at, int64(m.Swap))
	}
	if t.HasWorkingSet {
		e.mb.RecordContainerMemoryWorkingSetDataPoint(at, int64(t.WorkingSet))
	}
}

func (e *metricsEmitter) memoryLimits(at pcommon.Timestamp, t *sampler.Target, have cgroup.Part) {
	s, limits := &t.Sample, t.Effective
	if limits.Memory != cgroup.Unlimited {
		e.mb.RecordContainerMemoryLimitDataPoint(at, int64(limits.Memory))
		if t.HasWorkingSet {
			e.mb.RecordContainerMemoryAvailableDataPoint(at, max(0, int64(limits.Memory)-int64(t.WorkingSet)))
		}
		if have&cgroup.PartMemory != 0 && limits.Memory > 0 {
			e.mb.RecordContainerMemoryUtilizationDataPoint(at, float64(s.Memory.Usage)/float64(limits.Memory))
		}
	}
	if limits.Swap != cgroup.Unlimited {
		e.mb.RecordContainerMemorySwapLimitDataPoint(at, int64(limits.Swap))
		if have&cgroup.PartSwap != 0 && limits.Swap > 0 {
			e.mb.RecordContainerMemorySwapUtilizationDataPoint(at, float64(s.Memory.Swap)/float64(limits.Swap))
		}
	}
}

func (e *metricsEmitter) memoryEvents(at pcommon.Timestamp, t *sampler.Target, have cgroup.Part) {
	for _, ev := range []struct {
		part cgroup.Part
		n    uint64
		kind metadata.AttributeMemoryEventType
	}{
		{cgroup.PartEventOthers, t.Events.Low, metadata.AttributeMemoryEventTypeLow},
		{cgroup.PartEventOthers, t.Events.High, metadata.AttributeMemoryEventTypeHigh},
		{cgroup.PartEventMax, t.Events.Max, metadata.AttributeMemoryEventTypeMax},
		{cgroup.PartEventOthers, t.Events.OOM, metadata.AttributeMemoryEventTypeOom},
		{cgroup.PartEventOOMKill, t.Events.OOMKill, metadata.AttributeMemoryEventTypeOomKill},
		{cgroup.PartEventGroup, t.Events.OOMGroupKill, metadata.AttributeMemoryEventTypeOomGroupKill},
	} {
		if have&ev.part != 0 {
			e.mb.RecordContainerMemoryEventsDataPoint(at, int64(ev.n), ev.kind)
		}
	}
	if have&cgroup.PartEventOOMKill == 0 || !t.IsContainer() {
		return
	}
	e.mb.RecordContainerOomKillCountDataPoint(at, int64(t.Kills.Other), metadata.WithOomVictimInitMetricAttribute(false))
	e.mb.RecordContainerOomKillCountDataPoint(at, int64(t.Kills.Init), metadata.WithOomVictimInitMetricAttribute(true))
	if t.Kills.Unknown > 0 {
		e.mb.RecordContainerOomKillCountDataPoint(at, int64(t.Kills.Unknown))
	}
	if t.ProcessesKnown && t.End.IsZero() {
		for reason, is := range t.Degradations() {
			degraded := int64(0)
			if is {
				degraded = 1
			}
			e.mb.RecordContainerDegradedDataPoint(at, degraded, degradedReason(reason))
		}
	}
}

func (e *metricsEmitter) disk(at pcommon.Timestamp, t *sampler.Target, have cgroup.Part) {
	for _, d := range t.Sample.IO {
		name := e.devices.name(d.Major, d.Minor)
		if have&cgroup.PartIOBytes != 0 {
			e.mb.RecordContainerDiskIoDataPoint(at, int64(d.ReadBytes), metadata.AttributeDiskIoDirectionRead, name)
			e.mb.RecordContainerDiskIoDataPoint(at, int64(d.WriteBytes), metadata.AttributeDiskIoDirectionWrite, name)
		}
		if have&cgroup.PartIOOperations != 0 {
			e.mb.RecordContainerDiskOperationsDataPoint(at, int64(d.Reads), metadata.AttributeDiskIoDirectionRead, name)
			e.mb.RecordContainerDiskOperationsDataPoint(at, int64(d.Writes), metadata.AttributeDiskIoDirectionWrite, name)
		}
	}
}

func (e *metricsEmitter) pids(at pcommon.Timestamp, t *sampler.Target, have cgroup.Part) {
	if have&cgroup.PartPids != 0 {
		e.mb.RecordContainerPidsCountDataPoint(at, int64(t.Sample.Pids))
	}
	if t.Effective.Pids != cgroup.Unlimited {
		e.mb.RecordContainerPidsLimitDataPoint(at, int64(t.Effective.Pids))
	}
}

// host emits what belongs to no container.
func (e *metricsEmitter) host(at pcommon.Timestamp, p sampler.HostPressure) {
	counts := e.view.Index().Counts()
	for name, attribute := range metadata.MapAttributeCgroupClass {
		if class, err := container.ParseClass(name); err == nil {
			e.mb.RecordSystemCgroupCountDataPoint(at, int64(counts[class]), attribute)
		}
	}
	e.hostPressure(at, p)
	e.mb.EmitForResource(metadata.WithStartTimeOverride(e.bootedAt))
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

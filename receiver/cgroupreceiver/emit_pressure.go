package cgroupreceiver

import (
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/tallymanhq/tallyman/internal/cgroup"
	"github.com/tallymanhq/tallyman/internal/hostview/sampler"
	"github.com/tallymanhq/tallyman/receiver/cgroupreceiver/internal/metadata"
)

// stallTotal and stallAverage record one number of one resource.
type (
	stallTotal   func(at pcommon.Timestamp, v float64, kind metadata.AttributePsiType)
	stallAverage func(at pcommon.Timestamp, v float64, kind metadata.AttributePsiType, window metadata.AttributePsiWindow)
)

func (e *metricsEmitter) pressure(at pcommon.Timestamp, r *reading) {
	for _, one := range []struct {
		part    cgroup.Part
		p       *cgroup.Pressure
		total   stallTotal
		average stallAverage
	}{
		{cgroup.PartCPUPressure, &r.cpuPressure, e.mb.RecordContainerCPUPressureTotalDataPoint, e.mb.RecordContainerCPUPressureAverageDataPoint},
		{cgroup.PartMemoryPressure, &r.memoryPressure, e.mb.RecordContainerMemoryPressureTotalDataPoint, e.mb.RecordContainerMemoryPressureAverageDataPoint},
		{cgroup.PartIOPressure, &r.ioPressure, e.mb.RecordContainerIoPressureTotalDataPoint, e.mb.RecordContainerIoPressureAverageDataPoint},
	} {
		if !r.has(one.part) {
			continue
		}
		recordTotals(at, one.p, one.total)
		recordAverages(at, one.p, one.average)
	}
}

func (e *metricsEmitter) hostPressure(at pcommon.Timestamp, p *sampler.HostPressure) {
	if p.HasCPU {
		recordTotals(at, &p.CPU, e.mb.RecordSystemCPUPressureTotalDataPoint)
	}
	if p.HasMemory {
		recordTotals(at, &p.Memory, e.mb.RecordSystemMemoryPressureTotalDataPoint)
	}
	if p.HasIO {
		recordTotals(at, &p.IO, e.mb.RecordSystemIoPressureTotalDataPoint)
	}
}

func recordTotals(at pcommon.Timestamp, p *cgroup.Pressure, record stallTotal) {
	record(at, p.Some.Total.Seconds(), metadata.AttributePsiTypeSome)
	if p.HasFull {
		record(at, p.Full.Total.Seconds(), metadata.AttributePsiTypeFull)
	}
}

func recordAverages(at pcommon.Timestamp, p *cgroup.Pressure, record stallAverage) {
	one := func(s cgroup.Stall, kind metadata.AttributePsiType) {
		record(at, s.Avg10, kind, metadata.AttributePsiWindow10s)
		record(at, s.Avg60, kind, metadata.AttributePsiWindow60s)
		record(at, s.Avg300, kind, metadata.AttributePsiWindow300s)
	}
	one(p.Some, metadata.AttributePsiTypeSome)
	if p.HasFull {
		one(p.Full, metadata.AttributePsiTypeFull)
	}
}

package cgroupreceiver

import (
	"slices"
	"time"

	"github.com/tallymanhq/tallyman/internal/cgroup"
	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/hostview/sampler"
)

// reading is all that is emitted of one cgroup but for its names and its uptime.
type reading struct {
	values
	io []cgroup.DeviceIO
	// filesystem does not count as a change: what is available is the host's, and
	// other containers and the agent itself change it all the time. It goes out
	// with what does.
	filesystem sampler.Filesystem
}

// values are compared with ==, so that nothing can be forgotten.
type values struct {
	// have are the parts to emit; what is not among them may be old.
	have       cgroup.Part
	start      time.Time
	cpu        cgroup.CPU
	cpus       float64
	hasCPUs    bool
	memoryUse  cgroup.Memory
	workingSet uint64

	hasWorkingSet, isContainer bool

	events                                  cgroup.Events
	kills                                   sampler.Kills
	degraded                                [3]degradation // as many as there are reasons
	pids                                    uint64
	limits                                  cgroup.Limits
	cpuPressure, memoryPressure, ioPressure cgroup.Pressure
}

// degradation is a reason, "" for none, and 1 if the container is degraded for it.
type degradation struct {
	reason sampler.Reason
	is     int64
}

func (v *values) has(p cgroup.Part) bool { return v.have&p != 0 }

// take copies what is known of a target. have are the parts of its sample to
// emit: of an ended one all that was ever known.
func (r *reading) take(t *sampler.Target, have cgroup.Part, cfg *Config) {
	s := &t.Sample
	r.values = values{
		have: have, start: t.Start,
		cpu: s.CPU, cpus: t.CPUs, hasCPUs: t.HasCPUs && t.End.IsZero(),
		memoryUse: s.Memory, workingSet: t.WorkingSet, hasWorkingSet: t.HasWorkingSet,
		isContainer: t.IsContainer(), events: t.Events, kills: t.Kills,
		pids: s.Pids, limits: t.Effective,
		cpuPressure: s.CPUPressure, memoryPressure: s.MemoryPressure, ioPressure: s.IOPressure,
	}
	if t.ProcessesKnown && t.End.IsZero() {
		r.takeDegraded(t)
	}
	r.io = append(r.io[:0], s.IO...)
	r.filesystem = t.Filesystem
	// Averages fall for minutes after the last stall. They are a change only where
	// they are emitted.
	dropAverages(&r.cpuPressure, cfg.Metrics.ContainerCPUPressureAverage.Enabled)
	dropAverages(&r.memoryPressure, cfg.Metrics.ContainerMemoryPressureAverage.Enabled)
	dropAverages(&r.ioPressure, cfg.Metrics.ContainerIoPressureAverage.Enabled)
}

func (r *reading) takeDegraded(t *sampler.Target) {
	n := 0
	for reason, is := range t.Degradations() {
		if n == len(r.degraded) {
			return
		}
		r.degraded[n].reason = reason
		if is {
			r.degraded[n].is = 1
		}
		n++
	}
}

func dropAverages(p *cgroup.Pressure, emitted bool) {
	if !emitted {
		p.Some, p.Full = cgroup.Stall{Total: p.Some.Total}, cgroup.Stall{Total: p.Full.Total}
	}
}

// same reports whether two readings would be emitted alike.
func (r *reading) same(other *reading) bool {
	return r.values == other.values && slices.Equal(r.io, other.io)
}

// hostReading is all that is emitted of the host. It is compared with ==.
type hostReading struct {
	counts   [256]int // by class
	pressure sampler.HostPressure
}

func hostReadingOf(counts map[container.Class]int, pressure *sampler.HostPressure) hostReading {
	r := hostReading{pressure: *pressure}
	for class, n := range counts {
		r.counts[class] = n
	}
	// The host's averages are not emitted.
	for _, p := range []*cgroup.Pressure{&r.pressure.CPU, &r.pressure.Memory, &r.pressure.IO} {
		dropAverages(p, false)
	}
	return r
}

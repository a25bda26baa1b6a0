package hostview

import (
	"time"

	"github.com/tallymanhq/tallyman/internal/cgroup"
	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// Meter reads how much processor time cgroups have used: who has used none since
// it was last looked at has done nothing either. It belongs to one goroutine.
//
// Cost: 12 µs and 2 kB of garbage per call (BenchmarkMeter); no descriptor is kept.
type Meter struct {
	host   *cgroup.Host
	unkept *hostfs.Budget
	sample cgroup.Sample
	buf    []byte
}

// NewMeter returns a meter of the view's cgroups. It may be used until the view is
// released.
func (v *View) NewMeter() *Meter {
	return &Meter{host: v.host, unkept: hostfs.NewBudget(0)}
}

// CPUTime returns the processor time that a cgroup and those below it have used
// since it was made. It is false where that cannot be read: the cgroup has gone, or
// the kernel does not count it.
//
// The kernel adds the time of a process when that stops running, at the latest
// (kernel/sched/cputime.c, cgroup_account_cputime): what has run between two calls
// is in the second one, or will be in the next after it.
func (m *Meter) CPUTime(cgroupPath string) (time.Duration, bool) {
	reader := m.host.NewReader(cgroupPath, m.unkept, cgroup.PartCPUTime)
	defer reader.Close()
	buf, err := reader.Read(&m.sample, m.buf, true)
	m.buf = buf
	return m.sample.CPU.Usage, err == nil && m.sample.Has(cgroup.PartCPUTime)
}

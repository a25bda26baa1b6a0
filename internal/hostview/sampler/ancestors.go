package sampler

import (
	"path"
	"time"

	"github.com/tallymanhq/tallyman/internal/cgroup"
	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// ancestors holds the limits of the cgroups above the targets: a pod's limit
// binds its containers as their own does.
type ancestors struct {
	host  *cgroup.Host
	known map[string]*ancestor
	// unkept: ancestors are few and read seldom, not worth descriptors.
	unkept *hostfs.Budget
}

type ancestor struct {
	reader *cgroup.Reader
	sample cgroup.Sample
	readAt time.Time
	usedAt time.Time
}

// ancestorIdle is how long an unused ancestor is remembered.
const ancestorIdle = 2 * time.Minute

func newAncestors(h *cgroup.Host) *ancestors {
	return &ancestors{host: h, known: map[string]*ancestor{}, unkept: hostfs.NewBudget(0)}
}

// effective returns the lowest limits of the target and the cgroups above it.
func (a *ancestors) effective(t *Target, now time.Time, buf []byte) ([]byte, cgroup.Limits) {
	lowest := readLimits(&t.Sample)
	for p := path.Dir(t.Path); p != "/" && p != "."; p = path.Dir(p) {
		anc := a.known[p]
		if anc == nil {
			anc = &ancestor{reader: a.host.NewReader(p, a.unkept, cgroup.PartsLimits)}
			a.known[p] = anc
		}
		if anc.readAt != now {
			buf, _ = anc.reader.Read(&anc.sample, buf, true)
			anc.readAt = now
		}
		anc.usedAt = now
		lowest = lowest.Lowest(readLimits(&anc.sample))
	}
	return buf, lowest
}

// readLimits returns the limits that were read; the others do not bind.
func readLimits(s *cgroup.Sample) cgroup.Limits {
	l := cgroup.NoLimits()
	if s.Has(cgroup.PartMemoryLimit) {
		l.Memory = s.Limits.Memory
	}
	if s.Has(cgroup.PartSwapLimit) {
		l.Swap = s.Limits.Swap
	}
	if s.Has(cgroup.PartPidsLimit) {
		l.Pids = s.Limits.Pids
	}
	if s.Has(cgroup.PartCPULimit) {
		l.CPUQuota, l.CPUPeriod = s.Limits.CPUQuota, s.Limits.CPUPeriod
	}
	return l
}

// sweep forgets ancestors that no target has used for a while.
func (a *ancestors) sweep(now time.Time) {
	for p, anc := range a.known {
		if now.Sub(anc.usedAt) > ancestorIdle {
			anc.reader.Close()
			delete(a.known, p)
		}
	}
}

func (a *ancestors) close() {
	for _, anc := range a.known {
		anc.reader.Close()
	}
	clear(a.known)
}

package doctor

import (
	"context"
	"slices"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/pidfd"
)

// senders is how the senders of custom metrics can be matched to containers.
type senders struct {
	// pidNamespace is this process', procIsHosts whether the host's processes are
	// in sight all the same.
	pidNamespace uint64
	procIsHosts  bool
	// noStream: the BPF process stream is refused.
	noStream bool
	// noPIDFD is why process descriptors do not tell the cgroup of who has ended.
	// Only asked without the stream.
	noPIDFD error
}

// checkSenders takes what the programs' own check has found.
func (o Options) checkSenders(tried func() []Result) func(context.Context) Result {
	return func(context.Context) Result {
		inode, err := ownNamespace("pid")
		if err != nil {
			return undecided("no number", err)
		}
		s := senders{pidNamespace: inode, procIsHosts: showsHostProcesses(o.Roots)}
		s.noStream = !hasStream(tried())
		if inode == hostPIDNamespace && s.noStream {
			s.noPIDFD = pidfd.Probe()
		}
		return s.judge(o.Roots)
	}
}

// hasStream tells whether all programs that the stream needs have been attached.
func hasStream(tried []Result) bool {
	for _, p := range programs {
		isThere := func(r Result) bool { return r.Name == p.id() && r.Status == Pass }
		if p.essential && !slices.ContainsFunc(tried, isThere) {
			return false
		}
	}
	return true
}

func (s senders) judge(roots hostfs.Roots) Result {
	const exact = "Each datagram is the container's that sent it, also that of a process which ended before anybody could look."
	switch {
	case s.pidNamespace != hostPIDNamespace:
		return s.judgeNamespace(roots)
	case !s.noStream:
		return Result{Status: Pass, Found: "known by the process stream", Meaning: exact}
	case s.noPIDFD == nil:
		return Result{
			Status: Pass, Found: "known by process descriptors (pidfd)",
			Meaning: exact + " Beside cgroup v1 only containers that have a cgroup in the unified hierarchy as well.",
		}
	}
	return Result{
		Status: Warn, Found: "known by /proc, while they live",
		Meaning: "Metrics of a process that has ended when its datagram is read are nobody's (statsd.origin is none): of those that " +
			"send and end at once a quarter while the agent is idle, all while it is a millisecond late.",
		Remedy: "Let the BPF programs run (see there), or use a kernel that tells the cgroup of ended processes (6.15, some only after 6.17).",
		Error:  s.noPIDFD.Error(),
	}
}

func (s senders) judgeNamespace(roots hostfs.Roots) Result {
	r := Result{
		Status: Warn, Found: "outside of this pid namespace they have no number",
		Meaning: "Custom metrics of other containers are taken, but are nobody's: statsd.origin is none, there is no container.id, and all " +
			"share the limits of one container. Those of processes in this container are known.",
		Remedy: "docker run --pid host; Kubernetes: hostPID: true. Where that cannot be: client_origin: fallback, which believes what " +
			"clients say of themselves.",
	}
	if s.procIsHosts {
		r.Status, r.Found = Fail, r.Found+", while "+roots.Proc+" shows the host's"
	}
	return r
}

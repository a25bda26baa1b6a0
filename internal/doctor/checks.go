package doctor

import (
	"context"
	"sync"
	"time"
)

// bpfTimeout is for the one check that works: it takes 0.15 s on two cores, and
// an emulated machine is some tens of times slower.
const bpfTimeout = 30 * time.Second

// Checks lists all checks in the order in which they are read: what the host
// is, what this process may do there, what was tried, what is around it. A new
// check is a new line.
func Checks(o Options) []Check {
	programs := sync.OnceValue(o.tryPrograms) // tried once, asked for by several
	connections := o.connections(programs)
	return []Check{
		{Name: "kernel.version", Title: "kernel", Run: single(checkKernel)},
		{Name: "host.root", Title: "host's root", Run: single(o.checkRoot)},
		{Name: "cgroup.version", Title: "cgroups", Run: single(o.checkCgroups)},
		{Name: "cgroup.namespace", Title: "cgroup namespace", Run: single(o.checkCgroupNamespace)},
		{Name: "pid.namespace", Title: "pid namespace", Run: single(o.checkPIDNamespace)},
		{Name: "kernel.psi", Title: "pressure (PSI)", Run: single(o.checkPressure)},
		{Name: "kernel.lockdown", Title: "lockdown", Run: single(o.checkLockdown)},
		{Name: "bpf.btf", Title: "kernel types (BTF)", Run: single(checkBTF)},
		{Name: "capability", Title: "capabilities", Run: checkCapabilities},
		{Name: "process.seccomp", Title: "seccomp", Run: single(checkSeccomp)},
		{Name: "bpf.program", Title: "BPF programs", Timeout: bpfTimeout, Run: func(context.Context) []Result { return programs() }},
		{Name: "proc.connector", Title: "proc connector", Run: single(o.checkConnector)},
		{Name: "docker.socket", Title: "Docker engine", Run: single(o.checkDocker)},
		{Name: "logs.files", Title: "container logs", Run: single(o.checkLogs)},
		{Name: "kernel.log", Title: "kernel's log", Run: single(o.checkKernelLog)},
		{Name: "statsd.socket", Title: "custom metrics", Run: single(o.checkStatsdSocket)},
		{Name: "statsd.queue", Title: "custom metrics: queue", Run: single(checkStatsdQueue)},
		{Name: "statsd.senders", Title: "custom metrics: origin", Run: single(o.checkSenders(programs))},
		{Name: "connections.stream", Title: "connections", Run: single(connections.checkStream)},
		{Name: "connections.nat", Title: "connections: NAT", Run: single(connections.checkNAT)},
		{Name: "connections.table", Title: "connections: table", Run: single(connections.checkTable)},
		{Name: "connections.lookup", Title: "connections: open", Run: single(connections.checkLookup)},
		{Name: "disk.state", Title: "state directory", Run: single(o.checkDisk)},
		{Name: "process.open_files", Title: "open files", Run: single(checkOpenFiles)},
	}
}

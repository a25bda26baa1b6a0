package doctor

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// The inode numbers of the first namespaces, which are those of the host:
// include/linux/proc_ns.h (since 5.18 include/uapi/linux/nsfs.h), unchanged
// since 3.8 and, for cgroups, 4.6.
const (
	hostUserNamespace   = 0xEFFFFFFD // PROC_USER_INIT_INO
	hostPIDNamespace    = 0xEFFFFFFC // PROC_PID_INIT_INO
	hostCgroupNamespace = 0xEFFFFFFB // PROC_CGROUP_INIT_INO
)

// ownNamespace is the inode number of a namespace of this process.
func ownNamespace(kind string) (uint64, error) {
	dir, err := hostfs.OpenDir("/proc/self")
	if err != nil {
		return 0, fmt.Errorf("open /proc/self: %w", err)
	}
	defer dir.Close()
	inode, err := dir.Inode("ns/" + kind)
	if err != nil {
		return 0, fmt.Errorf("stat /proc/self/ns/%s: %w", kind, err)
	}
	return inode, nil
}

func (o Options) checkCgroupNamespace(context.Context) Result {
	inode, err := ownNamespace("cgroup")
	if err != nil {
		return undecided("no number", err)
	}
	return judgeCgroupNamespace(inode, o.Roots)
}

func judgeCgroupNamespace(inode uint64, roots hostfs.Roots) Result {
	switch {
	case inode == hostCgroupNamespace:
		return Result{Status: Pass, Found: "the host's", Meaning: "Cgroups have the paths that they have on the host."}
	case !roots.IsHost():
		return Result{
			Status: Pass, Found: "of its own, but cgroups are read below " + roots.Root,
			Meaning: "The host's mounts show all its cgroups, whatever namespace this process is in.",
		}
	}
	return Result{
		Status: Warn, Found: fmt.Sprintf("of its own (number %d)", inode),
		Meaning: lostToContainer, Remedy: mountRoot,
	}
}

func (o Options) checkPIDNamespace(context.Context) Result {
	inode, err := ownNamespace("pid")
	if err != nil {
		return undecided("no number", err)
	}
	return judgePIDNamespace(inode, showsHostProcesses(o.Roots), o.Roots)
}

// showsHostProcesses recognises the first pid namespace by the thread that
// every Linux has as process 2 there, which a plain user may ask for its name.
func showsHostProcesses(roots hostfs.Roots) bool {
	comm, err := hostfs.ReadFile(filepath.Join(roots.Proc, "2/comm"), nil)
	return err == nil && string(comm) == "kthreadd\n"
}

func judgePIDNamespace(inode uint64, procIsHosts bool, roots hostfs.Roots) Result {
	const remedy = "docker run --pid host; Kubernetes: hostPID: true."
	switch {
	case inode == hostPIDNamespace:
		return Result{Status: Pass, Found: "the host's", Meaning: "Every container's processes can be found."}
	case procIsHosts:
		return Result{
			Status: Fail, Found: "of its own, while " + roots.Proc + " shows the host's",
			Meaning: "The kernel does not tell this process which processes are in a container: no container.network.*, " +
				"no container.filesystem.*, no process names, no container.degraded.",
			Remedy: remedy,
		}
	}
	return Result{
		Status: Warn, Found: fmt.Sprintf("of its own (number %d), and so is %s", inode, roots.Proc),
		Meaning: "Only processes in this container are in sight: of others no network counters, no names of processes. On a host " +
			"whose containers are to be seen this is a mistake; in a system container (LXC, WSL) that runs them it is right.",
		Remedy: remedy,
	}
}

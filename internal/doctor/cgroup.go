package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/cgroup"
	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// pressureFiles are below /proc/pressure.
var pressureFiles = []string{"cpu", "memory", "io"}

func (o Options) checkCgroups(context.Context) Result {
	host, err := cgroup.Detect(o.Roots)
	if err != nil {
		r := undecided("no hierarchy", err)
		var missing *hostfs.NotSupportedError
		if errors.As(err, &missing) {
			r.Status, r.Found = Fail, "no cgroup file system below "+o.Roots.Root
			r.Meaning, r.Remedy = "No container is seen, and nothing of any.", sentence(missing.Remedy)
		}
		return r
	}
	dir, top := host.Hierarchy()
	inode, err := ownNamespace("cgroup")
	if err != nil {
		inode = hostCgroupNamespace // the check of the namespace says so
	}
	if isPart(top, inode, o.Roots) {
		return judgePart(host.Mode(), dir, top)
	}
	return judgeCgroups(host.Mode(), dir)
}

// isPart reports whether a mount shows less than all cgroups of the host, by
// the cgroup at its top. Docker mounts the container's own cgroup of each v1
// hierarchy. Seen from a cgroup namespace, what is above has a path that begins
// with "/.." and the namespace's own cgroup is "/".
func isPart(top string, namespace uint64, roots hostfs.Roots) bool {
	if strings.HasPrefix(top, "/..") {
		return false
	}
	return top != "/" || namespace != hostCgroupNamespace && roots.IsHost()
}

const (
	lostToContainer = "Only this container's cgroup and those inside it are in sight. On a host whose containers are to be seen " +
		"this is a mistake; in a system container (LXC, WSL) that runs them it is right."
	mountRoot = "Mount the host's root (docker run -v /:/hostfs:ro) and use --root-path /hostfs (TALLYMAN_ROOT=/hostfs)."
)

// judgePart says nothing of v1 and v2: what is mounted here may differ from
// what the host has.
func judgePart(mode cgroup.Mode, dir, top string) Result {
	if top == "/" {
		top = "its own cgroup"
	}
	return Result{
		Status: Warn, Found: fmt.Sprintf("only %s is mounted at %s (as %v)", top, dir, mode),
		Meaning: lostToContainer, Remedy: mountRoot,
	}
}

func judgeCgroups(mode cgroup.Mode, dir string) Result {
	r := Result{Status: Pass, Found: mode.String() + ", containers are looked for below " + dir}
	switch mode {
	case cgroup.V2:
		r.Meaning = "All container metrics, as far as the kernel has them."
	case cgroup.Hybrid:
		r.Meaning = "CPU time and pressure come from the unified mount, the rest from the v1 controllers: " +
			"memory events are max and oom_kill only, and disk IO may stay empty (see docs/troubleshooting.md)."
	case cgroup.V1:
		r.Status = Warn
		r.Meaning = "No container.*.pressure.*, memory events are max and oom_kill only, " +
			"and disk IO may stay empty (see docs/troubleshooting.md)."
		r.Remedy = "Boot with cgroup v2: systemd.unified_cgroup_hierarchy=1 on the kernel's command line. Docker supports it since 20.10."
	default:
		r.Status, r.Meaning = Unknown, "This arrangement of cgroups has no name."
	}
	return r
}

func (o Options) checkPressure(context.Context) Result {
	if err := findProc(o.Roots); err != nil {
		r := undecided("not known", err)
		r.Remedy = "See to the host's root first."
		return r
	}
	for _, name := range pressureFiles {
		file := hostfs.NewFile(o.Roots.Proc+"/pressure/"+name, hostfs.NewBudget(0))
		if _, _, err := cgroup.ReadPressure(&file, nil); err != nil {
			return judgePressure(file.Path(), err)
		}
	}
	return Result{
		Status: Pass, Found: o.Roots.Proc + "/pressure can be read",
		Meaning: "system.*.pressure.total, and container.*.pressure.total where cgroups are v2 or hybrid.",
	}
}

// judgePressure tells why a pressure file gives nothing. A kernel that was
// booted with psi=0 has no such file or, an older one, one that cannot be read.
func judgePressure(path string, err error) Result {
	r := undecided(path+" cannot be read", err)
	r.Meaning = "No system.*.pressure.total and no container.*.pressure.total."
	const remedy = "Boot with psi=1 on the kernel's command line; the kernel must be 4.20 or newer and built with CONFIG_PSI."
	switch {
	case errors.Is(err, hostfs.ErrGone):
		r.Status, r.Found, r.Remedy = Warn, path+" is not there", remedy
		r.Error = fmt.Sprintf("open %s: %v", path, fs.ErrNotExist)
	case errors.Is(err, unix.EOPNOTSUPP):
		r.Status, r.Found, r.Remedy = Warn, "switched off at boot", remedy
	}
	return r
}

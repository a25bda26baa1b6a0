package container

import (
	"fmt"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// ErrGone says that a container, or the file that described it, no longer
// exists. It is a normal result: count it, do not log it.
var ErrGone = hostfs.ErrGone

// Class is what a cgroup directory is.
type Class uint8

// The classes. The zero value is ClassUnknown: the text alone does not say,
// ask by cgroup id.
const (
	ClassUnknown   Class = iota
	ClassContainer       // an application container, also an LXC or nspawn system container
	ClassSandbox         // the pause or infra container of a pod
	ClassMonitor         // a container's helper outside of it: conmon, LXC monitor, nspawn supervisor
	ClassPod             // a pod's own directory, above its containers
	ClassService         // a systemd service
	ClassHost            // host processes that are none of the others: sessions, scopes, plain directories
	ClassSlice           // a systemd slice
	ClassBuild           // one step of an image build
	ClassVM              // a virtual machine
	classCount
)

var classNames = [classCount]string{
	"unknown", "container", "sandbox", "monitor", "pod", "service", "host", "slice", "build", "vm",
}

// String returns the lower-case name used in telemetry and configuration.
func (c Class) String() string {
	if c >= classCount {
		return fmt.Sprintf("class(%d)", uint8(c))
	}
	return classNames[c]
}

// ParseClass is the inverse of [Class.String].
func ParseClass(s string) (Class, error) {
	for i, name := range classNames {
		if s == name {
			return Class(i), nil
		}
	}
	return ClassUnknown, fmt.Errorf("parse container class %q: not one of %v", s, classNames)
}

// hasID reports whether directories of this class are something with an id of
// its own that other things can run in.
func (c Class) hasID() bool {
	switch c {
	case ClassContainer, ClassSandbox, ClassBuild, ClassVM:
		return true
	}
	return false
}

// leafByNature reports whether directories of this class normally have no
// children that anybody but their owner makes.
func (c Class) leafByNature() bool { return c.hasID() || c == ClassMonitor }

// Names of runtimes as they appear in [Identity.Runtime].
const (
	runtimeDocker     = "docker"
	runtimeContainerd = "containerd"
	runtimeCRIO       = "cri-o"
	runtimePodman     = "podman"
	runtimeLXC        = "lxc"
	runtimeNspawn     = "nspawn"
	runtimeNomad      = "nomad"
	runtimeGarden     = "garden"
	runtimeFargate    = "ecs-fargate"
	runtimeBuildkit   = "buildkit"
	runtimeLibvirt    = "libvirt"
	runtimeSystemd    = "systemd"
)

// Identity is everything a cgroup path says. Its strings may share memory
// with the path it was parsed from. It is a plain value, safe to copy.
type Identity struct {
	// Class is what the directory Root is.
	Class Class
	// Runtime is who made it, "" when the path does not say: docker,
	// containerd, cri-o, podman, lxc, nspawn, nomad, garden, ecs-fargate,
	// buildkit, libvirt or systemd.
	Runtime string
	// ID is set for containers, sandboxes, builds and virtual machines.
	ID string
	// PodUID is the Kubernetes pod uid with dashes (32 hex digits without
	// dashes for a static pod).
	PodUID string
	// ParentID is the id of the enclosing container.
	ParentID string
	// Root is the cleaned path of the directory that is the container,
	// service, pod and so on.
	Root string
	// Inner is what lies below Root, without a leading slash; "" for Root.
	Inner string
	// Service is the unescaped unit name, for ClassService only.
	Service string
	// TaskID is the Amazon ECS task.
	TaskID string
	// Deleted says that the kernel marked the path "(deleted)".
	Deleted bool
	// Relative says that the path leads out of the reader's cgroup namespace
	// ("/.."): Root is not a path on this host.
	Relative bool
}

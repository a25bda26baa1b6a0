package target

import (
	"maps"
	"net/netip"
	"slices"
)

// Identity is what somebody says about a container who knows it: an engine, a
// runtime, a kubelet. A field that nobody could tell is empty. It is never changed
// once it was handed on.
type Identity struct {
	// Name is the engine's; within a pod it is empty, there Pod.Container is the
	// name.
	Name string
	// Image is the reference without tag and digest, ImageTag what was behind the
	// colon.
	Image, ImageTag string
	// Runtime is docker, podman, containerd, ...
	Runtime string
	// Labels are the container's own, those of its image included.
	Labels map[string]string
	// Addresses are the container's or its pod's, the preferred one first. None on
	// the host's network.
	Addresses []netip.Addr
	// Pod is the pod around the container, empty if there is none.
	Pod Pod
	// IsSandbox: it only holds the namespaces of its pod.
	IsSandbox bool
}

// Equal tells whether nothing is different. An empty map equals none.
func (i *Identity) Equal(o *Identity) bool {
	return i.Name == o.Name && i.Image == o.Image && i.ImageTag == o.ImageTag &&
		i.Runtime == o.Runtime && i.IsSandbox == o.IsSandbox &&
		maps.Equal(i.Labels, o.Labels) &&
		slices.Equal(i.Addresses, o.Addresses) &&
		i.Pod.equal(&o.Pod)
}

func (p *Pod) equal(o *Pod) bool {
	return p.Name == o.Name && p.Namespace == o.Namespace && p.UID == o.UID && p.Container == o.Container &&
		maps.Equal(p.Labels, o.Labels) && maps.Equal(p.Annotations, o.Annotations)
}

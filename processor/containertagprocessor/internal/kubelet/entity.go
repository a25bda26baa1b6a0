package kubelet

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/imageref"
)

// Annotations of static pods, which the kubelet makes from files: the hash of
// the file stands in cgroup paths instead of the uid. The second one is on the
// pod's mirror in the API.
const (
	hashAnnotation   = "kubernetes.io/config.hash"
	mirrorAnnotation = "kubernetes.io/config.mirror"
)

// Bounds of what is kept of one container's environment.
const (
	maxEnv      = 64
	maxEnvValue = 4096
)

// podsOf returns the pod under its uid and, if it is a static one with another
// uid, under its hash.
func podsOf(p *pod) []*entity.Pod {
	m := &p.Metadata
	one := &entity.Pod{
		UID: m.UID, Name: m.Name, Namespace: m.Namespace, Node: p.Spec.NodeName,
		Labels: m.Labels, Annotations: m.Annotations,
		Owners: ownersOf(m), Addresses: addressesOf(p),
	}
	pods := []*entity.Pod{one}
	for _, hash := range []string{m.Annotations[hashAnnotation], m.Annotations[mirrorAnnotation]} {
		if hash == "" || slices.ContainsFunc(pods, func(p *entity.Pod) bool { return p.UID == hash }) {
			continue
		}
		twin := *one
		twin.UID = hash
		pods = append(pods, &twin)
	}
	return pods
}

// addressesOf returns none on the host's network, where the pod's address is
// the node's.
func addressesOf(p *pod) []netip.Addr {
	if p.Spec.HostNetwork {
		return nil
	}
	texts := []address{{IP: p.Status.IP}} // also in the list, but not of old kubelets
	var found []netip.Addr
	for _, a := range append(texts, p.Status.IPs...) {
		addr, err := netip.ParseAddr(a.IP)
		if err == nil && !slices.Contains(found, addr) {
			found = append(found, addr)
		}
	}
	return found
}

// containersOf returns the containers of a pod that exist or did.
func containersOf(p *pod, keep func(string) bool) []*entity.Container {
	groups := []struct {
		specs  []containerSpec
		status []containerStatus
	}{
		{p.Spec.Init, p.Status.Init},
		{p.Spec.Containers, p.Status.Containers},
		{p.Spec.Ephemeral, p.Status.Ephemeral},
	}
	addresses := addressesOf(p)
	var all []*entity.Container
	for _, g := range groups {
		for i := range g.status {
			status := &g.status[i]
			var spec containerSpec
			if at := slices.IndexFunc(g.specs, func(s containerSpec) bool { return s.Name == status.Name }); at >= 0 {
				spec = g.specs[at]
			}
			for _, id := range []string{status.Last.Terminated.ID, status.ID} {
				runtime, digits, ok := strings.Cut(id, "://")
				if !ok || digits == "" {
					continue
				}
				all = append(all, &entity.Container{
					ID: digits, Runtime: runtime, Addresses: addresses,
					Image:   imageOf(&spec, status),
					Command: commandOf(&spec),
					Env:     envOf(&spec, keep),
					Pod: &entity.PodRef{UID: p.Metadata.UID, Name: p.Metadata.Name,
						Namespace: p.Metadata.Namespace, Container: status.Name},
				})
			}
		}
	}
	return all
}

// refers tells whether the kubelet changes a text: it puts values for $(NAME)
// and one dollar for two. What comes out is not known here.
func refers(text string) bool { return strings.Contains(text, "$(") || strings.Contains(text, "$$") }

// commandOf is empty for a container that runs its image's own command.
func commandOf(spec *containerSpec) string {
	if len(spec.Command) == 0 || refers(spec.Command[0]) {
		return ""
	}
	return spec.Command[0]
}

func envOf(spec *containerSpec, keep func(string) bool) map[string]string {
	var env map[string]string
	for _, v := range spec.Env {
		if v.From != nil || refers(v.Value) || len(v.Value) > maxEnvValue || len(env) >= maxEnv || !keep(v.Name) {
			continue
		}
		if env == nil {
			env = make(map[string]string)
		}
		env[v.Name] = v.Value
	}
	return env
}

// imageOf takes the name from the specification, which is as it was written,
// and what the image is from the status. The status's id is the image's, or a
// reference by digest; the kubelet of Docker's time put docker:// or
// docker-pullable:// before it.
func imageOf(spec *containerSpec, status *containerStatus) entity.Image {
	var image entity.Image
	for _, text := range []string{spec.Image, status.Image} {
		if ref, ok := imageref.Parse(text); ok {
			image.Name = ref.Name
			if ref.Tag != "" {
				image.Tags = []string{ref.Tag}
			}
			break
		}
	}
	id := status.ImageID
	if _, rest, ok := strings.Cut(id, "://"); ok {
		id = rest
	}
	if strings.Contains(id, "@sha256:") {
		image.Digests = []string{id}
	} else {
		image.ID = imageref.ID(id)
	}
	return image
}

package kubelet

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tallymanhq/tallyman/internal/command"
	"github.com/tallymanhq/tallyman/internal/imageref"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
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

// instance is a container at one of its starts.
type instance struct {
	*entity.Container
	ended bool
}

// containersOf returns the containers of a pod that exist or did.
func containersOf(p *pod, keep func(string) bool) []instance {
	groups := []struct {
		specs  []containerSpec
		status []containerStatus
	}{
		{p.Spec.Init, p.Status.Init},
		{p.Spec.Containers, p.Status.Containers},
		{p.Spec.Ephemeral, p.Status.Ephemeral},
	}
	sole := soleOf(p)
	var all []instance
	for _, g := range groups {
		for i := range g.status {
			status := &g.status[i]
			var spec containerSpec
			if at := slices.IndexFunc(g.specs, func(s containerSpec) bool { return s.Name == status.Name }); at >= 0 {
				spec = g.specs[at]
			}
			made := entity.Container{
				Image:   imageOf(&spec, status),
				Command: commandOf(&spec),
				Env:     envOf(&spec, keep),
				Pod: &entity.PodRef{UID: p.Metadata.UID, Name: p.Metadata.Name,
					Namespace: p.Metadata.Namespace, Container: status.Name},
			}
			instances := instancesOf(status, &made)
			if status == sole {
				instances[len(instances)-1].Addresses = addressesOf(p)
			}
			all = append(all, instances...)
		}
	}
	return all
}

// instancesOf returns the instance before, if it is known, and the one that the
// status is about. One that waits to be started again is the one before.
func instancesOf(status *containerStatus, made *entity.Container) []instance {
	var all []instance
	add := func(id string, ended bool, started string) {
		runtime, digits, ok := strings.Cut(id, "://")
		if !ok || digits == "" {
			return
		}
		c := *made
		c.ID, c.Runtime, c.Created = digits, runtime, moment(started)
		all = append(all, instance{Container: &c, ended: ended})
	}
	now := &status.State
	last := cmp.Or(status.Last.Terminated, new(terminated))
	if last.ID != status.ID {
		add(last.ID, true, last.StartedAt)
	}
	switch {
	case now.Running != nil:
		add(status.ID, false, now.Running.StartedAt)
	case now.Terminated != nil:
		add(status.ID, true, now.Terminated.StartedAt)
	case last.ID == status.ID:
		add(status.ID, true, last.StartedAt)
	default: // it was made and not started yet
		add(status.ID, false, "")
	}
	return all
}

// soleOf returns the status of the container that has the pod's addresses to
// itself, nil if there is none: it runs, and it is the only one of the
// specification but for init containers, which end before it starts. All the
// others share the pod's network, also those that have ended or start again.
func soleOf(p *pod) *containerStatus {
	sidecar := func(s containerSpec) bool { return s.Restart == "Always" }
	if len(p.Spec.Containers) != 1 || len(p.Spec.Ephemeral) > 0 || slices.ContainsFunc(p.Spec.Init, sidecar) {
		return nil
	}
	running := func(s containerStatus) bool { return s.State.Running != nil }
	if slices.ContainsFunc(p.Status.Init, running) || len(p.Status.Ephemeral) > 0 || len(p.Status.Containers) != 1 {
		return nil
	}
	only := &p.Status.Containers[0]
	_, digits, _ := strings.Cut(only.ID, "://")
	if only.Name != p.Spec.Containers[0].Name || !running(*only) || digits == "" {
		return nil
	}
	return only
}

// moment returns the zero time for what is none.
func moment(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}
	}
	return t
}

// refers tells whether the kubelet changes a text: it puts values for $(NAME)
// and one dollar for two. What comes out is not known here.
func refers(text string) bool { return strings.Contains(text, "$(") || strings.Contains(text, "$$") }

// commandOf is the executable; empty for a container that runs its image's own.
func commandOf(spec *containerSpec) string {
	if len(spec.Command) == 0 {
		return ""
	}
	word := command.Program(spec.Command[0])
	if refers(word) {
		return ""
	}
	return word
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

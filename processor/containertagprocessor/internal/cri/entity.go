package cri

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
)

// hashAnnotation is the kubelet's: the hash of a static pod's file, which
// stands in its cgroup's name instead of a uid.
const hashAnnotation = "kubernetes.io/config.hash"

// What the kubelet adds to the labels of sandboxes and containers.
const (
	podUIDLabel        = "io.kubernetes.pod.uid"
	podNameLabel       = "io.kubernetes.pod.name"
	podNamespaceLabel  = "io.kubernetes.pod.namespace"
	containerNameLabel = "io.kubernetes.container.name"
)

type addresses []netip.Addr

// networkOf reads the addresses of a sandbox. On the host's network it has
// none, though runtimes may answer the host's.
func networkOf(s *runtimev1.PodSandboxStatus) network {
	options := s.GetLinux().GetNamespaces().GetOptions()
	if options != nil && options.GetNetwork() == runtimev1.NamespaceMode_NODE {
		return network{settled: true}
	}
	var found addresses
	found = found.add(s.GetNetwork().GetIp())
	for _, more := range s.GetNetwork().GetAdditionalIps() {
		found = found.add(more.GetIp())
	}
	return network{settled: len(found) > 0, addresses: found}
}

func (a addresses) add(text string) addresses {
	addr, err := netip.ParseAddr(text)
	if err != nil || slices.Contains(a, addr) {
		return a
	}
	return append(a, addr)
}

// entityOfPod is what is told of a sandbox's pod.
func entityOfPod(sb *sandbox) *entity.Pod {
	ref := podOf(sb.raw)
	return &entity.Pod{
		UID: ref.UID, Name: ref.Name, Namespace: ref.Namespace,
		Labels:      podLabels(sb.raw.GetLabels()),
		Annotations: sb.raw.GetAnnotations(),
		Addresses:   sb.net.addresses,
	}
}

// podLabels leaves out what the kubelet adds to the labels a pod has.
func podLabels(labels map[string]string) map[string]string {
	own := maps.Clone(labels)
	for _, key := range []string{podUIDLabel, podNameLabel, podNamespaceLabel} {
		delete(own, key)
	}
	return own
}

// entityOfSandbox is what is told of a sandbox as the container it is: its
// cgroup and its network namespace bear its id. The addresses are the pod's.
func (p *session) entityOfSandbox(sb *sandbox) *entity.Container {
	ref := podOf(sb.raw)
	return &entity.Container{
		ID:      sb.raw.GetId(),
		Runtime: p.name, RuntimeVersion: p.version,
		Labels:  sb.raw.GetLabels(),
		Pod:     &ref,
		Created: moment(sb.raw.GetCreatedAt()),
	}
}

// entityOf is what is told of a container; sb may be nil.
func (p *session) entityOf(c *container, sb *sandbox) *entity.Container {
	ref := refOf(c.raw, sb)
	return &entity.Container{
		ID:      c.raw.GetId(),
		Runtime: p.name, RuntimeVersion: p.version,
		Image:     imageOf(c),
		Command:   c.details.info.command,
		Labels:    merged(c.details.facts.labels, c.raw.GetLabels()),
		Env:       c.details.info.env,
		Addresses: c.addresses,
		Pod:       &ref,
		Created:   moment(c.raw.GetCreatedAt()),
	}
}

// refOf says which container of which pod this is. A sandbox that was removed
// before its container leaves the labels to tell.
func refOf(c *runtimev1.Container, sb *sandbox) entity.PodRef {
	labels := c.GetLabels()
	ref := entity.PodRef{UID: labels[podUIDLabel], Name: labels[podNameLabel], Namespace: labels[podNamespaceLabel]}
	if sb != nil {
		ref = podOf(sb.raw)
	}
	ref.Container = nameOf(c)
	return ref
}

// nameOf is a container's name in the specification of its pod.
func nameOf(c *runtimev1.Container) string {
	return cmp.Or(c.GetLabels()[containerNameLabel], c.GetMetadata().GetName())
}

// podOf says which pod a sandbox is of.
func podOf(sb *runtimev1.PodSandbox) entity.PodRef {
	m, labels := sb.GetMetadata(), sb.GetLabels()
	return entity.PodRef{
		UID:       podUID(sb),
		Name:      cmp.Or(m.GetName(), labels[podNameLabel]),
		Namespace: cmp.Or(m.GetNamespace(), labels[podNamespaceLabel]),
	}
}

func podUID(sb *runtimev1.PodSandbox) string {
	return cmp.Or(sb.GetMetadata().GetUid(), sb.GetLabels()[podUIDLabel])
}

// merged returns base overlaid by own.
func merged(base, own map[string]string) map[string]string {
	if len(base) == 0 {
		return own
	}
	all := maps.Clone(base)
	maps.Copy(all, own)
	return all
}

// moment turns the interface's nanoseconds since 1970 into a time; 0 is none.
func moment(nanoseconds int64) time.Time {
	if nanoseconds <= 0 {
		return time.Time{}
	}
	return time.Unix(0, nanoseconds)
}

package cri

import (
	"maps"
	"slices"

	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
)

// view is what the runtime has and what of it the sink was told.
type view struct {
	sandboxes  map[string]*sandbox
	containers map[string]*container
	pods       map[string]*entity.Pod // by uid, and by hash for static pods
}

// sandbox is a pod's first container, which holds its namespaces.
type sandbox struct {
	raw   *runtimev1.PodSandbox
	net   network
	tries int // status calls that did not settle net
	told  bool
}

// network is how a sandbox is on the network.
type network struct {
	settled   bool // nothing more will be learned
	addresses addresses
}

// container is one container and what its status calls have told.
type container struct {
	raw     *runtimev1.Container
	details details
	tries   int // calls that did not settle details
	told    bool
}

func newView() view {
	return view{
		sandboxes:  make(map[string]*sandbox),
		containers: make(map[string]*container),
		pods:       make(map[string]*entity.Pod),
	}
}

// forgetTold makes the next listing tell everything.
func (v *view) forgetTold() {
	for _, sb := range v.sandboxes {
		sb.told = false
	}
	for _, c := range v.containers {
		c.told = false
	}
	clear(v.pods)
}

// takeSandboxes makes the listed sandboxes the known ones and returns the ids
// of those that went.
func (v *view) takeSandboxes(listed []*runtimev1.PodSandbox) []string {
	gone := maps.Clone(v.sandboxes)
	for _, raw := range listed {
		id := raw.GetId()
		if id == "" {
			continue
		}
		delete(gone, id)
		known := v.sandboxes[id]
		if known == nil {
			v.sandboxes[id] = &sandbox{raw: raw}
			continue
		}
		if known.raw.GetState() != raw.GetState() {
			// Its addresses come or go with the state.
			known.net.settled, known.tries = false, 0
		}
		known.raw = raw
	}
	for id := range gone {
		delete(v.sandboxes, id)
	}
	return slices.Sorted(maps.Keys(gone))
}

// takeContainers is takeSandboxes for containers.
func (v *view) takeContainers(listed []*runtimev1.Container) []string {
	gone := maps.Clone(v.containers)
	for _, raw := range listed {
		id := raw.GetId()
		if id == "" {
			continue
		}
		delete(gone, id)
		if known := v.containers[id]; known != nil {
			known.raw = raw
			continue
		}
		v.containers[id] = &container{raw: raw}
	}
	for id := range gone {
		delete(v.containers, id)
	}
	return slices.Sorted(maps.Keys(gone))
}

// newest returns one sandbox per pod: the one that is ready, else the one made
// last. A pod whose sandbox died gets another one and keeps its uid.
func (v *view) newest() map[string]*sandbox {
	pods := make(map[string]*sandbox)
	for _, sb := range v.sandboxes {
		uid := podUID(sb.raw)
		if uid == "" {
			continue
		}
		if other := pods[uid]; other == nil || newer(sb.raw, other.raw) {
			pods[uid] = sb
		}
	}
	return pods
}

func newer(a, b *runtimev1.PodSandbox) bool {
	if a.GetState() != b.GetState() {
		return a.GetState() == runtimev1.PodSandboxState_SANDBOX_READY
	}
	if a.GetCreatedAt() != b.GetCreatedAt() {
		return a.GetCreatedAt() > b.GetCreatedAt()
	}
	return a.GetId() > b.GetId()
}

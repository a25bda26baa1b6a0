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
	// again: what was told of pods counts for gone ones only.
	again bool
	// gone are the ids that are not listed any more, until that is told.
	gone map[string]struct{}
}

// sandbox is a pod's first container, which holds its namespaces.
type sandbox struct {
	raw   *runtimev1.PodSandbox
	net   network
	asked attempts // for net
	mark  mark
}

// network is how a sandbox is on the network.
type network struct {
	settled   bool // nothing more will be learned
	addresses addresses
}

// container is one container and what its status calls have told.
type container struct {
	raw       *runtimev1.Container
	details   details
	asked     attempts  // for details
	addresses addresses // its sandbox's, if nobody else has them
	mark      mark
}

// mark is what the sink was told of a sandbox or container.
type mark struct {
	told  bool // what it is, as it is known now
	ended bool // that it is gone, after it was told last
}

func (sb *sandbox) ended() bool {
	return sb.raw.GetState() != runtimev1.PodSandboxState_SANDBOX_READY
}

func (c *container) ended() bool {
	return c.raw.GetState() == runtimev1.ContainerState_CONTAINER_EXITED
}

func newView() view {
	return view{
		sandboxes:  make(map[string]*sandbox),
		containers: make(map[string]*container),
		pods:       make(map[string]*entity.Pod),
		gone:       make(map[string]struct{}),
	}
}

// forgetTold makes the next listing tell everything, and ask for what is still
// missing: another connection may be to a runtime in better health.
func (v *view) forgetTold() {
	for _, sb := range v.sandboxes {
		sb.mark.told, sb.asked = false, attempts{}
	}
	for _, c := range v.containers {
		c.mark.told, c.asked = false, attempts{}
	}
	v.again = true
}

// takeSandboxes makes the listed sandboxes the known ones.
func (v *view) takeSandboxes(listed []*runtimev1.PodSandbox) {
	missing := maps.Clone(v.sandboxes)
	for _, raw := range listed {
		id := raw.GetId()
		if id == "" {
			continue
		}
		delete(missing, id)
		delete(v.gone, id)
		known := v.sandboxes[id]
		if known == nil {
			v.sandboxes[id] = &sandbox{raw: raw}
			continue
		}
		if known.raw.GetState() != raw.GetState() {
			// Its addresses come or go with the state.
			known.net.settled, known.asked = false, attempts{}
		}
		known.raw = raw
	}
	for id, sb := range missing {
		delete(v.sandboxes, id)
		v.lose(id, sb.mark)
	}
}

// takeContainers is takeSandboxes for containers.
func (v *view) takeContainers(listed []*runtimev1.Container) {
	missing := maps.Clone(v.containers)
	for _, raw := range listed {
		id := raw.GetId()
		if id == "" {
			continue
		}
		delete(missing, id)
		delete(v.gone, id)
		if known := v.containers[id]; known != nil {
			known.raw = raw
			continue
		}
		v.containers[id] = &container{raw: raw}
	}
	for id, c := range missing {
		delete(v.containers, id)
		v.lose(id, c.mark)
	}
}

// lose remembers that the sink is to be told of an end, unless it was.
func (v *view) lose(id string, m mark) {
	if !m.ended {
		v.gone[id] = struct{}{}
	}
}

// inOrder returns what has ended before what lives, each by id: who keeps the
// one that was told last of a pod's instances keeps the living one.
func inOrder[T interface{ ended() bool }](known map[string]T) []T {
	var ended, live []T
	for _, id := range slices.Sorted(maps.Keys(known)) {
		if known[id].ended() {
			ended = append(ended, known[id])
		} else {
			live = append(live, known[id])
		}
	}
	return append(ended, live...)
}

// sole returns, by sandbox, the containers that have its addresses to
// themselves: the one that runs, if no container of another name is or was in
// the sandbox. One that was, such as an init container or a neighbour between
// two starts, may have left data that is late; better nobody's than the wrong
// one's.
func (v *view) sole() map[string]*container {
	type use struct {
		name    string
		several bool
		live    int
		running *container
	}
	uses := make(map[string]*use)
	for _, c := range v.containers {
		id, name := c.raw.GetPodSandboxId(), nameOf(c.raw)
		u := uses[id]
		if u == nil {
			u = &use{name: name}
			uses[id] = u
		}
		u.several = u.several || u.name != name || name == ""
		if !c.ended() {
			u.live++
		}
		if c.raw.GetState() == runtimev1.ContainerState_CONTAINER_RUNNING {
			u.running = c
		}
	}
	sole := make(map[string]*container)
	for id, u := range uses {
		if !u.several && u.live == 1 && u.running != nil {
			sole[id] = u.running
		}
	}
	return sole
}

// setAddresses gives a container the addresses of its sandbox, which may be nil,
// if it has them to itself, and takes them away otherwise.
func (c *container) setAddresses(sb *sandbox, sole map[string]*container) {
	var own addresses
	if sb != nil && sole[sb.raw.GetId()] == c {
		own = sb.net.addresses
	}
	if !slices.Equal(c.addresses, own) {
		c.addresses, c.mark.told = own, false
	}
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

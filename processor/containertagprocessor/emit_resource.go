package containertagprocessor

import (
	"net/netip"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/tags"
)

// visit is one batch on its way through a processor. It belongs to one
// goroutine.
type visit struct {
	*core
	// peer is who has sent the batch; the zero address if that is not asked for.
	peer netip.Addr
	// spare is a map that is used again for each resource.
	spare pcommon.Map
}

func (c *core) visit(peer netip.Addr) *visit {
	return &visit{core: c, peer: peer, spare: pcommon.NewMap()}
}

// found is what a resource is of.
type found struct {
	id identity
	// key is empty if it names no container and no pod.
	key string
	// entry is nil without a key, and where too many are unknown already.
	entry *tagged
	// crowded: there was no room for it to wait.
	crowded bool
}

// apply tags a resource. It reports false for one that is not selected.
func (v *visit) apply(attributes pcommon.Map, f *found) bool {
	host := v.tagger.host.Load()
	switch {
	case f.key == "":
		v.counts.count(noContainer)
		host.apply(attributes, f.id.hostName)
		return true
	case f.entry == nil && v.tagger.dropsUnknown(), f.entry != nil && f.entry.drop:
		v.counts.count(excluded)
		return false
	case f.entry == nil:
		v.counts.untagged(tooMany)
		host.apply(attributes, f.id.hostName)
	case f.entry.known:
		v.counts.count(wasTagged)
		f.entry.template.apply(attributes, v.spare, v.cfg.Override)
	default:
		v.counts.untagged(v.why(f))
		host.apply(attributes, f.id.hostName)
		f.entry.template.apply(attributes, v.spare, v.cfg.Override)
	}
	v.name(attributes, f)
	return true
}

// name writes the id of a container that was found by other means than it.
func (v *visit) name(attributes pcommon.Map, f *found) {
	if f.id.containerID == "" || f.id.named || v.cfg.Cardinality == tags.None {
		return
	}
	if given, ok := attributes.GetOrPutEmpty(keyContainerID); !ok {
		given.SetStr(f.id.containerID)
	}
}

// why tells the reason that a container has no tags.
func (v *visit) why(f *found) reason {
	switch {
	case f.crowded:
		return tooMany
	case !f.entry.complete:
		return late
	case !v.hub.anyUp():
		return noSource
	}
	return unknownToAll
}

// look tells which container, or pod, a resource is of.
func (v *visit) look(attributes pcommon.Map) (f found) {
	f.id = identify(attributes)
	f.entry, f.key = v.find(&f.id)
	return f
}

// find tells which container, or pod, a resource is of. The key is empty if it
// names none, and id.containerID is set when that was found out. A number of a
// process says nothing beside the name of another host.
func (v *visit) find(id *identity) (entry *tagged, key string) {
	if id.containerID == "" {
		id.fromPath()
	}
	if id.containerID == "" && id.podUID == "" && id.pid > 0 && !id.selfReport && !v.tagger.host.Load().isOther(id.hostName) {
		id.containerID = v.hub.containerOf(id.pid)
	}
	switch {
	case id.containerID != "":
		return v.byID(id), id.containerID
	case id.podUID != "":
		entry := v.tagger.inPod(id.podUID, id.podContainer)
		id.containerID = entry.id
		return entry, podWaitKey(id.podUID)
	case v.peer.IsValid():
		if entry := v.tagger.byAddress(v.peer); entry != nil {
			id.containerID = entry.id
			return entry, entry.id
		}
	}
	return nil, ""
}

// byID finds a container; where nobody knows it but its pod is known, the pod.
func (v *visit) byID(id *identity) *tagged {
	entry := v.tagger.container(id.containerID, id.podUID)
	if entry == nil || entry.known || id.podUID == "" {
		return entry
	}
	if pod, ok := v.tagger.pods.Load(id.podUID); ok && pod.known && entry.complete {
		return pod
	}
	return entry
}

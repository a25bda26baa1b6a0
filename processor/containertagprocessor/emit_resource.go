package containertagprocessor

import (
	"net/netip"

	"go.opentelemetry.io/collector/pdata/pcommon"
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

// aside puts a resource aside if it has to wait for tags: its own, or those of
// earlier data of the same container. take moves it out of its batch.
func aside[T any](v *visit, h *hold[T], f *found, take func() T) bool {
	if f.entry == nil || !f.entry.pends(v.tagger.now) && !h.has(f.key) {
		return false
	}
	f.crowded = !h.add(f.key, f.entry.waitUntil, take)
	return !f.crowded
}

// apply tags a resource. It reports false for one that is not selected.
func (v *visit) apply(attributes pcommon.Map, f *found) bool {
	switch {
	case f.key == "":
		v.counts.count(noContainer)
		v.tagger.host.Load().apply(attributes, f.id.hostName)
		return true
	case f.entry == nil:
		return v.applyNone(attributes)
	case f.entry.drop:
		v.counts.count(excluded)
		return false
	}
	v.countTagged(f)
	f.entry.template.apply(attributes, v.spare, v.cfg.Override)
	if f.id.containerID != "" {
		if given, ok := attributes.GetOrPutEmpty(keyContainerID); !ok {
			given.SetStr(f.id.containerID)
		}
	}
	return true
}

// applyNone treats the data of a container that is not even asked for.
func (v *visit) applyNone(attributes pcommon.Map) bool {
	if v.tagger.selector.Any() && v.cfg.Unknown == unknownDrop {
		v.counts.count(excluded)
		return false
	}
	v.counts.untagged(tooMany)
	v.tagger.host.Load().apply(attributes, "")
	return true
}

// look tells which container, or pod, a resource is of.
func (v *visit) look(attributes pcommon.Map) (f found) {
	f.id = identify(attributes)
	f.entry, f.key = v.find(&f.id)
	return f
}

// find tells which container, or pod, a resource is of. The key is empty if it
// names none, and id.containerID is set when that was found out.
func (v *visit) find(id *identity) (entry *tagged, key string) {
	if id.containerID == "" {
		id.fromPath()
	}
	if id.containerID == "" && id.pid > 0 && !id.selfReport {
		id.containerID = v.hub.containerOf(id.pid)
	}
	switch {
	case id.containerID != "":
		return v.byID(id), id.containerID
	case id.podUID != "":
		entry := v.tagger.inPod(id.podUID, id.podContainer)
		if entry.entity != nil {
			id.containerID = entry.entity.Container.ID
		}
		return entry, podWaitKey(id.podUID)
	case v.peer.IsValid():
		if entry := v.tagger.byAddress(v.peer); entry != nil {
			id.containerID = entry.entity.Container.ID
			return entry, id.containerID
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

func (v *visit) countTagged(f *found) {
	switch {
	case f.entry.known:
		v.counts.count(wasTagged)
	case f.crowded:
		v.counts.untagged(tooMany)
	case !f.entry.complete:
		v.counts.untagged(late)
	case !v.hub.anyUp():
		v.counts.untagged(noSource)
	default:
		v.counts.untagged(unknownToAll)
	}
}

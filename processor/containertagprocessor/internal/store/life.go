package store

import (
	"net/netip"
	"slices"
	"time"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
)

var zero time.Time

func (s *Store) add(id string) *record {
	r := &record{id: id, told: make([]*entity.Container, len(s.options.Containers)), technology: s.recognised[id]}
	s.containers[id] = r
	return r
}

// pod returns the place of a pod, a new one if need be.
func (s *Store) pod(uid string) *podRecord {
	p := s.pods[uid]
	if p == nil {
		p = &podRecord{told: make([]*entity.Pod, len(s.options.Containers)), members: map[string]struct{}{}}
		s.pods[uid] = p
	}
	return p
}

// refresh merges anew and tells.
func (s *Store) refresh(id string, r *record) {
	before := r.merged
	r.merged = merge(r.told)
	r.shown = withTechnology(r.merged, r.technology)
	s.moveAddresses(id, before, r.merged)
	s.join(id, before, r.merged)
	s.tell(id, r)
}

// moveAddresses keeps the live containers' addresses. Several may have one: the
// containers of a pod, and one that was told of before the end of the last
// owner. It belongs to who got it last, and after that one to who had it before.
// What stays is never missing for a moment, as it is read without a lock.
func (s *Store) moveAddresses(id string, before, after *entity.Container) {
	is := addressesOf(after)
	for _, a := range addressesOf(before) {
		if !slices.Contains(is, a) {
			s.setOwners(a, slices.DeleteFunc(s.owners[a], func(x string) bool { return x == id }))
		}
	}
	for _, a := range is {
		if !slices.Contains(s.owners[a], id) {
			s.setOwners(a, append(s.owners[a], id))
		}
	}
}

func (s *Store) setOwners(a netip.Addr, ids []string) {
	if len(ids) == 0 {
		delete(s.owners, a)
		s.addresses.Delete(a)
		return
	}
	s.owners[a] = ids
	s.addresses.Store(a, ids[len(ids)-1])
}

func addressesOf(c *entity.Container) []netip.Addr {
	if c == nil {
		return nil
	}
	all := make([]netip.Addr, len(c.Addresses))
	for i, a := range c.Addresses {
		all[i] = a.Unmap()
	}
	return all
}

// join enters a container into its pod's members.
func (s *Store) join(id string, before, after *entity.Container) {
	was, is := podOf(before), podOf(after)
	if was != "" && was != is {
		if p := s.pods[was]; p != nil {
			delete(p.members, id)
		}
	}
	if is == "" {
		return
	}
	s.pod(is).members[id] = struct{}{}
}

func podOf(c *entity.Container) string {
	if c == nil || c.Pod == nil {
		return ""
	}
	return c.Pod.UID
}

// entityOf is what subscribers are told of a record.
func (s *Store) entityOf(r *record) *Entity {
	e := &Entity{Container: r.shown, Told: r.merged, Technology: r.technology, Dead: r.dead(), Complete: s.complete(r)}
	if p := s.pods[podOf(r.merged)]; p != nil {
		e.Pod = p.pod
	}
	return e
}

// complete: no source that could still answer has not. One that is down cannot;
// one that has not reported yet is about to.
func (s *Store) complete(r *record) bool {
	for _, src := range s.sources {
		waits := src.bit != 0 && (src.up || !src.reported)
		if waits && r.answered&src.bit == 0 {
			return false
		}
	}
	return true
}

func (s *Store) tell(id string, r *record) {
	e := s.entityOf(r)
	for _, to := range s.subscribers {
		to.ContainerChanged(id, e)
	}
}

func (s *Store) bury(r *record) {
	r.died = s.options.Now()
	s.moveAddresses(r.id, r.merged, nil)
	s.tell(r.id, r)
	s.dead.push(r)
	for s.dead.len > s.options.MaxDead {
		s.stats.Evicted++
		s.forgetOldest()
	}
}

func (s *Store) forgetOldest() {
	r := s.dead.head
	s.dead.remove(r)
	s.forget(r)
}

func (s *Store) forget(r *record) {
	delete(s.containers, r.id)
	if p := s.pods[podOf(r.merged)]; p != nil {
		delete(p.members, r.id)
	}
	for _, to := range s.subscribers {
		to.ContainerChanged(r.id, nil)
	}
}

// Expire forgets what has been dead or unknown for long enough. Call it every
// few seconds.
func (s *Store) Expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.options.Now()
	for r := s.dead.head; r != nil && now.Sub(r.died) > s.options.Grace; r = s.dead.head {
		s.forgetOldest()
	}
	if s.unknown > 0 {
		s.expireUnknown(now)
	}
	for uid, p := range s.pods {
		s.expirePod(uid, p, now)
	}
}

func (s *Store) expireUnknown(now time.Time) {
	for _, r := range s.containers {
		if !r.known() && now.Sub(r.asked) > unknownFor {
			s.unknown--
			s.forget(r)
		}
	}
}

// expirePod forgets a pod that is gone, and one that nobody told of whose
// containers are forgotten.
func (s *Store) expirePod(uid string, p *podRecord, now time.Time) {
	dead := !p.died.IsZero() && now.Sub(p.died) > s.options.Grace
	wanted := !p.asked.IsZero() && now.Sub(p.asked) <= unknownFor
	if len(p.members) > 0 || wanted || !dead && p.pod != nil {
		return
	}
	s.nowKnown(p)
	delete(s.pods, uid)
	for _, to := range s.subscribers {
		to.PodChanged(uid, nil)
	}
}

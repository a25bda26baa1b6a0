package store

import (
	"slices"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
)

var _ entity.Sink = (*Store)(nil)

// PutContainer implements [entity.Sink].
func (s *Store) PutContainer(name string, c *entity.Container) {
	s.mu.Lock()
	defer s.mu.Unlock()
	src, place := s.source(name)
	if place < 0 || c.ID == "" {
		return
	}
	r := s.containers[c.ID]
	if r == nil {
		r = s.add(c.ID)
	} else if !r.known() {
		s.unknown--
	}
	if r.dead() {
		s.dead.remove(r)
	}
	r.died = zero
	r.told[place] = s.bounded(c)
	r.answered |= src.bit
	r.gone &^= src.bit
	s.refresh(c.ID, r)
}

// ContainerGone implements [entity.Sink].
func (s *Store) ContainerGone(name, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	src, place := s.source(name)
	if place < 0 { // it was recognised there; the last word on that stays
		delete(s.recognised, id)
		return
	}
	r := s.containers[id]
	if r == nil || r.told[place] == nil {
		return
	}
	r.gone |= src.bit
	for i, told := range r.told {
		if told != nil && r.gone&(1<<i) == 0 {
			return // somebody still knows it
		}
	}
	if !r.dead() {
		s.bury(r)
	}
}

// Absent implements [entity.Sink].
func (s *Store) Absent(name, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	src, place := s.source(name)
	r := s.containers[id]
	if place < 0 || r == nil || r.answered&src.bit != 0 {
		return
	}
	r.answered |= src.bit
	s.tell(id, r)
}

// PutTechnology implements [entity.Sink]. How many are remembered for containers
// that nobody else tells of is bounded by who tells.
func (s *Store) PutTechnology(_, id string, t *entity.Technology) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t == nil {
		delete(s.recognised, id)
	} else {
		s.recognised[id] = t
	}
	r := s.containers[id]
	if r == nil || isSame(r.technology, t) {
		return
	}
	r.technology = t
	r.shown = withTechnology(r.merged, t)
	s.tell(id, r)
}

func isSame(a, b *entity.Technology) bool {
	return a == b || a != nil && b != nil && *a == *b
}

// PutPod implements [entity.Sink].
func (s *Store) PutPod(name string, p *entity.Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	src, place := s.source(name)
	if place < 0 || p.UID == "" {
		return
	}
	record := s.pod(p.UID)
	s.nowKnown(record)
	record.told[place] = s.boundedPod(p)
	record.gone &^= src.bit
	record.pod, record.died = s.mergedPod(record.told), zero
	for _, to := range s.subscribers {
		to.PodChanged(p.UID, record.pod)
	}
	for id := range record.members {
		s.tell(id, s.containers[id])
	}
}

// PodGone implements [entity.Sink].
func (s *Store) PodGone(name, uid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	src, place := s.source(name)
	p := s.pods[uid]
	if place < 0 || p == nil || p.told[place] == nil {
		return
	}
	p.gone |= src.bit
	for i, told := range p.told {
		if told != nil && p.gone&(1<<i) == 0 {
			return
		}
	}
	if p.died.IsZero() {
		p.died = s.options.Now()
	}
}

// PutHost implements [entity.Sink].
func (s *Store) PutHost(name string, attributes []entity.Attribute) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Equal(s.host[name], attributes) {
		return
	}
	s.host[name] = attributes
	all := s.hostAttributes()
	for _, to := range s.subscribers {
		to.HostChanged(all)
	}
}

// Up implements [entity.Sink].
func (s *Store) Up(name string) { s.report(name, true) }

// Down implements [entity.Sink].
func (s *Store) Down(name string, _ error) { s.report(name, false) }

func (s *Store) report(name string, up bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	src, place := s.source(name)
	if src.reported && src.up == up {
		return
	}
	src.reported, src.up = true, up
	if place < 0 {
		return
	}
	// Who waited for this source need not any more, or has to.
	for id, r := range s.containers {
		if r.answered&src.bit == 0 {
			s.tell(id, r)
		}
	}
}

// source finds one that tells something; place is -1 for one that does not
// tell of containers.
func (s *Store) source(name string) (*source, int) {
	src := s.sources[name]
	if src == nil {
		src = &source{}
		s.sources[name] = src
	}
	return src, slices.Index(s.options.Containers, name)
}

// hostAttributes lists those of all sources; for each key the best one's.
func (s *Store) hostAttributes() []entity.Attribute {
	var all []entity.Attribute
	for _, name := range s.options.Host {
		for _, a := range s.host[name] {
			if !slices.ContainsFunc(all, func(x entity.Attribute) bool { return x.Key == a.Key }) {
				all = append(all, a)
			}
		}
	}
	return all
}

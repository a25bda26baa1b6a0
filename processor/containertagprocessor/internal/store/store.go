package store

import (
	"hash/maphash"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/index"
)

// Defaults of [Options].
const (
	// defaultGrace is what tagging needs at least: late log lines, queued
	// datagrams, connections that are reported when they end.
	defaultGrace = 5 * time.Minute
	// defaultMaxDead and defaultMaxUnknown: a dead container costs about 6 KiB
	// (BenchmarkMemory), an unknown id 300 bytes.
	defaultMaxDead    = 2000
	defaultMaxUnknown = 1000
	// unknownFor is how long an id that nobody asks for again is remembered as
	// unknown.
	unknownFor = time.Minute
)

// Options bound a [Store].
type Options struct {
	// Containers are the names of the sources of containers, best first. Host
	// are those of host attributes, best first.
	Containers, Host []string
	// Current is the source that knows labels and annotations of a pod as they are
	// now, and not as they were when it started; "" if there is none.
	Current string
	// Grace is how long the dead stay known, MaxDead how many at most, and
	// MaxUnknown how many ids that nobody knows, of containers and again of
	// pods; 0 means the defaults: 5 minutes, 2000, 1000.
	Grace               time.Duration
	MaxDead, MaxUnknown int
	// Now is the clock, time.Now if nil.
	Now func() time.Time
}

// Entity is what is known of a container. It is never changed.
type Entity struct {
	// Container is nil while no source knows it.
	Container *entity.Container
	// Told is Container without the technology, the same pointer while it is
	// recognised as something else.
	Told *entity.Container
	// Technology is what it was recognised as, also while no source knows it; nil
	// for nothing. Container has it, too.
	Technology *entity.Technology
	// Pod is the one it belongs to, nil if it is in none or that is not known.
	Pod *entity.Pod
	// Dead: it was removed.
	Dead bool
	// Complete: each source that can be asked has answered.
	Complete bool
}

// Subscriber hears of changes.
type Subscriber interface {
	// ContainerChanged tells what is known of a container now; nil means that
	// it was forgotten.
	ContainerChanged(id string, e *Entity)
	// PodChanged does the same for a pod.
	PodChanged(uid string, p *entity.Pod)
	// HostChanged tells all attributes of the host.
	HostChanged(attributes []entity.Attribute)
}

// Stats are the current sizes and the losses so far.
type Stats struct {
	// Live, Dead and Unknown are numbers of containers, Pods of pods.
	Live, Dead, Unknown, Pods int
	// Evicted counts dead ones forgotten before their time; Refused ids that
	// were not remembered as unknown because there are too many.
	Evicted, Refused uint64
	// Cut counts what was told with more or longer labels than are kept.
	Cut uint64
	// Up tells of each source whether it answers.
	Up map[string]bool
}

// Store implements [entity.Sink]. Make it with [New].
type Store struct {
	options   Options
	want      func(id, podUID string)
	addresses *index.Map[netip.Addr, string]

	mu          sync.Mutex // guards everything below
	containers  map[string]*record
	pods        map[string]*podRecord
	host        map[string][]entity.Attribute // by source
	sources     map[string]*source
	owners      map[netip.Addr][]string // ids of who has an address, the last to get it last
	recognised  map[string]*entity.Technology
	dead        queue
	subscribers []Subscriber
	unknown     int
	unknownPods int
	stats       Stats
}

// source is what the store knows of one that tells it things.
type source struct {
	bit uint64 // in record.answered, for sources of containers
	// reported: it was up or down at least once. up: it is now.
	reported, up bool
}

// New returns an empty store. want is called, without locks held, for what
// somebody has data of and nobody has told of; it asks all sources.
func New(o Options, want func(id, podUID string)) *Store {
	if o.Grace <= 0 {
		o.Grace = defaultGrace
	}
	if o.MaxDead <= 0 {
		o.MaxDead = defaultMaxDead
	}
	if o.MaxUnknown <= 0 {
		o.MaxUnknown = defaultMaxUnknown
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	seed := maphash.MakeSeed()
	s := &Store{
		options: o, want: want,
		addresses: index.New[netip.Addr, string](func(a netip.Addr) uint64 {
			b := a.As16()
			return maphash.Bytes(seed, b[:])
		}),
		containers: map[string]*record{},
		pods:       map[string]*podRecord{},
		host:       map[string][]entity.Attribute{},
		sources:    map[string]*source{},
		owners:     map[netip.Addr][]string{},
		recognised: map[string]*entity.Technology{},
	}
	for i, name := range o.Containers {
		s.sources[name] = &source{bit: 1 << i}
	}
	return s
}

// Subscribe tells of all that is known, and then of each change until cancel.
func (s *Store) Subscribe(to Subscriber) (cancel func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subscribers = append(s.subscribers, to)
	to.HostChanged(s.hostAttributes())
	for uid, p := range s.pods {
		if p.pod != nil {
			to.PodChanged(uid, p.pod)
		}
	}
	for id, r := range s.containers {
		to.ContainerChanged(id, s.entityOf(r))
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.subscribers = slices.DeleteFunc(s.subscribers, func(x Subscriber) bool { return x == to })
	}
}

// Want says that there is data of a container, or with an empty id of a pod,
// that the subscribers were not told of. Sources are asked; the subscribers
// hear of the container at once, known or not. It reports false where too many
// are unknown already.
func (s *Store) Want(id, podUID string) bool {
	s.mu.Lock()
	var ok bool
	if id != "" {
		ok = s.admit(id)
	} else {
		ok = s.admitPod(podUID)
	}
	s.mu.Unlock()
	if ok {
		s.want(id, podUID)
	}
	return ok
}

// admit makes room for an id that somebody asks for.
func (s *Store) admit(id string) bool {
	now := s.options.Now()
	r := s.containers[id]
	if r == nil {
		if s.unknown >= s.options.MaxUnknown {
			s.stats.Refused++
			return false
		}
		r = s.add(id)
		s.unknown++
		s.tell(id, r)
	}
	r.asked = now
	return true
}

// admitPod does the same for a pod. A subscriber may remember a pod that is asked
// for, so one that is refused or that nobody tells of is forgotten by name.
func (s *Store) admitPod(uid string) bool {
	p := s.pods[uid]
	if p == nil || p.pod == nil && p.asked.IsZero() {
		if s.unknownPods >= s.options.MaxUnknown {
			s.stats.Refused++
			for _, to := range s.subscribers {
				to.PodChanged(uid, nil)
			}
			return false
		}
		p = s.pod(uid)
		s.unknownPods++
	}
	if p.pod == nil {
		p.asked = s.options.Now()
	}
	return true
}

// nowKnown: a pod is not one of those any more that nobody tells of.
func (s *Store) nowKnown(p *podRecord) {
	if !p.asked.IsZero() {
		p.asked = zero
		s.unknownPods--
	}
}

// ByAddress finds the live container that an address belongs to. It takes no
// lock.
func (s *Store) ByAddress(a netip.Addr) (id string, ok bool) { return s.addresses.Load(a.Unmap()) }

// Stats returns the current figures.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.stats
	stats.Dead, stats.Unknown, stats.Pods = s.dead.len, s.unknown, len(s.pods)-s.unknownPods
	stats.Live = len(s.containers) - stats.Dead - stats.Unknown
	stats.Up = map[string]bool{}
	for name, src := range s.sources {
		stats.Up[name] = src.up
	}
	return stats
}

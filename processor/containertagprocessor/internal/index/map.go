package index

import (
	"iter"
	"maps"
	"sync"
	"sync/atomic"
)

// shards keeps a copy small: of 2,000 containers a shard holds about 31, which
// are copied in a microsecond or two (BenchmarkStore).
const shards = 64

// Map is a map of K to V. Make it with [New].
type Map[K comparable, V any] struct {
	hash   func(K) uint64
	shards [shards]shard[K, V]
}

type shard[K comparable, V any] struct {
	current atomic.Pointer[map[K]V]
	mu      sync.Mutex // one writer at a time
}

// New returns an empty map. hash must spread over its lowest bits.
func New[K comparable, V any](hash func(K) uint64) *Map[K, V] {
	m := &Map[K, V]{hash: hash}
	for i := range m.shards {
		m.shards[i].current.Store(&map[K]V{})
	}
	return m
}

func (m *Map[K, V]) shard(key K) *shard[K, V] { return &m.shards[m.hash(key)%shards] }

// Load returns the value of a key.
func (m *Map[K, V]) Load(key K) (V, bool) {
	v, ok := (*m.shard(key).current.Load())[key]
	return v, ok
}

// Store sets the value of a key.
func (m *Map[K, V]) Store(key K, value V) {
	m.shard(key).change(func(next map[K]V) { next[key] = value })
}

// LoadOrStore returns the value of a key, which is the given one if there was
// none.
func (m *Map[K, V]) LoadOrStore(key K, value V) V {
	m.shard(key).change(func(next map[K]V) {
		if known, ok := next[key]; ok {
			value = known
			return
		}
		next[key] = value
	})
	return value
}

// Delete forgets a key.
func (m *Map[K, V]) Delete(key K) {
	s := m.shard(key)
	if _, ok := (*s.current.Load())[key]; ok {
		s.change(func(next map[K]V) { delete(next, key) })
	}
}

// Len counts the keys.
func (m *Map[K, V]) Len() int {
	n := 0
	for i := range m.shards {
		n += len(*m.shards[i].current.Load())
	}
	return n
}

func (s *shard[K, V]) change(f func(map[K]V)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := maps.Clone(*s.current.Load())
	f(next)
	s.current.Store(&next)
}

// All goes over what was there when each shard was reached. It may be changed
// meanwhile.
func (m *Map[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for i := range m.shards {
			for k, v := range *m.shards[i].current.Load() {
				if !yield(k, v) {
					return
				}
			}
		}
	}
}

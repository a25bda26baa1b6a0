package nat

import (
	"context"
	"sync"
)

// Cache remembers the answers of a [Resolver] for connections that last, until
// they are asked about for the last time. It is safe for concurrent use.
type Cache struct {
	resolver Resolver
	half     int // entries of each generation

	mu sync.Mutex // guards what follows
	// What is asked about moves from the old generation to the young one; when
	// that is full, the old one is forgotten as a whole.
	young, old map[cacheKey]cached
	hits       uint64
}

type cacheKey struct {
	at, netns uint64
	pair      Pair
	transport Transport
	zone      uint16
}

type cached struct {
	socket uint64
	answer Answer
}

// NewCache remembers up to limit answers of r, at least the limit/2 that were
// asked for last. An answer takes 370 bytes. Closing the cache closes r.
func NewCache(r Resolver, limit int) *Cache {
	return &Cache{resolver: r, half: max(limit/2, 1), young: map[cacheKey]cached{}, old: map[cacheKey]cached{}}
}

// Resolve implements [Resolver]. A found answer is remembered unless the query
// says that the connection has ended; then it is forgotten. It is given again
// only to the same [Query.Socket].
func (c *Cache) Resolve(ctx context.Context, at Namespace, queries []Query, answers []Answer) error {
	unknown := make([]Query, 0, len(queries))
	places := make([]int, 0, len(queries))
	c.mu.Lock()
	for i := range queries {
		answer, ok := c.take(at, &queries[i])
		answers[i] = answer
		if !ok {
			unknown, places = append(unknown, queries[i]), append(places, i)
		}
	}
	c.hits += uint64(len(queries) - len(unknown))
	c.mu.Unlock()
	if len(unknown) == 0 {
		return nil
	}
	fresh := make([]Answer, len(unknown))
	if err := c.resolver.Resolve(ctx, at, unknown, fresh); err != nil {
		clear(answers[:len(queries)])
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, place := range places {
		answers[place] = fresh[i]
		if fresh[i].Found && !unknown[i].Ended {
			c.keep(keyOf(at, &unknown[i]), cached{unknown[i].Socket, fresh[i]})
		}
	}
	return nil
}

func keyOf(at Namespace, q *Query) cacheKey {
	return cacheKey{at: at.Inode, netns: q.Netns, pair: q.Pair, transport: q.Transport, zone: q.Zone}
}

// take returns what is remembered for the query's socket.
func (c *Cache) take(at Namespace, q *Query) (Answer, bool) {
	k := keyOf(at, q)
	found, ok := c.young[k]
	if !ok {
		found, ok = c.old[k]
	}
	if !ok {
		return Answer{}, false
	}
	isOther := found.socket != q.Socket
	if isOther || q.Ended {
		delete(c.young, k)
		delete(c.old, k)
	} else {
		c.keep(k, found)
	}
	if isOther {
		return Answer{}, false
	}
	return found.answer, true
}

func (c *Cache) keep(k cacheKey, v cached) {
	if _, known := c.young[k]; !known && len(c.young) >= c.half {
		c.young, c.old = c.old, c.young
		clear(c.young)
	}
	delete(c.old, k)
	c.young[k] = v
}

// Stats implements [Resolver]: those of the resolver behind it, with the lookups
// that were answered from memory, as hits.
func (c *Cache) Stats() Stats {
	s := c.resolver.Stats()
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Cached = c.hits
	s.Lookups += c.hits
	s.Hits += c.hits
	s.Entries += uint64(len(c.young) + len(c.old))
	return s
}

// Close closes the resolver behind the cache.
func (c *Cache) Close() error { return c.resolver.Close() }

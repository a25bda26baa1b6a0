package limit

import (
	"container/list"
	"time"
)

// defaultOrigins bounds the table: no host runs as many containers, and 4,096
// take 600 kB.
const defaultOrigins = 4096

// Verdict says what becomes of a message.
type Verdict uint8

// The verdicts. The zero value lets it pass.
const (
	Pass       Verdict = iota
	OverOrigin         // the origin is over its rate
	OverGlobal         // all together are over theirs
)

// String returns the name used in telemetry.
func (v Verdict) String() string {
	return [...]string{"pass", "origin_rate", "global_rate"}[v]
}

// Options are the limits.
type Options struct {
	// Origin is for each origin, Global for all together.
	Origin, Global Rate
	// MaxOrigins bounds the table; 0 means 4096.
	MaxOrigins int
}

// Limiter holds a bucket for each origin, which is any comparable key; a
// pointer is the cheapest. It is not safe for concurrent use.
type Limiter[K comparable] struct {
	o      Options
	global Bucket

	last  *entry[K]
	byKey map[K]*entry[K]
	queue *list.List // of *entry[K], the next to be forgotten in front
	stats Stats
}

type entry[K comparable] struct {
	key     K
	bucket  Bucket
	seen    bool // again, since its last turn in front of the queue
	element *list.Element
}

// Stats are counts since [New], of messages but for Evicted.
type Stats struct {
	Passed, OverOrigin, OverGlobal uint64
	// Evicted origins were forgotten for want of room.
	Evicted uint64
	// Origins is how many are remembered.
	Origins int
}

// New returns a limiter with full buckets at a time.
func New[K comparable](o Options, now time.Duration) *Limiter[K] {
	if o.MaxOrigins <= 0 {
		o.MaxOrigins = defaultOrigins
	}
	return &Limiter[K]{o: o, global: NewBucket(o.Global, now), byKey: map[K]*entry[K]{}, queue: list.New()}
}

// Allow counts n messages of an origin. They pass all or none.
func (l *Limiter[K]) Allow(key K, now time.Duration, n int) Verdict {
	e := l.last
	if e == nil || e.key != key {
		e = l.find(key, now)
	} else {
		e.seen = true
	}
	switch {
	case !e.bucket.has(now, n):
		l.stats.OverOrigin += uint64(n)
		return OverOrigin
	case !l.global.Allow(now, n):
		l.stats.OverGlobal += uint64(n)
		return OverGlobal
	}
	e.bucket.take(n)
	l.stats.Passed += uint64(n)
	return Pass
}

func (l *Limiter[K]) find(key K, now time.Duration) *entry[K] {
	e := l.byKey[key]
	if e == nil {
		if len(l.byKey) >= l.o.MaxOrigins {
			l.evict()
		}
		e = &entry[K]{key: key, bucket: NewBucket(l.o.Origin, now)}
		e.element = l.queue.PushBack(e)
		l.byKey[key] = e
	} else {
		e.seen = true
	}
	l.last = e
	return e
}

// evict forgets the one not seen for longest, as good as: who was seen since
// its last turn goes to the end of the queue once more.
func (l *Limiter[K]) evict() {
	for {
		front := l.queue.Front()
		e := front.Value.(*entry[K])
		if e.seen {
			e.seen = false
			l.queue.MoveToBack(front)
			continue
		}
		l.queue.Remove(front)
		delete(l.byKey, e.key)
		l.stats.Evicted++
		return
	}
}

// Stats returns the counts so far.
func (l *Limiter[K]) Stats() Stats {
	s := l.stats
	s.Origins = len(l.byKey)
	return s
}

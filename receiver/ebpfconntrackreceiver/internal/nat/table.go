package nat

import (
	"sync"
	"time"
)

// believeFor is how long an entry is taken to be alive that no event will tell
// the end of, after the kernel said that it is: a connection takes longer than
// that to end and leave its ports to another one.
const believeFor = time.Second

// table keeps the connections that events tell of.
//
// A kernel of 5.19 or newer sends no events about entries that are older than
// the listener (net.netfilter.nf_conntrack_events=2, nf_ct_ecache_ext_add). Those,
// and the ended ones, are only a fallback: the kernel is asked first.
type table struct {
	limit int
	grace time.Duration // that ended connections are kept
	now   func() time.Time

	mu      sync.Mutex // guards what follows
	byTuple map[key]*connection
	count   int
	ended   []*connection // in the order of their end
	pass    uint64        // number of the dump under way, or the last one
	trusted bool          // no event was lost since the last dump
	refused uint64
}

// key is one direction of a connection.
type key struct {
	tuple     tuple
	transport Transport
	zone      uint16
}

type connection struct {
	entry     entry
	watched   bool      // an event will tell of its end
	confirmed time.Time // when it was last said to be alive
	ended     time.Time // zero: alive
	pass      uint64    // that last saw it
}

func newTable(limit int, grace time.Duration, now func() time.Time) *table {
	return &table{limit: limit, grace: grace, now: now, byTuple: map[key]*connection{}}
}

func (e *entry) keys() [2]key {
	return [2]key{{e.original, e.transport, e.zone}, {e.reply, e.transport, e.zone}}
}

// put adds a living connection, or confirms it; watched says that it came with
// an event.
func (t *table) put(e *entry, watched bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if c := t.byTuple[e.keys()[0]]; c != nil && c.entry == *e && c.ended.IsZero() {
		c.confirmed, c.pass, c.watched = now, t.pass, c.watched || watched
		return
	}
	// Whoever had one of the tuples has ended, told or not.
	for _, k := range e.keys() {
		t.drop(t.byTuple[k])
	}
	if t.count >= t.limit && !t.makeRoom() {
		t.refused++
		return
	}
	c := &connection{entry: *e, watched: watched, confirmed: now, pass: t.pass}
	for _, k := range e.keys() {
		t.byTuple[k] = c
	}
	t.count++
}

// end marks a connection as over.
func (t *table) end(e *entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.byTuple[e.keys()[0]]; c != nil && c.entry == *e {
		t.endNow(c, t.now())
	}
}

func (t *table) endNow(c *connection, now time.Time) {
	if !c.ended.IsZero() {
		return
	}
	c.ended = now
	t.ended = append(t.ended, c)
	if len(t.ended) > 2*t.limit { // full of those whose tuples others have by now
		t.dropFirst()
	}
}

func (t *table) dropFirst() {
	t.drop(t.ended[0])
	t.ended[0] = nil
	t.ended = t.ended[1:]
}

// drop takes a connection out, if it is still there.
func (t *table) drop(c *connection) {
	if c == nil || t.byTuple[c.entry.keys()[0]] != c {
		return
	}
	for _, k := range c.entry.keys() {
		delete(t.byTuple, k)
	}
	t.count--
}

// makeRoom drops who ended first. Some of the list may be gone already.
func (t *table) makeRoom() bool {
	for t.count >= t.limit && len(t.ended) > 0 {
		t.dropFirst()
	}
	return t.count < t.limit
}

// sweep drops whose time after the end is over.
func (t *table) sweep() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	for len(t.ended) > 0 && now.Sub(t.ended[0].ended) > t.grace {
		t.dropFirst()
	}
}

// distrust says that events were lost: until the next dump the kernel is asked
// about everything.
func (t *table) distrust() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trusted = false
}

// beginDump and endDump stand around a dump; what it does not tell of has ended.
func (t *table) beginDump() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pass++
}

func (t *table) endDump() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	for _, c := range t.byTuple {
		if c.pass != t.pass {
			t.endNow(c, now)
		}
	}
	t.trusted = true
}

// answer answers a query as far as the table can. It returns whether the kernel
// has to be asked, in which case the answer is the fallback.
func (t *table) answer(q *Query, want tuple) (Answer, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.byTuple[key{want, q.Transport, q.Zone}]
	if c == nil {
		return Answer{}, true
	}
	now := t.now()
	isSure := c.ended.IsZero() && t.trusted && (c.watched || now.Sub(c.confirmed) < believeFor)
	isOld := !c.ended.IsZero() && now.Sub(c.ended) > t.grace ||
		c.ended.IsZero() && !c.watched && now.Sub(c.confirmed) > t.grace
	if isOld {
		return Answer{}, true
	}
	return c.entry.answer(want), !isSure
}

// level returns how many connections there are, and how many found no room.
func (t *table) level() (count int, refused uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count, t.refused
}

// isTrusted reports whether no event was lost since the last dump.
func (t *table) isTrusted() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.trusted
}

// isWatched reports whether an event will tell of the end of each connection.
func (t *table) isWatched() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.byTuple {
		if c.ended.IsZero() && !c.watched {
			return false
		}
	}
	return true
}

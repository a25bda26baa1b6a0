package entity

import (
	"cmp"
	"hash/maphash"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// defaultMax is two months of containers that live for two minutes.
	defaultMax = 50_000
	// defaultGoneAfter is several times the slowest usual collection interval, 10 s.
	defaultGoneAfter = 2 * time.Minute
)

// Options are what the owner decides. The zero value keeps everything in memory.
type Options struct {
	// Dir is the recorder's directory, which is made (mode 0700) if it is not
	// there. Empty: nothing is written.
	Dir string
	// Max is how many incarnations are kept at most; 0 stands for 50,000. MaxBytes is
	// what all their tags and other texts may take, in memory and as text; 0 stands for
	// 80 MiB.
	Max      int
	MaxBytes int64
	// MaxAge is how long after its end an incarnation is kept; 0: no bound.
	MaxAge time.Duration
	// GoneAfter is how long nothing may be heard of a container, while something
	// is heard of others, until it is taken for gone; 0 stands for 2 min.
	GoneAfter time.Duration
	// Now is the clock; nil stands for time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	o.Max = cmp.Or(o.Max, defaultMax)
	o.MaxBytes = cmp.Or(o.MaxBytes, defaultMaxBytes)
	o.GoneAfter = cmp.Or(o.GoneAfter, defaultGoneAfter)
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Table is all incarnations that are known.
type Table struct {
	opts Options
	seed maphash.Seed

	mu sync.RWMutex
	// runs is sorted by Seq.
	runs []*run
	// byID are the runs of each id, sorted by when they began; none is empty.
	byID map[string][]*run
	// open are the runs without a Stop.
	open map[*run]struct{}
	// dirty has changed since it was written.
	dirty []*run
	// seq is the last that was given; version grows with each change.
	seq, version uint64
	// first and newest bound what was heard since the table was opened.
	first, newest time.Time
	// stands: the clock does, and the table can tell of what is after it.
	stands bool
	counts counts
	weight weight

	// upkeep is held by whoever writes the file. It is taken before mu.
	upkeep  sync.Mutex
	journal journal
}

// counts is what only grows.
type counts struct {
	evicted, evictedLive, expired uint64
	// heavy are those of the evicted that were not too many, but too much.
	heavy                   uint64
	droppedTags, droppedIDs uint64
}

// Stats is how the table is.
type Stats struct {
	// Entities is the number of incarnations, the sum of the three states.
	Entities, Running, Ended, Broken int
	// Evicted were given up because of Options.Max or Options.MaxBytes, EvictedLive
	// among them before their end; Expired because of Options.MaxAge.
	Evicted, EvictedLive, Expired uint64
	// Dropped counts what was not taken, by reason: tags (more than 128 of one
	// container, or than 16 KiB), id (no id of a container), memory (containers that
	// were given up because of Options.MaxBytes).
	Dropped map[string]uint64
	// FileBytes is the size of the file, Rewrites how often it was written anew,
	// WriteErrors how often writing went wrong.
	FileBytes             int64
	Rewrites, WriteErrors uint64
}

func newTable(o Options) *Table {
	return &Table{
		opts: o.withDefaults(),
		seed: maphash.MakeSeed(),
		byID: map[string][]*run{},
		open: map[*run]struct{}{},
	}
}

// Lookup returns the last incarnation of an id.
func (t *Table) Lookup(id string) (Entity, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	runs := t.byID[id]
	if len(runs) == 0 {
		return Entity{}, false
	}
	return t.numbered(runs[len(runs)-1]), true
}

// LookupAt returns the incarnation of an id that a time belongs to: the last that
// had begun by then, or the first.
func (t *Table) LookupAt(id string, at time.Time) (Entity, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	r := t.runAt(id, at)
	if r == nil {
		return Entity{}, false
	}
	return t.numbered(r), true
}

func (t *Table) numbered(r *run) Entity {
	e := r.export()
	for _, other := range t.runs {
		if other.family() == r.family() {
			e.Incarnation++
		}
		if other == r {
			break
		}
	}
	return e
}

// family is what incarnations have in common: the name, or the id of those that
// nobody has named.
func (r *run) family() string {
	if r.Name == "" {
		return r.ID
	}
	return r.Name
}

// List returns what the filter chooses, those that began first coming first. It
// holds up observers for a few milliseconds where tens of thousands are known.
func (t *Table) List(f Filter) []Entity {
	words := strings.Fields(strings.ToLower(f.Text))
	return t.choose(func(r *run) bool { return f.matches(r, words) })
}

// Walk passes all incarnations in the order of Seq, without Tags and Incarnation,
// which cost more than all the rest. They are to be read only. Where the table changes
// meanwhile, new ones may be left out; none comes twice.
func (t *Table) Walk() iter.Seq[Entity] {
	return func(yield func(Entity) bool) {
		some := make([]Entity, 0, perChunk)
		for next, done := uint64(0), false; !done; {
			some, next, done = t.some(some[:0], next)
			for _, e := range some {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// some appends entities from the Seq next on. It returns where to go on.
func (t *Table) some(to []Entity, next uint64) (_ []Entity, goOn uint64, done bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	i := t.from(next)
	end := min(len(t.runs), i+perChunk)
	for _, r := range t.runs[i:end] {
		to = append(to, r.Entity)
	}
	if end == len(t.runs) {
		return to, 0, true
	}
	return to, t.runs[end].Seq, false
}

// from is where the runs begin that have a Seq or a later one.
func (t *Table) from(seq uint64) int {
	i, _ := slices.BinarySearchFunc(t.runs, seq, func(r *run, seq uint64) int { return cmp.Compare(r.Seq, seq) })
	return i
}

// Incarnations returns those of a name, those that began first coming first.
func (t *Table) Incarnations(name string) []Entity {
	return t.choose(func(r *run) bool { return r.Name == name })
}

// Changed returns what has changed after a version, and the version now. With the
// largest uint64 it returns only the version.
func (t *Table) Changed(after uint64) (changed []Entity, version uint64) {
	t.mu.RLock()
	version = t.version
	t.mu.RUnlock()
	if after >= version {
		return nil, version
	}
	// What changes in between is returned, and will be again.
	return t.choose(func(r *run) bool { return r.version > after }), version
}

func (t *Table) choose(wanted func(*run) bool) []Entity {
	t.mu.RLock()
	var found []Entity
	known := map[string]int{}
	for _, r := range t.runs {
		known[r.family()]++
		if wanted(r) {
			e := r.export()
			e.Incarnation = known[r.family()]
			found = append(found, e)
		}
	}
	t.mu.RUnlock()
	slices.SortStableFunc(found, func(a, b Entity) int { return a.Began().Compare(b.Began()) })
	return found
}

// Stats returns how the table is now.
func (t *Table) Stats() Stats {
	t.upkeep.Lock()
	s := Stats{FileBytes: t.journal.size, Rewrites: t.journal.rewrites, WriteErrors: t.journal.errors}
	t.upkeep.Unlock()
	t.mu.RLock()
	defer t.mu.RUnlock()
	s.Entities = len(t.runs)
	for r := range t.open {
		switch r.StateAt(time.Time{}) {
		case Running:
			s.Running++
		case Broken:
			s.Broken++
		}
	}
	s.Ended = s.Entities - s.Running - s.Broken
	s.Evicted, s.EvictedLive, s.Expired = t.counts.evicted, t.counts.evictedLive, t.counts.expired
	s.Dropped = map[string]uint64{"tags": t.counts.droppedTags, "id": t.counts.droppedIDs, "memory": t.counts.heavy}
	return s
}

// runAt is the run of an id that a time belongs to, nil if the id is unknown. The
// caller holds mu.
func (t *Table) runAt(id string, at time.Time) *run {
	runs := t.byID[id]
	if len(runs) == 0 {
		return nil
	}
	i := len(runs) - 1
	for i > 0 && runs[i].Began().After(at) {
		i--
	}
	return runs[i]
}

// begin adds a run of an id. What ran under the id before must have ended.
func (t *Table) begin(id string, at time.Time) *run {
	t.makeWay(id, at)
	t.seq++
	r := &run{Entity: Entity{Seq: t.seq, ID: strings.Clone(id), FirstSeen: at, LastSeen: at}}
	runs := t.byID[id]
	i := len(runs)
	for i > 0 && runs[i-1].Began().After(at) {
		i--
	}
	if i > 0 {
		t.follow(r, runs[i-1], at)
	}
	t.open[r] = struct{}{}
	if i < len(runs) {
		t.end(r, runs[i].Began(), true)
	}
	t.byID[r.ID] = slices.Insert(runs, i, r)
	t.runs = append(t.runs, r)
	t.touch(r)
	return r
}

// follow makes r the run after another of the same id.
func (t *Table) follow(r, before *run, at time.Time) {
	if before.Stop.IsZero() {
		t.end(before, earlier(before.LastSeen, at), true)
	}
	before.quiet = false // it cannot come back any more
	r.Restarts = before.Restarts + 1
	if before.Removed.IsZero() {
		// The same container again, until tags tell otherwise. What is the kernel's
		// own for one run is left out.
		t.setTags(r, before.tags.without("network.namespace.inode"))
		r.inherited = true
	}
}

func (t *Table) end(r *run, at time.Time, guessed bool) {
	if at.Before(r.Began()) && t.isToCome(r.Began()) {
		t.settle(r.ID, at)
	}
	r.Stop, r.StopGuessed, r.quiet = at, guessed, false
	delete(t.open, r)
	t.touch(r)
}

func (t *Table) reopen(r *run) {
	if r.gone {
		return
	}
	r.Stop, r.StopGuessed, r.quiet = time.Time{}, false, false
	t.open[r] = struct{}{}
	t.touch(r)
}

// touch notes that a run has changed and has to be written.
func (t *Table) touch(r *run) {
	t.version++
	r.version = t.version
	t.weigh(r)
	if !r.dirty && t.journal.path != "" {
		r.dirty = true
		t.dirty = append(t.dirty, r)
	}
}

// evict keeps the number of runs at Max, and what they take at MaxBytes. The one that
// ended first goes first; where none has ended, the one that was silent for longest.
// Some go at once, so that the cost of finding them is shared. One always stays.
func (t *Table) evict() {
	few, light := t.opts.Max, t.opts.MaxBytes
	if len(t.runs) <= few && !t.weight.exceeds(light) {
		return
	}
	if len(t.runs) > few {
		few -= few / 100
	}
	if t.weight.exceeds(light) {
		light -= light / 100
	}
	victims := slices.Clone(t.runs)
	slices.SortStableFunc(victims, oldestFirst)
	n := 0
	for _, r := range victims[:len(victims)-1] {
		left, live := len(victims)-n, r.Stop.IsZero()
		must := left > t.opts.Max || t.weight.exceeds(t.opts.MaxBytes)
		if !must && (live || left <= few && !t.weight.exceeds(light)) {
			break
		}
		t.counts.add(live, left <= few)
		t.unload(r)
		n++
	}
	t.forget(victims[:n])
}

// add counts one that was given up.
func (c *counts) add(live, heavy bool) {
	c.evicted++
	if live {
		c.evictedLive++
	}
	if heavy {
		c.heavy++
	}
}

// oldestFirst orders runs by what can be given up first.
func oldestFirst(a, b *run) int {
	if c := cmp.Compare(rank(a), rank(b)); c != 0 {
		return c
	}
	if a.Stop.IsZero() {
		return a.LastSeen.Compare(b.LastSeen)
	}
	return a.Stop.Compare(b.Stop)
}

func rank(r *run) int {
	if r.Stop.IsZero() {
		return 1
	}
	return 0
}

// forget takes runs out of the table.
func (t *Table) forget(victims []*run) {
	if len(victims) == 0 {
		return
	}
	for _, r := range victims {
		t.unload(r)
		delete(t.open, r)
		runs := t.byID[r.ID]
		runs = slices.DeleteFunc(runs, func(other *run) bool { return other == r })
		if len(runs) == 0 {
			delete(t.byID, r.ID)
		} else {
			t.byID[r.ID] = runs
		}
	}
	t.runs = slices.DeleteFunc(t.runs, func(r *run) bool { return r.gone })
}

// expire forgets what ended too long ago.
func (t *Table) expire(now time.Time) {
	if t.opts.MaxAge <= 0 {
		return
	}
	var old []*run
	for _, r := range t.runs {
		if !r.Stop.IsZero() && now.Sub(r.Stop) > t.opts.MaxAge {
			old = append(old, r)
		}
	}
	t.counts.expired += uint64(len(old))
	t.forget(old)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

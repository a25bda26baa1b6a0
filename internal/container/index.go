package container

import (
	"iter"
	"sync"
	"time"
)

// Cgroup is one directory of the watched hierarchy. Values are immutable
// snapshots: an Index hands out pointers to them, and replaces the value when
// the directory goes away instead of changing it. Do not modify one.
type Cgroup struct {
	Identity
	// Path is the cgroup path, "/docker/<id>".
	Path string
	// Inode is the directory's inode number, which is the cgroup id that BPF
	// reports for this hierarchy; 0 if the directory went before it was read.
	Inode uint64
	// FirstSeen is when it was found, on the Index's clock.
	FirstSeen time.Time
	// Initial: it existed when discovery began, so its start was not seen.
	Initial bool
	// Gone is when it was found to be removed; zero while it exists.
	Gone time.Time
}

// Defaults of [IndexOptions].
const (
	defaultGrace   = 5 * time.Minute
	defaultMaxDead = 10_000
)

// IndexOptions bound what an [Index] remembers.
type IndexOptions struct {
	// Grace is how long the dead stay known; 0 means 5 minutes.
	Grace time.Duration
	// MaxDead is how many dead are kept at most, about 400 bytes plus the
	// path each; 0 means 10000. The oldest go first and are counted.
	MaxDead int
	// Now is the clock, time.Now if nil.
	Now func() time.Time
}

// Index finds cgroups by path, cgroup id and container id. It is safe for
// concurrent use. A live cgroup is always preferred to a dead one.
type Index struct {
	grace   time.Duration
	maxDead int
	now     func() time.Time

	mu      sync.RWMutex // guards everything below
	byPath  map[string]*record
	byInode map[uint64]*record
	// byID holds roots only: either the newest of the live ones, linked
	// through sameID, or the one that died last.
	byID    map[string]*record
	counts  [classCount]int
	live    int
	dead    deadQueue
	evicted uint64
}

// record is the Index's mutable place for one directory.
type record struct {
	cg       *Cgroup
	sameID   *record // next older live record with this id
	nextDead *record // next record in order of death
}

func (r *record) alive() bool { return r.cg.Gone.IsZero() }

// deadQueue is a list in order of death.
type deadQueue struct {
	head, tail *record
	len        int
}

func (q *deadQueue) push(r *record) {
	if q.tail == nil {
		q.head = r
	} else {
		q.tail.nextDead = r
	}
	q.tail = r
	q.len++
}

func (q *deadQueue) pop() *record {
	r := q.head
	if q.head = r.nextDead; q.head == nil {
		q.tail = nil
	}
	r.nextDead = nil
	q.len--
	return r
}

// IndexStats are the current sizes and the evictions so far.
type IndexStats struct {
	// Live and Dead are numbers of directories.
	Live, Dead int
	// Evicted counts dead ones forgotten before their grace period was over.
	Evicted uint64
}

// NewIndex returns an empty index.
func NewIndex(opts IndexOptions) *Index {
	if opts.Grace <= 0 {
		opts.Grace = defaultGrace
	}
	if opts.MaxDead <= 0 {
		opts.MaxDead = defaultMaxDead
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Index{
		grace:   opts.Grace,
		maxDead: opts.MaxDead,
		now:     opts.Now,
		byPath:  map[string]*record{},
		byInode: map[uint64]*record{},
		byID:    map[string]*record{},
	}
}

// Add makes a directory known. An Identity with an empty Root is filled in
// from Path, a zero FirstSeen from the clock. Adding what is known already
// changes nothing, nor does a directory seen before its removal was told:
// sources of different speed may feed one Index. Another inode under the path
// of a live directory replaces it, the old one is dead from then on.
func (x *Index) Add(cg Cgroup) {
	now := x.now()
	if cg.Root == "" {
		cg.Identity = ParsePath(cg.Path)
	}
	if cg.FirstSeen.IsZero() {
		cg.FirstSeen = now
	}
	cg.Gone = time.Time{}

	x.mu.Lock()
	defer x.mu.Unlock()
	x.expire(now)
	if old := x.byInode[cg.Inode]; old != nil {
		if old.cg.Path == cg.Path && (old.alive() || !cg.FirstSeen.After(old.cg.Gone)) {
			return
		}
		x.bury(old, cg.FirstSeen) // if alive, it was renamed: cgroup v1 allows that
	}
	if old := x.byPath[cg.Path]; old != nil && old.alive() {
		if cg.Inode == 0 {
			return // nothing that would be better than what is known
		}
		x.bury(old, cg.FirstSeen)
	}
	x.insert(&record{cg: &cg})
	x.trim()
}

func (x *Index) insert(r *record) {
	x.byPath[r.cg.Path] = r
	if r.cg.Inode != 0 {
		x.byInode[r.cg.Inode] = r
	}
	x.live++
	if r.cg.Inner != "" {
		return
	}
	x.counts[r.cg.Class]++
	if r.cg.ID == "" {
		return
	}
	if old := x.byID[r.cg.ID]; old != nil && old.alive() {
		r.sameID = old
	}
	x.byID[r.cg.ID] = r
}

// Remove marks a directory as gone at the given time (now if zero). With an
// inode of 0 it is whichever lives under path. Removing what is unknown, dead,
// or has been replaced under its path changes nothing.
func (x *Index) Remove(path string, inode uint64, at time.Time) {
	now := x.now()
	if at.IsZero() {
		at = now
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.expire(now)
	if r := x.byPath[path]; r != nil && (inode == 0 || r.cg.Inode == inode) {
		x.bury(r, at)
		x.trim()
	}
}

// bury turns a live record into a dead one.
func (x *Index) bury(r *record, at time.Time) {
	if !r.alive() {
		return
	}
	gone := *r.cg
	gone.Gone = at
	r.cg = &gone
	x.dead.push(r)
	x.live--
	if gone.Inner != "" {
		return
	}
	x.counts[gone.Class]--
	if gone.ID != "" {
		x.unlinkID(r)
	}
}

// unlinkID takes r out of the list of the living; the last one stays, dead.
func (x *Index) unlinkID(r *record) {
	next := r.sameID
	r.sameID = nil
	if head := x.byID[r.cg.ID]; head != r {
		for head != nil && head.sameID != r {
			head = head.sameID
		}
		if head != nil {
			head.sameID = next
		}
		return
	}
	if next != nil {
		x.byID[r.cg.ID] = next
	}
}

// expire forgets the dead whose grace period is over.
func (x *Index) expire(now time.Time) {
	for x.dead.len > 0 && x.expired(x.dead.head.cg, now) {
		x.forget(x.dead.pop())
	}
}

// trim keeps the number of the dead within its bound.
func (x *Index) trim() {
	for x.dead.len > x.maxDead {
		x.forget(x.dead.pop())
		x.evicted++
	}
}

func (x *Index) expired(cg *Cgroup, now time.Time) bool {
	return now.Sub(cg.Gone) >= x.grace
}

func (x *Index) forget(r *record) {
	if x.byPath[r.cg.Path] == r {
		delete(x.byPath, r.cg.Path)
	}
	if x.byInode[r.cg.Inode] == r {
		delete(x.byInode, r.cg.Inode)
	}
	if x.byID[r.cg.ID] == r {
		delete(x.byID, r.cg.ID)
	}
}

// ByPath finds a directory by its cgroup path.
func (x *Index) ByPath(path string) (*Cgroup, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.answer(x.byPath[path])
}

// ByInode finds a directory by its cgroup id.
func (x *Index) ByInode(inode uint64) (*Cgroup, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.answer(x.byInode[inode])
}

// ByID finds the root directory of a container, sandbox, build or virtual
// machine. If several have the same name, the one that was added last.
func (x *Index) ByID(id string) (*Cgroup, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.answer(x.byID[id])
}

// answer hides the dead that are only waiting to be forgotten.
func (x *Index) answer(r *record) (*Cgroup, bool) {
	if r == nil || !r.alive() && x.expired(r.cg, x.now()) {
		return nil, false
	}
	return r.cg, true
}

// Live iterates over the live directories as of the call, in no order. The
// Index may be used, and changed, within the loop.
func (x *Index) Live() iter.Seq[*Cgroup] {
	return func(yield func(*Cgroup) bool) {
		for _, cg := range x.snapshot() {
			if !yield(cg) {
				return
			}
		}
	}
}

func (x *Index) snapshot() []*Cgroup {
	x.mu.RLock()
	defer x.mu.RUnlock()
	all := make([]*Cgroup, 0, x.live)
	for _, r := range x.byPath {
		if r.alive() {
			all = append(all, r.cg)
		}
	}
	return all
}

// Counts returns how many live root directories there are of each class:
// directories within a container or service count as part of it.
func (x *Index) Counts() map[Class]int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	counts := make(map[Class]int, len(x.counts))
	for class, n := range x.counts {
		if n > 0 {
			counts[Class(class)] = n
		}
	}
	return counts
}

// Stats returns the current sizes.
func (x *Index) Stats() IndexStats {
	now := x.now()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.expire(now)
	return IndexStats{Live: x.live, Dead: x.dead.len, Evicted: x.evicted}
}

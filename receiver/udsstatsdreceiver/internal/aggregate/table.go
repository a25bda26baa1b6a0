package aggregate

import (
	"hash/maphash"
	"math/bits"
	"sync"
	"time"

	"github.com/tallymanhq/tallyman/internal/expohist"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/dogstatsd"
)

// Origin is who sent a sample, as the caller numbers them.
type Origin uint64

// Settings are what a table is made with.
type Settings struct {
	// Cumulative keeps sums and histograms from flush to flush.
	Cumulative bool
	// Policy is asked for each name at first sight; nil keeps all as they are.
	Policy Policy
	// Limits that are zero are as [DefaultLimits] has them.
	Limits Limits
	// Expiry is how long a context is remembered unseen; 5 minutes if 0. Up to a
	// fifth more may pass.
	Expiry time.Duration
	// MaxAhead is how far in the future a timestamp may be; 10 minutes if 0.
	MaxAhead time.Duration
	// Seed must be the same for tables that are merged; the zero value makes one.
	Seed maphash.Seed
	// Now is the clock; time.Now if nil.
	Now func() time.Time
}

// Table adds up samples. Make it with [New]; see the package for who may call
// what.
type Table struct {
	mu       sync.Mutex // guards all but settings
	flushing sync.Mutex // one flush, merge or move at a time; taken before mu
	settings Settings
	base     time.Time // when the table was made; seconds count from here
	// overflowLimits and moveLimits are made of those of the settings.
	overflowLimits, moveLimits Limits

	now      int64  // Unix nanoseconds, of the present lock
	second   uint32 // since base, by the monotonic clock
	raw      rawIndex
	known    textIndex
	texts    texts
	contexts pool[context]
	owners   pool[owner]
	byOrigin map[Origin]uint32
	charged  int               // owners that another one pays for
	refused  map[Origin]Origin // the payers of origins that found no place
	active   []uint32          // owners with listed contexts

	histograms  pool[expohist.Histogram]
	sets        pool[set]
	lates       pool[late]
	bodies      int // bytes that the three have allocated, and signed names
	live        int // contexts but for those of overflow, and those that will be removed
	overflow    int // contexts of overflow, likewise
	blockedKeys int
	nobody      Counts // of origins that have no place

	sight     sight
	batch     batch
	spare     []uint32 // the active of the flush before
	swept     uint32   // the second of the last sweep
	sweepSoon bool
}

// New returns an empty table.
func New(s Settings) *Table {
	s.Limits = s.Limits.orDefault()
	if s.Expiry == 0 {
		s.Expiry = 5 * time.Minute
	}
	if s.MaxAhead == 0 {
		s.MaxAhead = 10 * time.Minute
	}
	if s.Seed == (maphash.Seed{}) {
		s.Seed = maphash.MakeSeed()
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	return &Table{
		settings: s, base: s.Now(), byOrigin: map[Origin]uint32{}, refused: map[Origin]Origin{},
		overflowLimits: s.Limits.forOverflow(), moveLimits: s.Limits.forMove(),
	}
}

// Lock begins a batch of samples.
func (t *Table) Lock() {
	t.mu.Lock()
	t.tick()
}

// Unlock ends the batch.
func (t *Table) Unlock() { t.mu.Unlock() }

func (t *Table) tick() {
	now := t.settings.Now()
	t.now = now.UnixNano()
	t.second = uint32(max(0, now.Sub(t.base)/time.Second))
}

// Add adds one sample of an origin. The table must be locked; nothing of the
// sample is kept.
func (t *Table) Add(origin Origin, s *dogstatsd.Sample) {
	key := t.key(origin, s)
	ref := t.raw.find(key)
	if ref == 0 {
		ref = t.firstSight(key, origin, s)
	}
	if ref == blocked {
		t.countFor(origin, Blocked)
		return
	}
	if ref == 0 {
		return
	}
	c := t.contexts.at(ref)
	if s.Timestamp != 0 {
		t.addLate(ref, s)
		return
	}
	if c.flags&valued == 0 {
		t.touch(ref)
		c.flags |= valued
	}
	switch s.Type {
	case dogstatsd.Counter:
		t.count(c, s)
	case dogstatsd.Gauge:
		c.sum = s.Values[len(s.Values)-1]
		c.rest = float64(t.now)
	case dogstatsd.Set:
		t.include(ref, maphash.Bytes(t.settings.Seed, s.Member))
	default:
		t.observe(ref, s)
	}
}

// key is the hash of a sample as sent.
func (t *Table) key(origin Origin, s *dogstatsd.Sample) uint64 {
	h := maphash.Bytes(t.settings.Seed, s.Name)
	if len(s.Tags) > 0 {
		h = mix(h, maphash.Bytes(t.settings.Seed, s.Tags))
	}
	return mix(h^uint64(s.Type), uint64(origin))
}

// mix joins two hashes as wyhash does: the halves of a product. The numbers are
// the fraction of the golden ratio and wyhash's first secret; any odd number
// with as many ones as zeros would do.
func mix(a, b uint64) uint64 {
	high, low := bits.Mul64(a^0x9E3779B97F4A7C15, b^0xA0761D6478BD642F)
	return high ^ low
}

// Len is the number of contexts, without those of overflow.
func (t *Table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.live
}

// Bytes is what the table has allocated for contexts and their text.
func (t *Table) Bytes() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.bytes()
}

func (t *Table) bytes() int {
	return t.raw.bytes() + t.known.bytes() + t.texts.size + t.bodies + refusedBytes*len(t.refused) +
		t.contexts.bytes() + t.owners.bytes() + t.histograms.bytes() + t.sets.bytes() + t.lates.bytes()
}

// refusedBytes is a place in a map of two numbers, which may be half empty.
const refusedBytes = 32

// room tells whether there is memory for n bytes more.
func (t *Table) room(n int, l *Limits) bool { return t.bytes()+n <= l.Bytes }

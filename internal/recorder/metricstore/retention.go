package metricstore

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/tsdb"
)

// Pin keeps what is recorded between from and to, both included, until release
// is called. The release may be called more than once.
func (s *Store) Pin(from, to time.Time) (release func()) {
	pin := &span{from.UnixMilli(), to.UnixMilli()}
	s.pinMu.Lock()
	defer s.pinMu.Unlock()
	s.pins[pin] = struct{}{}
	return func() {
		s.pinMu.Lock()
		defer s.pinMu.Unlock()
		delete(s.pins, pin)
		s.hurry.Store(true)
	}
}

// deletable is asked by the TSDB which blocks may go: those that are condemned,
// and from the oldest on those beyond the retention or the budget. A pinned one
// stays, whatever that costs: a pin lasts minutes.
func (s *Store) deletable(blocks []*tsdb.Block) map[ulid.ULID]struct{} {
	s.pinMu.Lock()
	defer s.pinMu.Unlock()
	gone := map[ulid.ULID]struct{}{}
	bytes, covered := s.logBytes(), int64(0)
	start, over, now := int64(math.MaxInt64), false, s.opts.Now().UnixMilli()
	for _, b := range newestFirst(blocks, s.horizon()) {
		meta := b.Meta()
		_, condemned := s.condemned[meta.ULID]
		bytes += b.Size()
		over = over || s.opts.MaxBytes > 0 && bytes > s.opts.MaxBytes
		if covered >= s.opts.Retention.Milliseconds() || over || condemned || meta.Compaction.Deletable {
			if condemned || !s.isPinned(meta) {
				gone[meta.ULID] = struct{}{}
				bytes -= b.Size()
			}
			continue
		}
		// Blocks of late samples lie over others and must not count twice. One that was
		// closed off when the clock went back may reach from its last right time into a
		// wrong one, which nobody recorded.
		if end := min(meta.MaxTime, start, now); end > meta.MinTime {
			covered += end - meta.MinTime
		}
		start = min(start, meta.MinTime)
	}
	return gone
}

// horizon is the time after which nothing can have been recorded by the clock
// that the host has now.
func (s *Store) horizon() int64 {
	return s.opts.Now().Add(s.opts.OutOfOrder).UnixMilli()
}

// newestFirst sorts blocks by what they are worth: the newest first, those from
// before the clock went back last.
func newestFirst(blocks []*tsdb.Block, horizon int64) []*tsdb.Block {
	rank := func(b *tsdb.Block) int64 {
		if b.MinTime() > horizon {
			return math.MinInt64
		}
		return b.MinTime()
	}
	sorted := slices.Clone(blocks)
	slices.SortStableFunc(sorted, func(a, b *tsdb.Block) int { return cmp.Compare(rank(b), rank(a)) })
	return sorted
}

func (s *Store) isPinned(meta tsdb.BlockMeta) bool {
	for pin := range s.pins {
		if meta.MinTime <= pin.to && pin.from < meta.MaxTime {
			return true
		}
	}
	return false
}

// condemnOldest marks the block that is worth least for deletion. It returns
// false when there is none that may go.
func (s *Store) condemnOldest(blocks []*tsdb.Block) bool {
	sorted := newestFirst(blocks, s.horizon())
	s.pinMu.Lock()
	defer s.pinMu.Unlock()
	for _, b := range slices.Backward(sorted) {
		if !s.isPinned(b.Meta()) {
			s.condemned[b.Meta().ULID] = struct{}{}
			s.hurry.Store(true)
			return true
		}
	}
	return false
}

// forget drops marks of blocks that are gone.
func (s *Store) forget(blocks []*tsdb.Block) {
	s.pinMu.Lock()
	defer s.pinMu.Unlock()
	for id := range s.condemned {
		if !slices.ContainsFunc(blocks, func(b *tsdb.Block) bool { return b.Meta().ULID == id }) {
			delete(s.condemned, id)
		}
	}
}

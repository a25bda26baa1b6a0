package metricstore

import (
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/prometheus/tsdb"
)

// Stats is the state of a store at one moment. Bytes are those on disk; times
// are zero while there are no samples.
type Stats struct {
	Mode Mode
	// Series is how many series the head holds: those of the last 20 minutes.
	Series int
	// Samples and Dropped count since Open. What was taken into memory while the disk
	// was full, and refused by the disk afterwards, is in both.
	Samples uint64
	Dropped map[string]uint64
	Bytes   Bytes
	Blocks  int
	// Oldest and Newest are the times of the samples that bound what is kept.
	Oldest, Newest time.Time
	// Retention is how much of what was asked for the budget lets stay: the time
	// between Oldest and Newest, at most what was asked for.
	Retention time.Duration
	// OverBudget is set when log and head alone exceed the budget, because more
	// samples come than it was made for.
	OverBudget bool
	// Repaired counts blocks that were found damaged since Open and replaced by
	// what was whole of them. Repairs tells of the newest ones, oldest first.
	Repaired uint64
	Repairs  []Repair
}

// Bytes on disk, by what they are for.
type Bytes struct {
	Blocks, Log, Head, Corrupt int64
}

// NameCount is a metric name and how many series it has.
type NameCount struct {
	Name   string
	Series int
}

// Stats looks at the store. It reads folders, which takes about a millisecond.
func (s *Store) Stats() Stats {
	st := Stats{Mode: s.mode()}
	s.mu.Lock()
	st.Samples, st.Dropped = s.count.samples, maps.Clone(s.count.dropped)
	s.mu.Unlock()
	s.pinMu.Lock()
	st.Repaired, st.Repairs = s.repaired, slices.Clone(s.repairs)
	s.pinMu.Unlock()
	st.Bytes.Log = treeBytes(filepath.Join(s.rawDB, "wal")) + treeBytes(filepath.Join(s.rawDB, "wbl"))
	st.Bytes.Head = treeBytes(filepath.Join(s.rawDB, "chunks_head"))
	st.Bytes.Corrupt = treeBytes(filepath.Join(s.opts.Dir, corruptDir))
	st.OverBudget = s.opts.MaxBytes > 0 && st.Bytes.Log+st.Bytes.Head > s.opts.MaxBytes
	db := s.disk.acquire()
	if db == nil {
		return st
	}
	defer s.disk.release()
	st.Series = int(db.Head().NumSeries())
	st.Blocks = len(db.Blocks())
	for _, b := range db.Blocks() {
		st.Bytes.Blocks += b.Size()
	}
	if from, to := s.times(db); from <= to {
		st.Oldest, st.Newest = time.UnixMilli(from), time.UnixMilli(to)
		st.Retention = min(s.opts.Retention, st.Newest.Sub(st.Oldest))
	}
	return st
}

// times returns the times that bound what is kept on disk and in memory.
func (s *Store) times(db *tsdb.DB) (from, to int64) {
	from, to = timeRange(db)
	if head := s.ram.acquire(); head != nil {
		defer s.ram.release()
		if head.NumSeries() > 0 {
			from, to = min(from, head.MinTime()), max(to, head.MaxTime())
		}
	}
	return from, to
}

// TopMetrics returns the names with most series in the head, most first.
func (s *Store) TopMetrics(limit int) []NameCount {
	db := s.disk.acquire()
	if db == nil {
		return nil
	}
	defer s.disk.release()
	var top []NameCount
	for _, stat := range db.Head().PostingsCardinalityStats(nameLabel, limit).CardinalityMetricsStats {
		top = append(top, NameCount{stat.Name, int(stat.Count)})
	}
	return top
}

// Families says what the samples of each metric name mean, by name. Names of the
// parts of a histogram (_bucket, _count, _sum) are not in it, that of the whole is.
func (s *Store) Families() map[string]Family {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.table.families)
}

// logBytes is what log and head take on disk: what retention cannot free.
func (s *Store) logBytes() int64 {
	var total int64
	for _, name := range []string{"wal", "wbl", "chunks_head"} {
		total += treeBytes(filepath.Join(s.rawDB, name))
	}
	return total
}

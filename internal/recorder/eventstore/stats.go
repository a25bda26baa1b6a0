package eventstore

import (
	"maps"
	"math"
	"time"
)

// Stats describe a store at one moment.
type Stats struct {
	// Taken counts the events that Append took since Open.
	Taken uint64
	// Stored is how many events can be read, InMemory how many of them are
	// not on disk yet.
	Stored, InMemory uint64
	// Bytes is the size of the files, and Segments their number. Those of an
	// unknown format count.
	Bytes    int64
	Segments int
	// Frames is the number of frames on disk, UnknownFrames how many of them
	// have a kind that this program does not know.
	Frames, UnknownFrames int
	// Oldest is the time of the earliest event, zero if there is none.
	Oldest time.Time
	// Dropped counts events by reason since Open.
	Dropped map[string]uint64
	// Damaged counts since Open how often a frame could not be read.
	Damaged uint64
	// Disk is why the disk takes no events at present, nil if it does. Only
	// the newest are in memory then.
	Disk error
	// Feeds is the number of subscriptions.
	Feeds int
}

// Stats describes the store as it is now.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := Stats{
		Taken: s.counts.events, Damaged: s.counts.damaged, Dropped: maps.Clone(s.counts.dropped),
		InMemory: uint64(len(s.pending.records) + s.kept.events()), Bytes: s.used(), Segments: len(s.segments),
		Disk: s.kept.reason, Feeds: s.feeds.count(),
	}
	stats.Stored = stats.InMemory
	oldest := int64(math.MaxInt64)
	note := func(of *segment) {
		first, _ := of.span()
		oldest = min(oldest, first)
		for i := range of.frames {
			stats.Frames++
			if of.frames[i].kind == frameEvents {
				stats.Stored += uint64(of.frames[i].events)
			} else {
				stats.UnknownFrames++
			}
		}
	}
	for _, each := range s.segments {
		note(each)
	}
	if s.current != nil {
		stats.Segments++
		note(s.current.segment)
	}
	if oldest != math.MaxInt64 {
		stats.Oldest = time.Unix(0, oldest)
	}
	return stats
}

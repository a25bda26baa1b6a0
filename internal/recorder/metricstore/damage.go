package metricstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/encoding"
)

const (
	// verifyEvery is how often blocks are read through at most when none was found
	// damaged. It takes a second for each 100 million samples, and a query may fail
	// again and again.
	verifyEvery = 10 * time.Minute
	// maxRepairs is how many repairs are told of: six hours have 24 blocks.
	maxRepairs = 24
)

// ErrDamaged says that a query met samples that do not have their checksum. What
// is whole is answered from a few seconds later on.
var ErrDamaged = errors.New("a block of metrics is damaged (it is being replaced by what is whole of it)")

// Repair tells of a block that was damaged and what could be saved of it.
type Repair struct {
	Block    string    // the name of its folder
	From, To time.Time // what it covers
	At       time.Time // when it was found
	Series   int       // how many series lost samples
	// Samples is how many there were, and Saved how many of them still are. The
	// block is replaced by one that holds these, or deleted when there is none.
	Samples, Saved uint64
}

// Text tells it in one sentence, with times in UTC.
func (r Repair) Text() string {
	return fmt.Sprintf("metrics of %s to %s were damaged on disk (block %s, found at %s): %d of %d samples are saved, %d series have gaps",
		r.From.UTC().Format(time.RFC3339), r.To.UTC().Format(time.RFC3339), r.Block, r.At.UTC().Format(time.RFC3339),
		r.Saved, r.Samples, r.Series)
}

// isDamage knows what the TSDB says when a chunk, or a piece of an index, does not
// have its checksum. It does not say in which block that is.
func isDamage(err error) bool {
	return strings.Contains(err.Error(), "cannot populate chunk") ||
		errors.Is(err, encoding.ErrInvalidChecksum) || errors.Is(err, encoding.ErrInvalidSize)
}

// suspect is told that a reader met damage.
func (s *Store) suspect() {
	if !s.suspicion.Load() { // the same for each sample: no write to shared memory
		s.suspicion.Store(true)
	}
}

// salvage replaces damaged blocks by copies of what is whole, if a reader met one.
func (s *Store) salvage(ctx context.Context, db *tsdb.DB) error {
	now := s.opts.Now()
	if !s.suspicion.Load() || now.Sub(s.verified).Abs() < verifyEvery {
		return nil
	}
	s.suspicion.Store(false)
	found := false
	var errs []error
	for _, b := range db.Blocks() {
		if s.isCondemned(b.Meta().ULID) {
			continue
		}
		err := isWhole(ctx, b)
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		found = true
		if err := s.replace(ctx, b); err != nil {
			errs = append(errs, fmt.Errorf("save what is whole of block %s: %w", b.Meta().ULID, err))
		}
	}
	if !found || len(errs) > 0 {
		s.verified = now
	} else { // who reads meanwhile meets the same
		s.suspicion.Store(false)
	}
	return errors.Join(errs...)
}

// replace puts a copy in the place of a damaged block, and tells of it.
func (s *Store) replace(ctx context.Context, b *tsdb.Block) error {
	meta := b.Meta()
	saved, err := s.copyWhole(ctx, b)
	if err != nil {
		return err
	}
	r := Repair{
		Block: meta.ULID.String(), From: time.UnixMilli(meta.MinTime), To: time.UnixMilli(meta.MaxTime),
		At: s.opts.Now(), Series: saved.Damaged, Samples: meta.Stats.NumSamples, Saved: uint64(saved.Samples),
	}
	s.opts.Log.Warn("a block of metrics was damaged and is replaced by what is whole of it",
		"block", r.Block, "from", r.From.UTC(), "to", r.To.UTC(), "samples", r.Samples, "saved", r.Saved, "series_with_gaps", r.Series)
	s.pinMu.Lock()
	defer s.pinMu.Unlock()
	s.condemned[meta.ULID] = struct{}{}
	s.hurry.Store(true)
	s.repaired++
	if s.repairs = append(s.repairs, r); len(s.repairs) > maxRepairs {
		s.repairs = s.repairs[1:]
	}
	return nil
}

func (s *Store) isCondemned(id ulid.ULID) bool {
	s.pinMu.Lock()
	defer s.pinMu.Unlock()
	_, ok := s.condemned[id]
	return ok
}

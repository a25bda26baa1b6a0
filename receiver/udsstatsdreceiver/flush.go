package udsstatsdreceiver

import (
	"context"
	"time"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/aggregate"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/origin"
)

// settleEvery is how often records are tried whose sender is not known yet: the
// process stream is up to 100 ms late.
const settleEvery = 100 * time.Millisecond

// settle puts what pending origins have sent to the accounts of who they turned
// out to be. With last nobody is waited for.
func (s *server) settle(last bool) {
	if s.resolver == nil {
		return
	}
	type move struct{ from, to aggregate.Origin }
	var moves []move
	s.table.Lock()
	for _, a := range s.book.accounts {
		if a.origin.Kind != origin.KindPending {
			continue
		}
		final, ok := s.resolver.Settle(a.origin, last)
		if !ok {
			continue
		}
		to := s.book.account(final)
		a.tally.moveTo(&to.tally)
		s.book.close(a)
		moves = append(moves, move{a.id, to.id})
	}
	s.table.Unlock()
	for _, m := range moves {
		if err := s.table.Move(m.from, m.to); err != nil {
			s.ended("origin_detection", err) // another seed or the same table: cannot be
		}
	}
}

// lose counts points that were not to be handed on.
func (s *server) lose(reason string, n int) {
	if n == 0 {
		return
	}
	s.table.Lock()
	defer s.table.Unlock()
	s.book.gone.dropped.add(reason, uint64(n))
}

// takeCounts books what the table has counted, so that it can forget who is gone.
func (s *server) takeCounts() {
	s.table.Counts(func(id aggregate.Origin, counts aggregate.Counts) {
		if a := s.book.byID[id]; a != nil {
			a.take(counts)
			return
		}
		s.book.gone.take(counts)
	})
}

// flush hands out all points of settled origins, and forgets who has not sent
// for long.
func (s *server) flush(last bool, each func(*origin.Origin, []aggregate.Point)) {
	s.takeCounts()
	s.settle(last)
	s.explain()
	ready := func(id aggregate.Origin) bool {
		a := s.book.byID[id]
		return a == nil || last || a.origin.Kind != origin.KindPending
	}
	s.table.Flush(ready, func(id aggregate.Origin, points []aggregate.Point) {
		each(s.originOf(id), points)
	})
	s.table.Lock()
	defer s.table.Unlock()
	s.book.flush++
	// The table remembers a context for a fifth longer than expiry.
	s.book.expire(uint64(2*s.cfg.Expiry/s.cfg.AggregationInterval) + 2)
}

func (s *server) originOf(id aggregate.Origin) *origin.Origin {
	s.table.Lock()
	defer s.table.Unlock()
	if a := s.book.byID[id]; a != nil {
		return a.origin
	}
	return s.nobody
}

// everyInterval calls f until ctx ends.
func (s *server) everyInterval(ctx context.Context, f func()) {
	ticker := time.NewTicker(s.cfg.AggregationInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			f()
		case <-ctx.Done():
			return
		}
	}
}

// eachRecord calls f with the records that can be told, as they come, until ctx
// ends. What is left then is for takeRecords.
func (s *server) eachRecord(ctx context.Context, f func([]record)) {
	timer := time.NewTimer(settleEvery)
	defer timer.Stop()
	for {
		select {
		case <-s.records.wake:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		if isLeft := s.takeRecords(false, f); isLeft {
			timer.Reset(settleEvery)
		}
	}
}

// takeRecords calls f with the records whose sender is known, or with last with
// all there are. It is true if some are left.
func (s *server) takeRecords(last bool, f func([]record)) (isLeft bool) {
	told, isLeft := s.records.take(func(o *origin.Origin) (*origin.Origin, bool) {
		if s.resolver == nil {
			return o, true
		}
		return s.resolver.Settle(o, last)
	})
	if len(told) > 0 {
		f(told)
	}
	return isLeft
}

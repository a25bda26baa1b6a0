package metricstore

import "github.com/prometheus/prometheus/storage"

// steps are the numbers of a resource in the order in which they came: who sends
// metrics each second sends them in the same order. The next step is tried first,
// and compared in full; only what differs is looked up in the maps of the table.
//
// All that a sample needs is in its step, and the steps lie side by side: with
// 12,000 series nothing of the table is in the processor's caches, and what it
// waits for memory is most of what a sample costs.
type steps struct {
	list []step
	at   int // what is expected next
}

// step is one number. Without a point it is empty.
type step struct {
	pointKey
	ref   storage.SeriesRef // 0: not known
	seen  int64
	last  int64 // time of the last sample, milliseconds
	point *point
}

// begin expects the first step.
func (s *steps) begin() { s.at = 0 }

// next returns the step that is expected, if it is the one that is looked for.
func (s *steps) next(f *feed) *step {
	if s.at >= len(s.list) {
		return nil
	}
	st := &s.list[s.at]
	if st.attributes != string(f.table.key) || st.name != f.name || st.unit != f.unit || st.kind != f.kind || st.point == nil {
		return nil
	}
	s.at++
	return st
}

// take returns the step of a point that is not the expected one. The one that
// came after it the last time is expected now. A new one is put at the end, and
// what was expected before it still is.
func (s *steps) take(f *feed, p *point) *step {
	if p.place == 0 {
		s.list = append(s.list, step{pointKey: f.pointKey(), point: p})
		p.place = len(s.list)
		if s.at == len(s.list)-1 {
			s.at++
		}
	} else {
		s.at = p.place
	}
	return &s.list[p.place-1]
}

// forget empties the step of a point.
func (s *steps) forget(p *point) {
	if p.place > 0 {
		s.list[p.place-1] = step{}
		p.place = 0
	}
}

// forgetRefs makes all steps look their series up again.
func (s *steps) forgetRefs() {
	for i := range s.list {
		s.list[i].ref = 0
	}
}

// settle tells the points when they were seen.
func (s *steps) settle() {
	for i := range s.list {
		if st := &s.list[i]; st.point != nil {
			st.point.seen = st.seen
		}
	}
}

// close closes the gaps that were left by forget.
func (s *steps) close() {
	kept := s.list[:0]
	for _, st := range s.list {
		if st.point != nil {
			kept = append(kept, st)
			st.point.place = len(kept)
		}
	}
	clear(s.list[len(kept):])
	s.list = kept
}

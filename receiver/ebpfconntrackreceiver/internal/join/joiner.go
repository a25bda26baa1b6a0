package join

import "time"

// Joiner keeps ends until their other ends are found, or have not come. It is for
// one goroutine. T is what the caller keeps with an end.
type Joiner[T any] struct {
	table  table
	values []T
	free   []int32
}

// New returns an empty joiner.
func New[T any](o Options) *Joiner[T] {
	return &Joiner[T]{table: newTable(o.orDefaults())}
}

// Add takes an end, always. full says that MaxWaiting ends wait: who adds more
// before Take uses more memory than that. now is a time of any clock that does not
// go back; End's times may be of another one.
func (j *Joiner[T]) Add(now time.Duration, end End, value T) (full bool) {
	at := j.keep(value)
	return j.table.add(now, &end, at)
}

// Take hands out each end that is found, not wanted, or has waited long enough, in
// the order of their arrival. The pointers are good until each returns, which must
// not call the joiner.
func (j *Joiner[T]) Take(now time.Duration, each func(*End, *T, Found)) {
	j.table.advance(now)
	j.handOut(each)
	for range j.table.excess() {
		j.hand(j.table.waiting.first, j.table.crowd(), each)
	}
	j.table.forget()
}

// Flush hands out all that wait, with what is known, and forgets the rest.
func (j *Joiner[T]) Flush(each func(*End, *T, Found)) {
	j.table.finish(true)
	j.handOut(each)
	j.table.finish(false)
	j.table.forgetAll()
}

// Lost tells that ends were lost on their way here. The legs of docker-proxy of that
// time are not matched: what is left could look like one connection, and be of two.
func (j *Joiner[T]) Lost(now time.Duration) {
	j.table.now = max(j.table.now, now)
	j.table.gap()
}

// Stats returns the figures.
func (j *Joiner[T]) Stats() Stats {
	s := j.table.stats
	s.Waiting, s.Remembered = j.table.waiting.size, j.table.remembered.size
	return s
}

func (j *Joiner[T]) handOut(each func(*End, *T, Found)) {
	for at := j.table.waiting.first; at != none; {
		next := j.table.slots[at].next
		if answer, done := j.table.look(at); done {
			j.hand(at, answer, each)
		}
		at = next
	}
}

func (j *Joiner[T]) hand(at int32, answer Found, each func(*End, *T, Found)) {
	s := &j.table.slots[at]
	value := s.value
	each(&s.end, &j.values[value], answer)
	var zero T
	j.values[value] = zero
	j.free = append(j.free, value)
	j.table.handed(at, answer)
}

func (j *Joiner[T]) keep(value T) int32 {
	if last := len(j.free) - 1; last >= 0 {
		at := j.free[last]
		j.free = j.free[:last]
		j.values[at] = value
		return at
	}
	j.values = append(j.values, value)
	return int32(len(j.values) - 1)
}

package live

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
)

// Seconds is how many ticks a row remembers.
const Seconds = 120

// defaultMax is ten times the containers of a large host, 19 MB.
const defaultMax = 2000

// Options are what the owner decides.
type Options struct {
	// MaxContainers bounds the rows; 0 stands for 2,000.
	MaxContainers int
}

// Live is the ring of all rows.
type Live struct {
	max int

	mu   sync.Mutex
	byID map[string]*row
	rows []*row
	// tick counts from 1; at is when the last was, and column where it is.
	tick   uint64
	at     time.Time
	column int
	// gone are the rows that went last, the newest last.
	gone []departure
	// touched are the rows of the batch that is being taken.
	touched []*row
	// noPlace and late count points that were not taken.
	noPlace, late uint64
}

type departure struct {
	id   string
	tick uint64
}

// row is one container.
type row struct {
	id     string
	meters [slots]meter
	newest [Metrics]value
	// last is what the last tick saw.
	last [Metrics]float32
	ring [Metrics][Seconds]float32
	// changed is the tick at which last became another.
	changed uint64
	// silent is for how many ticks all was NaN.
	silent  int
	touched bool
	// ended is when the container has (Unix ns). What is not younger is its past.
	ended int64
}

// New makes a ring without rows.
func New(o Options) *Live {
	return &Live{max: cmp.Or(o.MaxContainers, defaultMax), byID: map[string]*row{}}
}

// Tick makes the newest numbers those of a second. Rows without any for two
// minutes go.
func (l *Live) Tick(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tick++
	l.at, l.column = now, int(l.tick%Seconds)
	ns := now.UnixNano()
	for i := 0; i < len(l.rows); {
		l.advance(l.rows[i], ns)
		if l.rows[i].silent < Seconds {
			i++
			continue
		}
		l.remove(i)
	}
}

func (l *Live) advance(r *row, now int64) {
	known, changed := false, false
	for m := range Metrics {
		v := r.newest[m].at(now)
		known = known || !isNaN(v)
		changed = changed || !same(v, r.last[m])
		r.last[m], r.ring[m][l.column] = v, v
	}
	if changed {
		r.changed = l.tick
	}
	r.silent++
	if known {
		r.silent = 0
	}
}

// remove takes out the row at an index and puts the last one into its place.
func (l *Live) remove(i int) {
	r, end := l.rows[i], len(l.rows)-1
	l.rows[i], l.rows[end] = l.rows[end], nil
	l.rows = l.rows[:end]
	delete(l.byID, r.id)
	if len(l.gone) >= l.max {
		l.gone = slices.Delete(l.gone, 0, 1+l.max/2)
	}
	l.gone = append(l.gone, departure{r.id, l.tick})
}

// row finds or makes the row of an id; nil if there is no place.
func (l *Live) row(id string) *row {
	if r := l.byID[id]; r != nil {
		return r
	}
	if len(l.rows) >= l.max && !l.makeRoom() {
		return nil
	}
	r := &row{id: strings.Clone(id)}
	for m := range Metrics {
		r.last[m] = nan()
		for i := range r.ring[m] {
			r.ring[m][i] = nan()
		}
	}
	l.byID[r.id] = r
	l.rows = append(l.rows, r)
	return r
}

// makeRoom gives up the row that is silent for longest.
func (l *Live) makeRoom() bool {
	oldest := -1
	for i, r := range l.rows {
		if r.silent > 0 && !r.touched && (oldest < 0 || r.silent > l.rows[oldest].silent) {
			oldest = i
		}
	}
	if oldest < 0 {
		return false
	}
	l.remove(oldest)
	return true
}

// End says that a container has ended: from the next tick on its numbers are not
// known, instead of being held for a while. Its last points, which may come after this,
// bring nothing back; those of one that is started again do.
func (l *Live) End(id string, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.byID[id]; r != nil {
		r.meters, r.newest = [slots]meter{}, [Metrics]value{}
		r.ended = at.UnixNano()
	}
}

// Row is a container's numbers of one tick, NaN for what is not known.
type Row struct {
	ID     string
	Values [Metrics]float32
}

// Delta is what has changed after a tick.
type Delta struct {
	// Tick and At are those of the numbers.
	Tick uint64
	At   time.Time
	Rows []Row
	// Gone are the ids of rows that went and have not come back.
	Gone []string
}

// Delta puts into d the rows that have changed after tick since, with all their
// numbers, and reuses what d has. Of rows that went it knows the last thousand.
func (l *Live) Delta(since uint64, d *Delta) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d.Tick, d.At, d.Rows, d.Gone = l.tick, l.at, d.Rows[:0], d.Gone[:0]
	for _, r := range l.rows {
		if r.changed > since {
			d.Rows = append(d.Rows, Row{ID: r.id, Values: r.last})
		}
	}
	for _, g := range l.gone {
		if g.tick > since && l.byID[g.id] == nil {
			d.Gone = append(d.Gone, g.id)
		}
	}
}

// History is a container's numbers of the last ticks.
type History struct {
	ID string
	// Values has, for each metric, a number per tick, the oldest first.
	Values [Metrics][]float32
}

// Snapshot is all rows with their histories, sorted by id.
type Snapshot struct {
	// Tick and At are those of the newest numbers.
	Tick uint64
	At   time.Time
	Rows []History
}

// Snapshot copies all rows.
func (l *Live) Snapshot() Snapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Snapshot{Tick: l.tick, At: l.at, Rows: make([]History, 0, len(l.rows))}
	for _, r := range l.rows {
		s.Rows = append(s.Rows, l.history(r))
	}
	slices.SortFunc(s.Rows, func(a, b History) int { return cmp.Compare(a.ID, b.ID) })
	return s
}

// History copies the row of a container.
func (l *Live) History(id string) (History, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.byID[id]
	if r == nil {
		return History{}, false
	}
	return l.history(r), true
}

func (l *Live) history(r *row) History {
	n := int(min(l.tick, Seconds))
	h := History{ID: r.id}
	all := make([]float32, 0, n*Metrics)
	for m := range Metrics {
		begin := len(all)
		for i := range n {
			all = append(all, r.ring[m][(l.column+Seconds-n+1+i)%Seconds])
		}
		h.Values[m] = all[begin:len(all):len(all)]
	}
	return h
}

// Stats is how full the ring is.
type Stats struct {
	Rows int
	// Dropped counts points that were not taken, by reason: rows (no place for
	// another container), late (older than what is there).
	Dropped map[string]uint64
}

// Stats returns how full the ring is now.
func (l *Live) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Stats{Rows: len(l.rows), Dropped: map[string]uint64{"rows": l.noPlace, "late": l.late}}
}

func nan() float32 { return float32(math.NaN()) }

func isNaN(v float32) bool { return v != v }

func same(a, b float32) bool { return a == b || isNaN(a) && isNaN(b) }

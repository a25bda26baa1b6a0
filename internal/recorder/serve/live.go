package serve

import (
	"math"
	"sync"
	"time"

	"github.com/tallymanhq/tallyman/internal/recorder/api"
	"github.com/tallymanhq/tallyman/internal/recorder/live"
)

// liveStep is the time between two values of a history: the owner of the ring ticks
// once a second.
const liveStep = time.Second

// Live serves the ring of newest values.
func Live(l *live.Live) api.Live {
	out := &liveSource{ring: l}
	for _, c := range live.Columns() {
		out.columns = append(out.columns, api.Column{Name: c.Name, Unit: c.Unit})
	}
	return out
}

// liveSource translates times to ticks: the ring counts, the API goes by the clock.
type liveSource struct {
	ring    *live.Live
	columns []api.Column

	mu sync.Mutex
	// views are the last that were given, so many as the ring has ticks. Those
	// before are not asked for any more.
	views [live.Seconds]viewed
	given int
	// delta and rows are used again with each Delta.
	delta live.Delta
	rows  []api.LiveRow
}

// viewed is the tick of a view, and its time in ns since 1970.
type viewed struct {
	tick uint64
	at   int64
}

// Columns implements [api.Live].
func (l *liveSource) Columns() (columns []api.Column, step time.Duration) { return l.columns, liveStep }

// Snapshot implements [api.Live].
func (l *liveSource) Snapshot() api.LiveView {
	s := l.ring.Snapshot()
	view := api.LiveView{At: s.At, Rows: make([]api.LiveRow, 0, len(s.Rows))}
	for i := range s.Rows {
		row := api.LiveRow{ID: s.Rows[i].ID, Values: make([]float32, live.Metrics), History: s.Rows[i].Values[:]}
		for m, history := range row.History {
			row.Values[m] = float32(math.NaN())
			if n := len(history); n > 0 {
				row.Values[m] = history[n-1]
			}
		}
		view.Rows = append(view.Rows, row)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.note(s.Tick, s.At)
	return view
}

// Delta implements [api.Live]. After a time that no view had it returns all rows.
func (l *liveSource) Delta(since time.Time) api.LiveView {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ring.Delta(l.tickOf(since), &l.delta)
	l.note(l.delta.Tick, l.delta.At)
	l.rows = l.rows[:0]
	for i := range l.delta.Rows {
		row := &l.delta.Rows[i]
		l.rows = append(l.rows, api.LiveRow{ID: row.ID, Values: row.Values[:]})
	}
	return api.LiveView{At: l.delta.At, Rows: l.rows, Gone: l.delta.Gone}
}

// note remembers a view. Many are of one tick: each client gets one when it comes.
func (l *liveSource) note(tick uint64, at time.Time) {
	if last := l.views[(l.given+live.Seconds-1)%live.Seconds]; last.tick == tick {
		return
	}
	l.views[l.given%live.Seconds] = viewed{tick, at.UnixNano()}
	l.given++
}

// tickOf is the tick of a view, 0 if it is not known. Where the clock was set back
// several may have one time: then the earliest, after which nothing is missed.
func (l *liveSource) tickOf(at time.Time) uint64 {
	tick := uint64(0)
	for _, v := range l.views {
		if v.tick != 0 && v.at == at.UnixNano() && (tick == 0 || v.tick < tick) {
			tick = v.tick
		}
	}
	return tick
}

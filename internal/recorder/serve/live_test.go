package serve

import (
	"math"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/recorder/api"
	"github.com/tallymanhq/tallyman/internal/recorder/live"
)

func ids(view api.LiveView) []string {
	out := []string{}
	for _, row := range view.Rows {
		out = append(out, row.ID)
	}
	return out
}

func TestLive(t *testing.T) {
	ring := live.New(live.Options{})
	source := Live(ring)
	columns, step := source.Columns()
	require.Equal(t, time.Second, step)
	require.Len(t, columns, live.Metrics)
	require.Equal(t, api.Column{Name: "cpu", Unit: "{cpu}"}, columns[0])

	empty := source.Snapshot()
	require.Empty(t, empty.Rows)
	require.Empty(t, source.Delta(empty.At).Rows, "before the first tick")

	ring.Observe(gauge("worker", "a", second(1), 0.5))
	ring.Observe(gauge("api", "b", second(1), 2))
	ring.Tick(second(1))
	view := source.Delta(empty.At)
	require.ElementsMatch(t, []string{"a", "b"}, ids(view))
	require.Equal(t, second(1), view.At)
	require.Len(t, view.Rows[0].Values, live.Metrics)
	require.True(t, math.IsNaN(float64(view.Rows[0].Values[live.Memory])))
	require.Nil(t, view.Rows[0].History)

	ring.Observe(gauge("worker", "a", second(2), 0.75))
	ring.Tick(second(2))
	snapshot := source.Snapshot() // of another client
	require.Equal(t, []string{"a", "b"}, ids(snapshot))
	require.Equal(t, float32(0.75), snapshot.Rows[0].Values[live.CPU])
	require.Equal(t, []float32{0.5, 0.75}, snapshot.Rows[0].History[live.CPU])
	require.Equal(t, []float32{2, 2}, snapshot.Rows[1].History[live.CPU], "held for some seconds")

	next := source.Delta(second(1))
	require.Equal(t, []string{"a"}, ids(next), "what has changed since")
	require.Equal(t, float32(0.75), next.Rows[0].Values[live.CPU])
	require.Empty(t, source.Delta(next.At).Rows)
	require.Len(t, source.Delta(second(-77)).Rows, 2, "a time of no view: all")
	ring.Tick(second(3))
	require.Empty(t, source.Delta(source.Snapshot().At).Rows, "after a snapshot")
}

func TestLiveGone(t *testing.T) {
	ring := live.New(live.Options{})
	source := Live(ring)
	ring.Observe(gauge("worker", "a", second(0), 1))
	ring.Tick(second(0))
	before := source.Delta(time.Time{})
	require.Equal(t, []string{"a"}, ids(before))
	ring.End("a", second(0))
	at := before.At
	for n := 1; n <= 2*live.Seconds; n++ {
		ring.Tick(second(n))
		view := source.Delta(at)
		at = view.At
		if len(view.Gone) > 0 {
			require.Equal(t, []string{"a"}, view.Gone)
			require.Empty(t, source.Delta(at).Gone, "told once")
			return
		}
	}
	t.Fatal("the row never went")
}

// TestLiveClockBack asks after a time that two ticks have.
func TestLiveClockBack(t *testing.T) {
	ring := live.New(live.Options{})
	source := Live(ring)
	ring.Observe(gauge("worker", "a", second(5), 1))
	ring.Tick(second(5))
	at := source.Delta(time.Time{}).At
	ring.Tick(second(5).Add(-time.Hour))
	ring.Observe(gauge("worker", "a", second(5), 3))
	ring.Tick(second(5))
	source.Snapshot()
	require.Equal(t, []string{"a"}, ids(source.Delta(at)))
}

func TestLiveRace(t *testing.T) {
	ring := live.New(live.Options{})
	source := Live(ring)
	quit := make(chan struct{})
	var others sync.WaitGroup
	others.Go(func() {
		for n := 1; ; n++ {
			ring.Observe(gauge("worker", "a", second(n), float64(n)))
			ring.Tick(second(n))
			select {
			case <-quit:
				return
			default:
			}
		}
	})
	for range 4 {
		others.Go(func() {
			for {
				for _, row := range source.Snapshot().Rows {
					if len(row.History) != live.Metrics {
						t.Errorf("%d histories", len(row.History))
					}
				}
				select {
				case <-quit:
					return
				default:
				}
			}
		})
	}
	view, newest := api.LiveView{}, float32(0)
	for newest < 300 {
		view = source.Delta(view.At)
		for _, row := range view.Rows {
			v := row.Values[live.CPU]
			if !math.IsNaN(float64(v)) && v < newest {
				t.Errorf("%v after %v", v, newest)
			}
			newest = max(newest, v)
		}
	}
	close(quit)
	others.Wait()
}

func TestLiveAllocations(t *testing.T) {
	ring := live.New(live.Options{})
	source := Live(ring)
	for _, id := range []string{"a", "b", "c"} {
		ring.Observe(gauge("worker", id, second(1), 1))
	}
	ring.Tick(second(1))
	require.Len(t, source.Delta(time.Time{}).Rows, 3)
	n := 1
	allocations := testing.AllocsPerRun(100, func() {
		n++
		ring.Tick(second(n)) // nothing new: no row, but the time
		source.Delta(second(n - 1))
		source.Delta(time.Time{}) // all rows
	})
	require.Zero(t, allocations)
}

package sampler

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/procstream"
)

// Without a process stream the victim is the largest of those that have gone
// about that time, but for who was started after the kill was counted.
func TestVictimIsOlderThanTheCount(t *testing.T) {
	y := newStory()
	counted := y.s.proc.StartTime(1000)
	y.s.now = func() time.Time { return counted }
	gone := func(comm string, start, rss uint64) *process {
		return &process{Stat: procstream.Stat{PID: int(start), Comm: comm, Start: start, RSS: rss}}
	}
	v, p := &y.t.verdict, &y.t.processes

	p.gone = []*process{gone("tail", 900, 1)}
	y.s.weigh(y.t, counted, 1)
	p.gone = []*process{gone("usleep", 1001, 2)}
	y.s.weigh(y.t, counted, 0)
	v.pending.identify()
	require.Len(t, v.pending.lost, 1)
	require.Equal(t, "tail", v.pending.lost[0].Comm)

	// A second kill, counted later.
	counted = y.s.proc.StartTime(2000)
	p.gone = []*process{gone("hog", 1500, 3), gone("usleep", 2001, 4)}
	y.s.weigh(y.t, counted, 1)
	v.pending.identify()
	require.Len(t, v.pending.lost, 2)
	require.Equal(t, "hog", v.pending.lost[0].Comm)
	require.Equal(t, "tail", v.pending.lost[1].Comm)
}

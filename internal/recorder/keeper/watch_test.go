package keeper

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/recorder/eventstore"
	"github.com/tallymanhq/tallyman/internal/recorder/metricstore"
)

func TestMessages(t *testing.T) {
	f := func(newest, oldest look, broken bool, want ...string) {
		t.Helper()
		texts, isBroken := messages(newest, oldest)
		require.Equal(t, broken, isBroken)
		require.Len(t, texts, len(want), "%q", texts)
		for i := range want {
			require.Contains(t, texts[i], want[i])
		}
	}
	f(look{}, look{}, false)
	f(look{metrics: metricstore.Stats{Mode: metricstore.MemoryOnly}}, look{}, true, "two minutes are kept in memory")
	f(look{events: eventstore.Stats{Disk: errors.New("no space left")}}, look{}, true, "no space left")
	f(look{metrics: metricstore.Stats{OverBudget: true}}, look{}, false, "max_size_mib")
	f(look{metrics: metricstore.Stats{Bytes: metricstore.Bytes{Corrupt: 3 << 20}}}, look{}, false, "3 MiB")
	f(look{metrics: metricstore.Stats{Repaired: 3}}, look{}, false, "3 times")
	f(look{events: eventstore.Stats{Damaged: 2}}, look{}, false, "events on disk are damaged")
	before := look{metrics: metricstore.Stats{Dropped: map[string]uint64{"too_old": 5, "labels": 1}}, queue: 2}
	f(before, before, false)
	after := look{
		metrics: metricstore.Stats{Dropped: map[string]uint64{"too_old": 9, "labels": 1}},
		events:  eventstore.Stats{Dropped: map[string]uint64{"disk": 1}}, queue: 4,
	}
	f(after, before, false, "1 (events: disk), 4 (metrics: too_old), 2 (queue: full)")
}

func TestRate(t *testing.T) {
	require.InDelta(t, 5, rate(15, 5, 2*time.Second), 0)
	require.Zero(t, rate(15, 5, 0), "before the second look")
	require.Zero(t, rate(5, 15, time.Second), "a store that was opened anew")
}

// The looks that are kept are those of the last minute.
func TestRemembered(t *testing.T) {
	k, _ := start(t, options(t.TempDir()))
	begin := time.Now().Add(time.Hour)
	for i := range 2 * remember {
		k.look(begin.Add(time.Duration(i) * time.Second))
	}
	require.LessOrEqual(t, len(k.watch.looks), remember)
	newest, oldest := k.watch.last()
	require.NotZero(t, newest.free)
	require.LessOrEqual(t, newest.at.Sub(oldest.at), time.Hour+2*remember*time.Second)
}

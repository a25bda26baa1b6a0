package ebpfconntrackreceiver

import (
	"net/netip"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/connstream"
)

func endingsOf(change func(*Config)) *endings {
	cfg := createDefaultConfig().(*Config)
	if change != nil {
		change(cfg)
	}
	return newEndings(cfg)
}

// refused is a connection of a container to a port where nobody listens.
func refused(owner string, port uint16) flight {
	f, _ := hairpin()
	f.owner = owner
	f.record.Outcome = connstream.Failed
	f.real.Remote = netip.AddrPortFrom(f.real.Remote.Addr(), port)
	return f
}

// addTimes adds a connection that often.
func (e *endings) addTimes(n int, f flight) {
	for range n {
		e.add(&f)
	}
}

// told are the records that are to be made, and what they say was left out.
func (e *endings) told() (records int, suppressed []uint64) {
	for _, f := range e.take(nil) {
		records++
		if f.suppressed > 0 {
			suppressed = append(suppressed, f.suppressed)
		}
	}
	return records, suppressed
}

func TestEndingsAreBounded(t *testing.T) {
	e := endingsOf(func(cfg *Config) { cfg.Events, cfg.Limits.Events = eventsAll, 2 })
	f, _ := hairpin()
	e.addTimes(5, f)
	queue, rate := e.lost()
	require.EqualValues(t, 3, queue)
	require.Zero(t, rate)
	require.Len(t, e.take(nil), 2)
	require.Empty(t, e.take(nil))
}

func TestNoEndings(t *testing.T) {
	e := endingsOf(func(cfg *Config) { cfg.Events = eventsNone })
	e.addTimes(1, refused("c1", 80))
	e.nextInterval()
	require.Nil(t, e.ready())
	require.Empty(t, e.take(nil))
}

// What was handed over is kept alive by the taker alone.
func TestTakenEndingsAreForgotten(t *testing.T) {
	e := endingsOf(nil)
	e.addTimes(3, refused("c1", 80))
	require.Len(t, e.take(nil), 3)
	require.Equal(t, make([]flight, 3), e.waiting[:3])
}

// Of one kind there are ten records in an interval; the next one says how many
// there were beside them.
func TestEndingsOfOneKind(t *testing.T) {
	e := endingsOf(nil)
	e.addTimes(1000, refused("c1", 80))
	other := refused("c1", 80)
	other.record.Outcome = connstream.Timeout
	e.addTimes(1, other)
	records, suppressed := e.told()
	require.Equal(t, 11, records, "another outcome is another kind")
	require.Empty(t, suppressed)
	_, rate := e.lost()
	require.EqualValues(t, 990, rate)

	e.nextInterval()
	e.nextInterval() // without any
	e.addTimes(3, refused("c1", 80))
	records, suppressed = e.told()
	require.Equal(t, 3, records)
	require.Equal(t, []uint64{990}, suppressed, "told once")

	e.nextInterval()
	e.addTimes(1, refused("c1", 80))
	_, suppressed = e.told()
	require.Empty(t, suppressed, "nothing was left out in between")
}

// A scan makes a kind at each port. It takes nothing from other containers.
func TestEndingsOfScan(t *testing.T) {
	e := endingsOf(nil)
	for port := range uint16(10_000) {
		e.addTimes(1, refused("scanner", port+1))
	}
	e.addTimes(1, refused("c1", 80))
	records, _ := e.told()
	require.Equal(t, 10*perContainer+1, records)
	require.LessOrEqual(t, len(e.throttle.kinds), 10*perHost, "what has no record needs no memory")

	e.nextInterval()
	e.addTimes(2, refused("scanner", 20_000))
	_, suppressed := e.told()
	require.Equal(t, []uint64{10_000 - 10*perContainer}, suppressed, "the container's next record tells")
}

// Many containers that fail at once are bounded together, also in what is
// remembered of them.
func TestEndingsOfManyContainers(t *testing.T) {
	e := endingsOf(nil)
	records, kept := 0, 0
	for interval := range 200 {
		for c := range 100 {
			e.addTimes(11, refused(strconv.Itoa(interval*100+c), 80))
		}
		n, _ := e.told()
		require.Equal(t, 10*perHost, n)
		records += n
		e.nextInterval()
		kept = max(kept, len(e.throttle.kinds), len(e.throttle.owners))
	}
	_, rate := e.lost()
	require.EqualValues(t, 200*100*11-records, rate, "all that have no record are counted")
	require.LessOrEqual(t, kept, maxUntold+10*perHost)
	require.Greater(t, kept, 10*perHost, "some are remembered")
}

func TestEndingsWithoutBound(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"all":      func(cfg *Config) { cfg.Events = eventsAll },
		"no bound": func(cfg *Config) { cfg.Unusual.PerInterval = 0 },
	} {
		e := endingsOf(change)
		e.addTimes(1000, refused("c1", 80))
		records, _ := e.told()
		require.Equal(t, 1000, records, name)
	}
}

func TestEndingsWithoutResets(t *testing.T) {
	e := endingsOf(func(cfg *Config) { cfg.Unusual.Resets = false })
	f, _ := hairpin()
	f.record.Outcome = connstream.Reset
	e.addTimes(1, f)
	require.Empty(t, e.take(nil))
	f.record.Retransmits = 3
	e.addTimes(1, f)
	require.Len(t, e.take(nil), 1, "unusual for another reason")
	require.True(t, createDefaultConfig().(*Config).Unusual.Resets)
}

func TestRecordTellsOfSuppressed(t *testing.T) {
	f := refused("c1", 80)
	_, got := logged(t, &f, nil)
	require.NotContains(t, got, "connection.suppressed")
	f.suppressed = 7
	_, got = logged(t, &f, nil)
	require.EqualValues(t, 7, got["connection.suppressed"])
}

// Who wants all gets all; marked are those that the others get.
func TestAllEndings(t *testing.T) {
	e := endingsOf(func(cfg *Config) { cfg.Events = eventsAll })
	usual, _ := hairpin()
	e.addTimes(1, usual)
	e.addTimes(15, refused("c1", 80))
	all := e.take(nil)
	require.Len(t, all, 16)
	require.False(t, all[0].unusual)
	for i, f := range all[1:] {
		require.Equal(t, i < 10, f.unusual, i)
	}
	_, rate := e.lost()
	require.Zero(t, rate, "nothing was lost")
	e.nextInterval()
	e.addTimes(1, refused("c1", 80))
	next := e.take(nil)[0]
	require.True(t, next.unusual)
	require.EqualValues(t, 5, next.suppressed, "not marked before it")
}

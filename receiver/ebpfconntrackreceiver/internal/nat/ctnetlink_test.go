package nat

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// waitFor bounds what the kernel does at once, and the resolver within a tick,
// on a loaded machine.
const waitFor = 15 * time.Second

// clock is a time that the test moves.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *clock) forward(d time.Duration) { c.offset.Add(int64(d)) }

func (r *rig) ctnetlink(o ctnetlinkOptions) *ctnetlink {
	r.t.Helper()
	p, err := openPlaces(path(r.host))
	require.NoError(r.t, err)
	resolver, err := openCtnetlink(p, o)
	require.NoError(r.t, err)
	r.t.Cleanup(func() { require.NoError(r.t, resolver.Close()) })
	return resolver
}

// TestOverflow lets the kernel lose events, and finds all connections in the
// table nevertheless, by a new dump.
func TestOverflow(t *testing.T) {
	r := newRig(t)
	// The kernel takes no less than 2,304 bytes (SOCK_MIN_RCVBUF): a few events.
	resolver := r.ctnetlink(ctnetlinkOptions{limit: 1 << 16, buffer: 1, grace: defaultGrace, refresh: refreshEvery, now: time.Now})
	resolver.table.mu.Lock() // the reader is stuck at its next event
	r.connectMany(1000)
	resolver.table.mu.Unlock()
	testkit.Eventually(t, waitFor, func() error {
		if s := resolver.Stats(); s.Lost == 0 || s.Redumps == 0 || s.Entries < 1000 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	listed := append(r.list("ipv4"), r.list("ipv6")...)
	require.GreaterOrEqual(t, len(listed), 1000)
	for i := range listed {
		e := &listed[i]
		q := Query{Transport: e.transport}
		answer, _ := resolver.table.answer(&q, e.original)
		require.Equal(t, Answer{Found: true, Origin: Original, Real: e.reply.pair()}, answer)
	}
}

// TestEnded: what conntrack has forgotten is answered for the grace time, also if
// no event told of its end.
func TestEnded(t *testing.T) {
	testkit.NeedCommand(t, "conntrack")
	r := newRig(t)
	r.listen(r.second, "tcp", ":80")
	older := Query{Pair: pairOf(r.dial(r.external, "tcp4", addrPort(host4, published).String())), Transport: TCP}
	var c clock
	resolver := r.ctnetlink(ctnetlinkOptions{limit: 100, buffer: eventBuffer, grace: 30 * time.Second, refresh: refreshEvery, now: c.now})
	newer := Query{Pair: pairOf(r.dial(r.external, "tcp4", addrPort(host4, published).String())), Transport: TCP}
	testkit.Eventually(t, waitFor, func() error {
		if s := resolver.Stats(); s.Entries != 2 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	run(t, "ip netns exec "+r.host+" conntrack -D -p tcp --dport 8080")
	for _, q := range []Query{older, newer} {
		want := Answer{Found: true, Origin: Original, Real: Pair{Local: q.Local, Remote: addrPort(second4, inside)}}
		require.Equal(t, want, resolveOne(t, resolver, Namespace{}, q))
	}
	s := resolver.Stats()
	require.Equal(t, [3]uint64{2, 2, 0}, [3]uint64{s.Lookups, s.Hits, s.Misses})
	testkit.Eventually(t, waitFor, func() error {
		if _, unsure := resolver.table.answer(&newer, tuple{newer.Local, newer.Remote}); !unsure {
			return errors.New("the event has not been read")
		}
		return nil
	})
	c.forward(31 * time.Second)
	for _, q := range []Query{older, newer} {
		testkit.Eventually(t, waitFor, func() error {
			if got := resolveOne(t, resolver, Namespace{}, q); got.Found {
				return fmt.Errorf("still found: %+v", got)
			}
			return nil
		})
	}
}

// TestAsksForWhatFindsNoRoom: a table that is full costs time, not answers.
func TestAsksForWhatFindsNoRoom(t *testing.T) {
	r := newRig(t)
	resolver := r.ctnetlink(ctnetlinkOptions{limit: 10, buffer: eventBuffer, grace: defaultGrace, refresh: refreshEvery, now: time.Now})
	r.connectMany(400)
	listed := append(r.list("ipv4"), r.list("ipv6")...)
	require.GreaterOrEqual(t, len(listed), 400)
	queries, want := make([]Query, len(listed)), make([]Answer, len(listed))
	for i, e := range listed {
		queries[i] = Query{Pair: Pair{Local: e.original.source, Remote: e.original.destination}, Transport: e.transport}
		want[i] = Answer{Found: true, Origin: Original, Real: e.reply.pair()}
	}
	answers := make([]Answer, len(queries))
	require.NoError(t, resolver.Resolve(context.Background(), Namespace{}, queries, answers))
	require.Equal(t, want, answers)
	s := resolver.Stats()
	require.Equal(t, uint64(10), s.Entries)
	require.NotZero(t, s.Refused)
	require.GreaterOrEqual(t, s.Gets, uint64(len(listed)-10))
}

// TestRefresh finds entries that ended without an event, after the time is due.
func TestRefresh(t *testing.T) {
	testkit.NeedCommand(t, "conntrack")
	r := newRig(t)
	r.connectMany(20)
	resolver := r.ctnetlink(ctnetlinkOptions{limit: 100, buffer: eventBuffer, refresh: time.Millisecond, now: time.Now})
	require.GreaterOrEqual(t, resolver.Stats().Entries, uint64(20))
	require.False(t, resolver.table.isWatched(), "they are older than the listener")
	// Before the end of them: kernels before 5.19 tell of that, and then nothing is due.
	testkit.Eventually(t, waitFor, func() error {
		if s := resolver.Stats(); s.Redumps == 0 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	run(t, "ip netns exec "+r.host+" conntrack -F")
	testkit.Eventually(t, waitFor, func() error {
		if s := resolver.Stats(); s.Entries != 0 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
}

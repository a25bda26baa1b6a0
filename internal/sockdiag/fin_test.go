package sockdiag_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/sockdiag"
)

// shut is what the kernel calls a socket that is closed (TCP_CLOSE), which a dump can
// only have if it was closed meanwhile.
const shut = sockdiag.State(7)

// received is a connection that the kernel has counted so many bytes of, its peer's
// FIN among them where the state says that it has come.
func received(state sockdiag.State, counted uint64) sockdiag.Conn {
	switch state {
	case sockdiag.CloseWait, sockdiag.LastAck, sockdiag.Closing:
		counted--
	}
	return sockdiag.Conn{Cookie: 1, State: state, Received: counted}
}

// reader adds up what a poller tells of connection 1.
type reader struct {
	t      testing.TB
	poller *sockdiag.Poller
	sum    uint64
	last   sockdiag.Change
	ended  bool
}

// read looks at the connection, or at nothing, and checks what was told so far.
func (r *reader) read(told uint64, conns ...sockdiag.Conn) {
	r.t.Helper()
	require.True(r.t, r.poller.Compare(r.poller.Begin(time.Unix(0, 0)), conns, func(c *sockdiag.Change, e sockdiag.Event) {
		r.sum += c.ReceivedSince
		r.last, r.ended = *c, e == sockdiag.Ended
		require.Equal(r.t, r.sum, c.Received-c.ReceivedBefore)
	}))
	require.Equal(r.t, told, r.sum)
}

func newReader(t testing.TB) *reader {
	r := &reader{t: t, poller: sockdiag.NewPoller()}
	r.read(0) // so that nothing is Initial
	return r
}

// The last byte that has come is told when it is known to be no FIN.
func TestLastByteWaits(t *testing.T) {
	for _, open := range []sockdiag.State{sockdiag.Established, sockdiag.FinWait1, sockdiag.FinWait2} {
		r := newReader(t)
		r.read(9, received(open, 10))
		r.read(10, received(open, 10)) // nothing came: it was payload
		r.read(10, received(open, 10))
		r.read(14, received(open, 15))
		r.read(19, received(open, 20)) // more came after it
		r.read(20, received(sockdiag.CloseWait, 21))
		require.Equal(t, uint64(20), r.last.Received)
	}
}

// A FIN between the state and the counters is never told, whatever comes then.
func TestFinDuringDump(t *testing.T) {
	for _, then := range []sockdiag.State{sockdiag.CloseWait, sockdiag.LastAck, sockdiag.Closing, shut} {
		r := newReader(t)
		r.read(10, received(sockdiag.Established, 11)) // 10 bytes and a FIN
		r.read(10, received(then, 11))
		r.read(10, received(shut, 11))
		c, ok := r.poller.Forget(1)
		require.True(t, ok)
		require.Equal(t, uint64(10), c.Received)

		r = newReader(t)
		r.read(9, received(sockdiag.Established, 10))
		r.read(10, received(sockdiag.Established, 10))
		r.read(10, received(sockdiag.Established, 11)) // only a FIN
		r.read(10, received(then, 11))
		r.read(10)
		r.read(10) // ended
		require.True(t, r.ended)
	}
	// Nothing but a FIN, and nothing at all.
	r := newReader(t)
	r.read(0, received(sockdiag.SynSent, 0))
	r.read(0, received(sockdiag.Established, 0))
	r.read(0, received(sockdiag.Established, 1))
	r.read(0, received(sockdiag.CloseWait, 1))
}

// A kernel that does not count (before 4.1) has nothing to be taken from.
func TestNothingIsCounted(t *testing.T) {
	r := newReader(t)
	r.read(0, sockdiag.Conn{Cookie: 1, State: sockdiag.Established})
	r.read(0, sockdiag.Conn{Cookie: 1, State: sockdiag.CloseWait})
	r.read(0, sockdiag.Conn{Cookie: 1, State: shut})
	require.Zero(t, r.last.Received)
}

// What has ended without news had payload last rather than a FIN at that moment.
func TestLastByteAtTheEnd(t *testing.T) {
	r := newReader(t)
	r.read(9, received(sockdiag.Established, 10))
	r.read(9)
	r.read(10)
	require.True(t, r.ended)
	require.Equal(t, uint64(10), r.last.Received)
	require.Equal(t, uint64(1), r.last.ReceivedSince)

	r = newReader(t)
	r.read(9, received(shut, 10))
	r.read(9)
	r.read(9)
	require.True(t, r.ended, "a socket that was closed had most likely got a FIN")
}

// What came before the first look is not told, the byte that waits included.
func TestLastByteBefore(t *testing.T) {
	first := func() *reader {
		r := &reader{t: t, poller: sockdiag.NewPoller()}
		r.read(0, received(sockdiag.Established, 10))
		require.Equal(t, []uint64{9, 9}, []uint64{r.last.Received, r.last.ReceivedBefore})
		return r
	}
	for _, one := range []struct {
		then         sockdiag.Conn
		told, before uint64
	}{
		{received(sockdiag.Established, 10), 0, 10},
		{received(sockdiag.Established, 15), 4, 10},
		{received(sockdiag.CloseWait, 10), 0, 9},
		{received(sockdiag.CloseWait, 15), 4, 10},
		{received(shut, 10), 0, 9},
		{received(shut, 15), 4, 10},
	} {
		r := first()
		r.read(one.told, one.then)
		require.Equal(t, one.before, r.last.ReceivedBefore, "%+v", one)
	}
	r := first()
	r.read(0)
	r.read(0)
	require.True(t, r.ended)
	require.Equal(t, []uint64{10, 10}, []uint64{r.last.Received, r.last.ReceivedBefore})
	c := &first().last
	require.Zero(t, c.ReceivedSince)
}

// socket is a made-up connection as the kernel has it.
type socket struct {
	state   sockdiag.State
	payload uint64
	hasFin  bool
	sum     uint64
}

// step lets something happen to a socket, as the kernel does it: FIN and state
// change at once.
func (s *socket) step(random *rand.Rand) {
	next := map[sockdiag.State][]sockdiag.State{ // without, and with the peer's FIN
		sockdiag.Established: {sockdiag.FinWait1, sockdiag.CloseWait},
		sockdiag.FinWait1:    {sockdiag.FinWait2, sockdiag.Closing},
		sockdiag.FinWait2:    {sockdiag.FinWait2, shut},
		sockdiag.CloseWait:   {sockdiag.LastAck},
		sockdiag.LastAck:     {shut},
		sockdiag.Closing:     {shut},
	}[s.state]
	switch what := random.IntN(8); {
	case len(next) == 0:
	case what < 4 && !s.hasFin:
		s.payload += random.Uint64N(4)
	case what == 4:
		s.state = next[0]
	case what == 5 && !s.hasFin:
		s.state, s.hasFin = next[1], true
	case what == 6 && random.IntN(4) == 0:
		s.state = shut // reset
	}
}

// look is what a dump has of a socket to which something happens between its state
// and its counters. It has none that was closed before.
func (s *socket) look(random *rand.Rand) []sockdiag.Conn {
	state := s.state
	if state == shut && random.IntN(4) > 0 {
		return nil
	}
	for range random.IntN(3) {
		s.step(random)
	}
	counted := s.payload
	if s.hasFin {
		counted++
	}
	return []sockdiag.Conn{received(state, counted)}
}

// Whatever happens during a dump, at each time no more than the payload was told, and
// in the end just that.
func TestNeverMoreThanPayload(t *testing.T) {
	wouldFail := 0
	for seed := range uint64(20_000) {
		random := rand.New(rand.NewPCG(seed, 2))
		s := &socket{state: sockdiag.Established}
		poller := sockdiag.NewPatientPoller(time.Hour)
		before := uint64(0)
		if random.IntN(2) == 0 {
			require.True(t, poller.Compare(poller.Begin(time.Unix(0, 0)), nil, nil))
		}
		for range random.IntN(12) {
			for range random.IntN(3) {
				s.step(random)
			}
			dump := s.look(random)
			if len(dump) > 0 && dump[0].Received > s.payload {
				wouldFail++
			}
			require.True(t, poller.Compare(poller.Begin(time.Unix(0, 0)), dump, func(c *sockdiag.Change, _ sockdiag.Event) {
				s.sum += c.ReceivedSince
				before = c.ReceivedBefore
				require.LessOrEqual(t, before+s.sum, s.payload, "seed %d", seed)
				require.LessOrEqual(t, c.Received, s.payload, "seed %d", seed)
				require.GreaterOrEqual(t, c.Received+1, dump[0].Received, "seed %d: one byte waits", seed)
			}))
		}
		c, _ := poller.Forget(1)
		require.Equal(t, before, c.ReceivedBefore)
		require.Equal(t, s.payload, s.sum+s.payload-(c.Received-c.ReceivedBefore), "seed %d", seed)
	}
	require.Greater(t, wouldFail, 1000, "the dumps have a byte too many often")
}

// Beside somebody who tells of ends, a connection is known until its news must have
// come, however many looks that is.
func TestPatience(t *testing.T) {
	const patience = 10 * time.Second
	poller := sockdiag.NewPatientPoller(patience)
	at := time.Unix(0, 0)
	look := func(after time.Duration, conns ...sockdiag.Conn) (ended bool) {
		at = at.Add(after)
		require.True(t, poller.Compare(poller.Begin(at), conns, func(_ *sockdiag.Change, e sockdiag.Event) {
			ended = e == sockdiag.Ended
		}))
		return ended
	}
	look(0)
	look(0, sent(1, 10))
	for range 9 {
		require.False(t, look(time.Second), "%v", at)
	}
	look(0, sent(1, 12)) // it was there all the time
	for range 9 {
		require.False(t, look(time.Second), "%v", at)
	}
	require.False(t, look(patience-9*time.Second-1))
	require.Equal(t, 1, poller.Len())
	require.True(t, look(1))
	require.Zero(t, poller.Len())

	// Two looks must have missed it, however far apart they are.
	look(0, sent(2, 10))
	require.False(t, look(time.Minute))
	require.Equal(t, 1, poller.Len())
	require.True(t, look(0))

	// News within that time find it.
	look(0, sent(3, 10))
	for range 9 {
		look(time.Second)
	}
	c, ok := poller.Forget(3)
	require.True(t, ok)
	require.Equal(t, uint64(10), c.Sent)
	require.False(t, look(time.Minute))
}

// Patience has a bound.
func TestPatienceIsBounded(t *testing.T) {
	poller := sockdiag.NewPatientPoller(time.Hour)
	ended := 0
	look := func(conns ...sockdiag.Conn) {
		require.True(t, poller.Compare(poller.Begin(time.Unix(0, 0)), conns, func(_ *sockdiag.Change, e sockdiag.Event) {
			if e == sockdiag.Ended {
				ended++
			}
		}))
	}
	next := uint64(0)
	for range 5 {
		conns := make([]sockdiag.Conn, 65_536)
		for i := range conns {
			next++
			conns[i] = sent(next, 1)
		}
		look(conns...)
		require.LessOrEqual(t, poller.Len(), 4*65_536)
	}
	require.Equal(t, 3*65_536, ended)
	require.Equal(t, 2*65_536, poller.Len(), "those are waited for")
}

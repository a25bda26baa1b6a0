package sockdiag_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/sockdiag"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// look is what a poller told of the two ends of one connection.
type look map[sockdiag.Event][]sockdiag.Change

// TestPoller follows a real connection through its life.
func TestPoller(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	poller := sockdiag.NewPoller()
	clock := time.Now()
	compare := func() look {
		told := look{}
		clock = clock.Add(time.Second)
		now := poller.Begin(clock)
		// The server's ends only: there are others in this namespace.
		conns := slices.DeleteFunc(dump(t).Conns, func(c sockdiag.Conn) bool { return c.Local != addrPort(l.Addr()) })
		require.True(t, poller.Compare(now, conns, func(c *sockdiag.Change, e sockdiag.Event) {
			told[e] = append(told[e], *c)
		}))
		return told
	}
	old, oldServer := pair(t, l)
	send(t, old, oldServer, 100)
	first := compare()
	require.Len(t, first[sockdiag.Appeared], 1)
	require.True(t, first[sockdiag.Appeared][0].Initial)
	require.Zero(t, first[sockdiag.Appeared][0].ReceivedSince, "that was before the first look")
	require.Equal(t, uint64(99), first[sockdiag.Appeared][0].ReceivedBefore, "the last byte waits")

	client, server := pair(t, l)
	send(t, client, server, 10)
	send(t, old, oldServer, 5)
	second := compare()
	require.Len(t, second[sockdiag.Appeared], 1)
	fresh := second[sockdiag.Appeared][0]
	require.False(t, fresh.Initial)
	require.Equal(t, uint64(9), fresh.ReceivedSince)
	require.Equal(t, uint64(4), second[sockdiag.Continued][0].ReceivedSince)
	require.Equal(t, uint64(100), second[sockdiag.Continued][0].ReceivedBefore)
	require.Equal(t, uint64(104), second[sockdiag.Continued][0].Received)

	require.NoError(t, l.Close())
	third := compare()
	require.Len(t, third[sockdiag.Continued], 2)
	for _, c := range third[sockdiag.Continued] {
		require.True(t, c.Incoming, "the listener was there once")
		require.Equal(t, uint64(1), c.ReceivedSince, "nothing has come, so that it was no FIN")
	}

	require.NoError(t, client.Close())
	require.NoError(t, server.Close())
	var over []sockdiag.Change
	testkit.Eventually(t, time.Minute, func() error {
		// The last acknowledgement may be under way still.
		if over = compare()[sockdiag.Ended]; len(over) == 0 {
			return errors.New("it has not ended")
		}
		return nil
	})
	require.Len(t, over, 1)
	ended := over[0]
	require.Equal(t, fresh.Cookie, ended.Cookie)
	require.Equal(t, uint64(10), ended.Received, "the counters of the last look")
	require.Zero(t, ended.ReceivedSince)
	require.True(t, ended.LastSeen.Before(clock))
	require.Empty(t, compare()[sockdiag.Ended], "it ends once")
	require.Equal(t, 1, poller.Len(), "the old one is left")
	endsAll(t, poller)
}

// endsAll looks at nothing.
func endsAll(t *testing.T, poller *sockdiag.Poller) {
	t.Helper()
	left, all := poller.Len(), 0
	count := func(_ *sockdiag.Change, e sockdiag.Event) {
		require.Equal(t, sockdiag.Ended, e)
		all++
	}
	require.True(t, poller.Compare(poller.Begin(time.Now()), nil, count))
	require.Zero(t, all, "one look may miss what is there")
	require.True(t, poller.Compare(poller.Begin(time.Now()), nil, count))
	require.Equal(t, left, all)
	require.Zero(t, poller.Len())
}

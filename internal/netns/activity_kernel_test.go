package netns_test

import (
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/internal/netns"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// Of a container that sleeps all stays the same; a socket in its namespace shows,
// whoever has it, and so does anything that the container does.
func TestActivityOfAContainer(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "unshare")
	view, err := hostview.Acquire(hostview.Options{Roots: hostfs.NewRoots("/")})
	require.NoError(t, err)
	t.Cleanup(view.Release)
	tracker := netns.NewTracker(netns.Options{
		Roots: hostfs.NewRoots("/"), Index: view.Index(), ProcsFile: view.ProcsFile, Boot: view.BootTime(),
		CPUTime: view.NewMeter().CPUTime,
	})
	t.Cleanup(tracker.Close)
	p := newPlace(t, "unshare", "-n")
	ask := func() netns.Activity {
		for _, n := range tracker.Refresh() {
			if n.Owner() != nil && n.Owner().ID == p.id {
				return tracker.Activity(n)
			}
		}
		return netns.Activity{}
	}
	var asleep netns.Activity
	testkit.Eventually(t, patience, func() error {
		before := asleep
		asleep = ask()
		if !asleep.IsKnown || asleep != before {
			return fmt.Errorf("it has just done something: %+v, %+v", before, asleep)
		}
		return nil
	})
	require.Zero(t, asleep.Sockets)
	require.NotZero(t, asleep.CPU)

	var l, l6 net.Listener
	testkit.InNetns(t, p.pid(), func() (err error) {
		l, err = net.Listen("tcp4", "0.0.0.0:0")
		if err == nil {
			l6, err = net.Listen("tcp6", "[::]:0")
		}
		return err
	})
	at := ask()
	require.Equal(t, asleep.CPU, at.CPU, "it was not the container that opened them")
	require.Equal(t, 2, at.Sockets)
	require.NoError(t, errors.Join(l.Close(), l6.Close()))
	require.Equal(t, asleep, ask())

	testkit.Run(t, p.group, "sleep", "600")
	testkit.Eventually(t, patience, func() error {
		if ask().CPU <= asleep.CPU {
			return errors.New("what runs in it has used no time yet")
		}
		return nil
	})
}

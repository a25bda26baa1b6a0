package netns_test

import (
	"os"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

func TestOpen(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	testkit.NeedCommand(t, "unshare")
	tracker := newTracker(t)
	p := newPlace(t, "unshare", "-n")
	n := find(t, tracker, p, 1)
	f, err := tracker.Open(n)
	require.NoError(t, err)
	info, err := f.Stat()
	require.NoError(t, err)
	require.Equal(t, n.Inode, info.Sys().(*syscall.Stat_t).Ino)
	require.NoError(t, f.Close())

	host, err := tracker.Open(tracker.Refresh()[0])
	require.NoError(t, err)
	own, err := os.Stat("/proc/self/ns/net")
	require.NoError(t, err)
	info, err = host.Stat()
	require.NoError(t, err)
	require.True(t, os.SameFile(own, info))
	require.NoError(t, host.Close())

	n = find(t, tracker, p, 1)
	require.NoError(t, p.cmd.Process.Kill())
	_ = p.cmd.Wait()
	_, err = tracker.Open(n)
	require.ErrorIs(t, err, hostfs.ErrGone)
}

// A namespace that several containers share is opened as long as one is left.
func TestOpenShared(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	testkit.NeedCommand(t, "unshare", "nsenter")
	tracker := newTracker(t)
	first := newPlace(t, "unshare", "-n")
	find(t, tracker, first, 1)
	second := newPlace(t, "nsenter", "-t", strconv.Itoa(first.pid()), "-n")
	shared := find(t, tracker, second, 2)
	require.NoError(t, first.cmd.Process.Kill())
	_ = first.cmd.Wait()
	f, err := tracker.Open(shared)
	require.NoError(t, err)
	info, err := f.Stat()
	require.NoError(t, err)
	require.Equal(t, shared.Inode, info.Sys().(*syscall.Stat_t).Ino)
	require.NoError(t, f.Close())
}
